// islrd work: one worker rank; started by mpirun or srun. See work.h.
#include "daemon/work.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/base/signals.h"
#include "core/rpc/token.h"
#include "core/train/device.h"
#include "core/train/job.h"
#include "daemon/command.h"

// What bounds the wait for the other ranks at the end, which may still be saving: the launcher kills who takes too long.
enum { CLOSE_SECONDS = 600 };

enum { RETRY_MS = 5000 }; // a full disk at the server, say

struct trainer {
    struct backend *backend;
    int threads;
};

static int train(void *context, const struct work_job *j, struct error *e)
{
    struct trainer *t = context;
    struct train_options o = {.job = j->job,
                              .comm = j->comm,
                              .backend = t->backend,
                              .sink = j->sink,
                              .dir = j->directory,
                              .threads = t->threads,
                              .resume = j->resume,
                              .join = j->join};
    return job_run(&o, e);
}

static int check_device(void *context, struct error *e)
{
    struct trainer *t = context;
    return device_check(t->backend, e);
}

struct work_arguments {
    const char *server, *fingerprint, *ca_file, *token_file, *device, *scratch;
    int64_t threads;
    double alone_minutes;
    int64_t spool_mib;
    struct option_list allowed;
};

static int find_server(const struct work_arguments *a, struct address *out, struct error *e)
{
    const char *variable = getenv("ISLR_SERVER");
    char *socket = address_find_socket();
    int rc = address_parse(a->server               ? a->server
                           : variable && *variable ? variable
                                                   : socket,
                           out, e) ||
                     address_trust(out, a->fingerprint, a->ca_file, e)
                 ? -1
                 : 0;
    free(socket);
    return rc;
}

// malloc'ed; NULL: none is needed, or with an error.
static char *find_token(const struct work_arguments *a, const struct address *server, struct error *e)
{
    const char *variable = getenv("ISLR_TOKEN");
    if (a->token_file)
        return token_read(a->token_file, e);
    if (variable && *variable)
        return xstrdup(variable);
    if (server->kind == ADDRESS_TLS)
        error_set(e, ERR_INVALID,
                  "a worker's token is needed for the server at %s: --token-file or $ISLR_TOKEN (islrctl token create "
                  "--role worker)",
                  server->host);
    return NULL;
}

// Beside the socket of a server on this machine.
static char *find_scratch(const char *given, const struct address *server)
{
    if (given)
        return xstrdup(given);
    if (server->kind == ADDRESS_UNIX)
        return xprintf("%.*s/scratch", (int)(strrchr(server->path, '/') - server->path), server->path);
    char *directory = address_default_directory(), *scratch = file_join(directory, "scratch");
    free(directory);
    return scratch;
}

static int allow(const struct work_arguments *a, struct work_allowed *allowed, struct error *e)
{
    for (size_t i = 0; i < a->allowed.count; i++)
        if (work_allowed_add(allowed, a->allowed.items[i], e))
            return -1;
    return 0;
}

static void describe(const struct trainer *t, const struct device_info *info, Islr__Register *facts)
{
    facts->device = (char *)t->backend->op->kind;
    facts->device_name = (char *)info->name;
    facts->has_threads = facts->has_memory_bytes = 1;
    facts->threads = (uint32_t)t->threads;
    facts->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int work(const struct work_arguments *a, struct comm *world, struct error *e)
{
    int share = device_threads(world, e);
    struct trainer trainer = {.threads = a->threads ? (int)a->threads : share};
    struct device_info info;
    Islr__Register facts = ISLR__REGISTER__INIT;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "rank %d: ", comm_rank(world));
    struct log log = {stderr, LOG_INFO, prefix};
    struct work_options o = {.log = &log,
                             .facts = &facts,
                             .world = world,
                             .runner = {&trainer, train, check_device},
                             .catch_signals = 1,
                             .alone_ms = (uint64_t)(a->alone_minutes * 60e3),
                             .retry_ms = RETRY_MS,
                             .spool_max = (uint64_t)a->spool_mib << 20};
    char *token = NULL;
    if (share < 0)
        return -1;
    trainer.backend = device_open(a->device, trainer.threads, world, e);
    int failed = !trainer.backend || find_server(a, &o.address, e) || allow(a, &o.allowed, e) ||
                 (!(token = find_token(a, &o.address, e)) && e->code);
    if (comm_agree(world, failed, e)) {
        if (trainer.backend)
            trainer.backend->op->close(trainer.backend);
        work_allowed_free(&o.allowed);
        free(token);
        return -1;
    }
    o.token = token;
    trainer.backend->op->describe(trainer.backend, &info);
    describe(&trainer, &info, &facts);
    char *scratch = find_scratch(a->scratch, &o.address);
    o.scratch = scratch;
    int rc = work_serve(&o, e);
    free(scratch);
    free(token);
    work_allowed_free(&o.allowed);
    trainer.backend->op->close(trainer.backend);
    return rc;
}

