// islrd run: a job in the foreground, alone or under mpirun.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/rpc/reference.h"
#include "core/spec/describe.h"
#include "core/spec/spec.h"
#include "core/train/device.h"
#include "core/train/job.h"
#include "core/train/place.h"
#include "daemon/command.h"
#include "daemon/console.h"
#include "daemon/watchdog.h"

struct run_arguments {
    const char *job, *out, *device;
    struct option_list overrides;
    int64_t threads;
    double hang_seconds;
    bool resume, replace;
};

struct watched {
    struct comm *comm;
    const struct console *console;
    const Islr__JobSpec *job;
};

static int can_save(const Islr__JobSpec *job)
{
    return job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN || job->kind == ISLR__JOB_SPEC__KIND__KIND_PREPARE;
}

// A rank that is stuck says where, and ends: mpirun then ends the others. So ends a job whose time is up where nothing
// is to be saved; others are asked to stop (console.h).
static void look(void *context, const struct watchdog_view *v)
{
    const struct watched *w = context;
    int rank = comm_rank(w->comm);
    if (rank == 0 && !can_save(w->job) && console_late(w->console)) {
        log_error(&w->console->log, "its time is up (limits.minutes)");
        _exit(ERR_FAILED);
    }
    if (!v->stuck)
        return;
    log_error(&w->console->log,
              "rank %d on %s (pid %d) is stuck: it has done nothing for %.0f s (%s, step %llu), at %s\n%s", rank,
              comm_host(w->comm, rank), (int)getpid(), v->quiet_seconds, v->doing ? v->doing : "at the start", v->step,
              v->brief, v->stacks);
    fflush(NULL);
    _exit(ERR_TIMEOUT);
}

static const char *device_of(const Islr__JobSpec *job, const char *asked)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    return strcmp(asked, "auto") ? asked : names[job->resources->device];
}

// A server gives a run the ranks that its job asks for; here they are those that were started.
static void tell_ranks(const Islr__JobSpec *job, const struct comm *comm, const struct run_sink *sink)
{
    const Islr__Resources *r = job->resources;
    uint32_t here = (uint32_t)comm_size(comm), least = r->min_ranks > 1 || !r->ranks ? r->min_ranks : r->ranks;
    if (here < least || (r->ranks && here > r->ranks))
        sink_log(
            sink, LOG_WARN,
            "the job asks for %u rank%s (resources), %u %s started: the run goes with these (mpirun -np N starts N)",
            r->ranks ? r->ranks : least, (r->ranks ? r->ranks : least) == 1 ? "" : "s", here,
            here == 1 ? "was" : "were");
}

// 1: a job that could save something was asked to stop because its time was up. All ranks of one mind.
static int time_was_up(const struct console *console, struct comm *comm, struct error *e)
{
    int64_t late = console_late(console) && !console_stopped();
    if (e->code != ERR_INTERRUPTED || comm_max_i64(comm, &late, e) || !late)
        return 0;
    error_prefix(e, "its time is up (limits.minutes)");
    return 1;
}

// 1: as time_was_up() has it.
static int run_on_device(const Islr__JobSpec *job, const struct run_arguments *a, struct comm *comm, struct error *e)
{
    struct console console;
    struct run_sink sink = console_sink(&console, comm_rank(comm) != 0);
    int share = device_threads(comm, e), threads = a->threads ? (int)a->threads : share;
    if (share < 0)
        return -1;
    if (job->limits->minutes > 0)
        console.deadline = clock_seconds() + 60 * job->limits->minutes;
    tell_ranks(job, comm, &sink);
    struct backend *backend = device_open(device_of(job, a->device), threads, comm, e);
    if (comm_agree(comm, !backend, e)) {
        if (backend)
            backend->op->close(backend);
        return -1;
    }
    struct train_options o = {.job = job,
                              .comm = comm,
                              .backend = backend,
                              .sink = &sink,
                              .dir = a->out,
                              .threads = threads,
                              .resume = a->resume};
    struct watched watched = {comm, &console, job};
    struct watchdog *dog = watchdog_start(&(struct watchdog_options){comm_pulse(comm), &watched, look}, e);
    int rc = -1;
    if (dog) {
        watchdog_watch(dog, a->hang_seconds);
        rc = job_run(&o, e);
        watchdog_rest(dog);
        if (rc && time_was_up(&console, comm, e))
            rc = 1;
    }
    watchdog_stop(dog);
    backend->op->close(backend);
    if (console.drawn)
        fputs("\n", stderr);
    return rc;
}

// The directory is this run's alone for as long as it works there. Rank 0. -1: another is at it, or it cannot be made.
static int take_place(const char *directory, struct file_lock *lock, struct error *e)
{
    if (file_make_dirs(directory, e))
        return -1;
    char *path = file_join(directory, "lock");
    int rc = file_lock_try(lock, path, e);
    free(path);
    if (rc > 0)
        error_set(e, ERR_INVALID, "--out %s: another run is working there", directory);
    return rc ? -1 : 0;
}

