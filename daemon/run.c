// islrd run: a job in the foreground, alone or under mpirun.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/options.h"
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
    const struct log *log;
};

// A rank that is stuck says where, and ends: mpirun then ends the others.
static void look(void *context, const struct watchdog_view *v)
{
    const struct watched *w = context;
    int rank = comm_rank(w->comm);
    if (!v->stuck)
        return;
    log_error(w->log, "rank %d on %s (pid %d) is stuck: it has done nothing for %.0f s (%s, step %llu), at %s\n%s",
              rank, comm_host(w->comm, rank), (int)getpid(), v->quiet_seconds, v->doing ? v->doing : "at the start",
              v->step, v->brief, v->stacks);
    fflush(NULL);
    _exit(ERR_TIMEOUT);
}

static const char *device_of(const Islr__JobSpec *job, const char *asked)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    return strcmp(asked, "auto") ? asked : names[job->resources->device];
}

static int run_on_device(const Islr__JobSpec *job, const struct run_arguments *a, struct comm *comm, struct error *e)
{
    struct console console;
    struct run_sink sink = console_sink(&console, comm_rank(comm) != 0);
    int threads = a->threads ? (int)a->threads : device_threads(comm);
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
    struct watched watched = {comm, &console.log};
    struct watchdog *dog = watchdog_start(&(struct watchdog_options){comm_pulse(comm), &watched, look}, e);
    int rc = -1;
    if (dog) {
        watchdog_watch(dog, a->hang_seconds);
        rc = job_run(&o, e);
        watchdog_rest(dog);
    }
    watchdog_stop(dog);
    backend->op->close(backend);
    if (console.drawn)
        fputs("\n", stderr);
    return rc;
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
    if (comm_agree(comm, !job, e)) {
        spec_free(job);
        return -1;
    }
    int64_t ended = 0;
    int rc = check_place(job, a, comm, &ended, e);
    if (!rc && !ended)
        rc = run_on_device(job, a, comm, e);
    spec_free(job);
    faults_free(&faults);
    return rc;
}

int command_run(int argc, char **argv)
{
    struct run_arguments a = {.device = "auto", .hang_seconds = HANG_SECONDS};
    const struct option_row options[] = {
        {'o', "out", "DIR", "where the run's files go", OPTION_STRING, &a.out},
        {0, "resume", NULL, "go on with the run in DIR, from its newest resume point if there is one", OPTION_FLAG,
         &a.resume},
        {0, "replace", NULL, "remove the run in DIR and begin anew", OPTION_FLAG, &a.replace},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &a.device},
        {0, "threads", "N", "CPU threads of each rank; 0: its share of the cores", OPTION_INT, &a.threads, .max = 4096},
        OPTION_HANG(&a.hang_seconds),
        {0}};
    const struct option_operand operands[] = {
        {"JOB.yaml", "the job", .value = &a.job},
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
    console_catch_signals();
    struct comm *comm = comm_open_world(&e);
    int rc = comm ? run_job(&a, comm, &e) : -1;
    option_list_free(&a.overrides);
    // What the ranks agreed on is said once; what only one knows of is said by that one.
    if (rc && (!comm || comm_rank(comm) == 0 || (e.code != ERR_INVALID && e.code != ERR_INTERRUPTED)))
        fprintf(stderr, "islrd run: %s\n", e.text);
    if (rc && comm && comm_size(comm) > 1 && e.code != ERR_INVALID && e.code != ERR_INTERRUPTED)
        comm_abort(comm, e.code);
    comm_close(comm);
    return rc ? (int)e.code : 0;
}