int command_work(int argc, char **argv)
{
    struct work_arguments a = {.device = "auto", .alone_minutes = 24 * 60, .spool_mib = 4096};
    const struct option_row options[] = {
        {0, "server", "ADDRESS", "unix:PATH or tls:HOST:PORT", OPTION_STRING, &a.server, .path = true,
         .default_shown = "$ISLR_SERVER or the local server"},
        {0, "token-file", "FILE", "for tls: a worker's token", OPTION_STRING, &a.token_file, .path = true,
         .default_shown = "$ISLR_TOKEN"},
        {0, "fingerprint", "SHA256:HEX", "for tls: the certificate that the server must show", OPTION_STRING,
         &a.fingerprint, .default_shown = "$ISLR_FINGERPRINT"},
        {0, "ca", "FILE", "or: what the server's certificate must be valid by", OPTION_STRING, &a.ca_file, .path = true,
         .default_shown = "$ISLR_CA"},
        {0, "allow", "DIR", "jobs read files below it and nowhere else; may be given several times", OPTION_LIST,
         &a.allowed, .path = true},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &a.device},
        {0, "threads", "N", "CPU threads of each rank; 0: its share of the cores", OPTION_INT, &a.threads, .max = 4096},
        {0, "scratch", "DIR", "where runs keep their files while they are worked on", OPTION_STRING, &a.scratch,
         .path = true, .default_shown = "scratch beside the server's socket"},
        {0, "alone-minutes", "M", "a run whose server is away for so long is saved and ended; 0: never", OPTION_FLOAT,
         &a.alone_minutes, 0, 1e6},
        {0, "spool-mib", "N", "the same when so much waits for it in the scratch directory; 0: any amount", OPTION_INT,
         &a.spool_mib, 0, 1 << 20},
        {0}};
    const struct usage usage = {
        "islrd work",
        "one worker rank; started by mpirun or srun",
        options,
        NULL,
        "mpirun -np 2 islrd work --server unix:/var/lib/islr/islr.sock\n"
        "mpirun -np 8 islrd work --server tls:head:7443 --fingerprint SHA256:.. --token-file worker.token",
        "Sleeps until the server assigns it a run. SIGTERM, SIGINT and SIGUSR1 end it; a run that it is in the middle "
        "of saves a resume point first.\n"
        "A batch system that warns before it ends a job should send mpirun SIGUSR1, which passes it on at once and "
        "kills "
        "nobody (Slurm: --signal=B:USR1@300 and a `trap` in the script). SIGTERM to Open MPI's mpirun reaches the "
        "ranks "
        "after odls_base_sigkill_timeout seconds, and SIGKILL as many later: 1 unless told otherwise, too short for "
        "large runs to save:\n"
        "  mpirun --mca odls_base_sigkill_timeout 15 -np 8 islrd work\n"
        "A server that goes away is waited for, and training goes on meanwhile. ISLR_HOST names this machine in place "
        "of its host name."};
    int code;
    if (!options_parse(&usage, argc, argv, &code)) {
        option_list_free(&a.allowed);
        return code;
    }
    signal(SIGPIPE, SIG_IGN);
    signals_hold();
    struct error e = {ERR_NONE, ""};
    struct comm *world = comm_open_world(&e);
    int rc = world ? work(&a, world, &e) : -1;
    if (rc)
        fprintf(stderr, "islrd work: rank %d: %s\n", world ? comm_rank(world) : 0, e.text);
    if (rc && world && comm_size(world) > 1)
        comm_abort(world, e.code);
    option_list_free(&a.allowed);
    alarm(CLOSE_SECONDS); // closing waits for the other ranks, which may not have been told to end
    comm_close(world);
    return rc ? (int)e.code : 0;
}