// Whether the job may have its directory; *ended: there is nothing left to do. What evaluation and preparation leave
// there goes beside a run; a soup would take the place of the run's.
static int check_place(const Islr__JobSpec *job, const struct run_arguments *a, struct comm *comm, int64_t *ended,
                       struct error *e)
{
    bool trains = job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN;
    bool asks = !a->replace && (trains || job->kind == ISLR__JOB_SPEC__KIND__KIND_SOUP);
    int done = 0, rc = 0;
    if (asks && comm_rank(comm) == 0)
        rc = place_check(a->out, job, trains && a->resume, &done, e);
    *ended = done;
    if (comm_agree(comm, rc, e) || comm_max_i64(comm, ended, e))
        return -1;
    if (*ended && comm_rank(comm) == 0)
        fprintf(stderr, "islrd run: the run in %s has ended already\n", a->out);
    return 0;
}

static int run_in_place(const Islr__JobSpec *job, const struct run_arguments *a, struct comm *comm, struct error *e)
{
    struct file_lock lock = {.fd = -1};
    int64_t ended = 0;
    int rc = comm_agree(comm, comm_rank(comm) == 0 && take_place(a->out, &lock, e), e) ||
                     check_place(job, a, comm, &ended, e)
                 ? -1
                 : 0;
    if (!rc && !ended)
        rc = run_on_device(job, a, comm, e);
    file_lock_release(&lock);
    return rc;
}

// RUN:what and sha256:HEX are a server's to give.
static int refuse_references(Islr__JobSpec *job, struct error *e)
{
    char name[32], **field;
    for (size_t i = 0; (field = reference_field(job, i, name)); i++) {
        struct reference r;
        int form = reference_parse(*field, &r, NULL) || r.kind != REFERENCE_NONE || **field == '@';
        if (form && !file_exists(*field))
            return error_set(e, ERR_INVALID,
                             "%s: '%s' is a thing of a server's, and this run has none: give a file (`islrctl pull` "
                             "fetches it), or submit the job to that server",
                             name, *field);
    }
    return 0;
}

static int run_job(const struct run_arguments *a, struct comm *comm, struct error *e)
{
    Islr__JobSpec *job;
    struct faults faults = {0};
    if (spec_load(a->job, a->overrides.items, a->overrides.count, &job, &faults, e)) {
        if (faults.count) {
            if (comm_rank(comm) == 0)
                faults_print(&faults, stderr);
            error_set(e, ERR_INVALID, "%s is not a valid job", a->job);
        }
        faults_free(&faults);
        job = NULL;
    }
    if (comm_agree(comm, !job || refuse_references(job, e), e)) {
        spec_free(job);
        return -1;
    }
    int rc = run_in_place(job, a, comm, e);
    spec_free(job);
    faults_free(&faults);
    return rc;
}

int command_run(int argc, char **argv)
{
    struct run_arguments a = {.device = "auto", .hang_seconds = HANG_SECONDS};
    const struct option_row options[] = {
        {'o', "out", "DIR", "where the run's files go", OPTION_STRING, &a.out, .path = true},
        {0, "resume", NULL, "go on with the run in DIR, from its newest resume point if there is one", OPTION_FLAG,
         &a.resume},
        {0, "replace", NULL, "remove the run in DIR and begin anew", OPTION_FLAG, &a.replace},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &a.device},
        {0, "threads", "N", "CPU threads of each rank; 0: its share of the cores", OPTION_INT, &a.threads, .max = 4096},
        OPTION_HANG(&a.hang_seconds),
        {0}};
    const struct option_operand operands[] = {
        {"JOB.yaml", "the job", .value = &a.job, .path = true},
        {"KEY=VALUE", "settings in place of the file's: train.lr=1e-4", .optional = true, .list = &a.overrides},
        {0}};
    char *presets = describe_presets();
    const struct usage usage = {"islrd run",
                                "a job in the foreground, alone or under mpirun",
                                options,
                                operands,
                                "islrd run deploy/jobs/tiny.yaml data.path=recordings --out out/tiny\n"
                                "mpirun -np 2 islrd run deploy/jobs/l25.yaml data.path=recordings --out out/l25",
                                presets};
    int code;
    bool parsed = options_parse(&usage, argc, argv, &code);
    free(presets);
    if (!parsed)
        return code;
    struct error e = {0};
    if (!a.out) {
        fprintf(stderr, "islrd run: --out DIR is needed: where the run's files go\n");
        option_list_free(&a.overrides);
        return ERR_INVALID;
    }
    if (a.resume && a.replace) {
        fprintf(stderr,
                "islrd run: --resume and --replace exclude each other: go on with the run in DIR, or begin anew\n");
        option_list_free(&a.overrides);
        return ERR_INVALID;
    }
    struct comm *comm = console_catch_signals(&e) ? NULL : comm_open_world(&e);
    int rc = comm ? run_job(&a, comm, &e) : -1;
    option_list_free(&a.overrides);
    // What the ranks agreed on is said once; what only one knows of is said by that one.
    if (rc && (!comm || comm_rank(comm) == 0 || (e.code != ERR_INVALID && e.code != ERR_INTERRUPTED)))
        fprintf(stderr, "islrd run: %s\n", e.text);
    if (rc && comm && comm_size(comm) > 1 && e.code != ERR_INVALID && e.code != ERR_INTERRUPTED)
        comm_abort(comm, e.code);
    comm_close(comm);
    return rc > 0 ? ERR_FAILED : rc ? (int)e.code : 0;
}
