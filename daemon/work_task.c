// One assignment: communicator, directory, job, report. See work.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "daemon/work.h"
#include "daemon/work_folds.h"
#include "daemon/work_inputs.h"
#include "daemon/work_restore.h"
#include "daemon/work_scratch.h"
#include "daemon/work_sink.h"

static const double PATIENCE_SECONDS = 300; // with a server that is away, while the other ranks wait inside MPI
static const double LEAVE_SECONDS = 20;     // in which the ranks of a failed job must have met, or the world is broken
static const double LAST_WORD_SECONDS = 10; // to deliver why, before a broken world is ended

struct attempt {
    const struct work_options *o;
    struct work_net *net;
    struct work_task *task;
    struct comm *gang;
    int first; // this is the gang's first rank
    int resumes;
    int settling;           // making a directory on this machine and fetching what earlier attempts left
    struct scratch scratch; // first rank only
    struct spool *spool;
    char *outbox;
};

// ---- the first rank's place -----------------------------------------------------------------------------------------

static int is_stopped(void *context)
{
    struct attempt *a = context;
    pulse_beat(comm_pulse(a->gang));
    return atomic_load(&a->task->stop);
}

static void fetched(void *context, uint64_t have)
{
    struct attempt *a = context;
    (void)have;
    pulse_beat(comm_pulse(a->gang));
}

static int open_place(struct attempt *a, struct error *e)
{
    a->settling = 1;
    if (scratch_open(&a->scratch, a->o->scratch, a->task, a->o->log, e))
        return -1;
    char *path = file_join(a->scratch.directory, "spool");
    const Islr__Register *facts = a->net->options.facts;
    Islr__ReadAs as = ISLR__READ_AS__INIT;
    as.has_run = as.has_attempt = as.has_rank = 1;
    as.run = a->task->run;
    as.attempt = a->task->attempt;
    as.world = facts->world;
    as.rank = facts->rank;
    struct retrieval retrieval = {.address = &a->o->address,
                                  .token = a->o->token,
                                  .as = &as,
                                  .patience_seconds = PATIENCE_SECONDS,
                                  .context = a,
                                  .on_progress = fetched,
                                  .should_stop = is_stopped};
    struct work_restore_options restore = {
        .retrieval = &retrieval, .log = a->o->log, .directory = a->scratch.directory, .task = a->task, .net = a->net};
    a->outbox = file_join(a->scratch.directory, "outbox");
    a->spool = NULL;
    int rc = work_restore(&restore, &a->resumes, e);
    a->settling = rc != 0;
    rc = rc || work_inputs(&retrieval, a->scratch.directory, a->task->job, e) ||
         work_folds(&retrieval, a->scratch.directory, a->task, e) || file_remove_tree(a->outbox, e) ||
         file_make_dirs(a->outbox, e);
    caller_close(retrieval.caller);
    if (!rc)
        a->spool = spool_create(path, e);
    if (a->spool)
        work_delivery_spool(a->net, a->spool);
    free(path);
    return a->spool ? 0 : -1;
}

// ---- the end --------------------------------------------------------------------------------------------------------

static void report(struct attempt *a, int rc, const struct error *why, int device_lost)
{
    struct work_end end = {.reason = rc ? (char *)why->text : "", .directory = a->scratch.directory};
    end.lock = a->scratch.lock;
    end.outcome = !rc ? WORK_SUCCEEDED : why->code == ERR_INTERRUPTED ? WORK_STOPPED : WORK_FAILED;
    // The next one may be given another machine's disk, an older resume point, or another device.
    end.retryable = rc && (!error_is_lasting(why) || a->settling || device_lost);
    work_delivery_finish(a->net, &end);
}

// After a failure: do all ranks of the gang come to this point? Only then can they work on.
static int gang_is_whole(struct attempt *a)
{
    if (comm_size(a->gang) == 1)
        return 1;
    comm_set_timeout(a->gang, LEAVE_SECONDS);
    return !comm_barrier(a->gang, NULL);
}

// After a failure: is it this rank's device that can do no more? *why then says so.
static int device_is_lost(const struct work_options *o, struct error *why)
{
    struct error device;
    if (!o->runner.check || !o->runner.check(o->runner.context, &device))
        return 0;
    struct error first = *why;
    error_set(why, ERR_FAILED, "%s; this rank's device can do no more: %s", first.text, device.text);
    return 1;
}

// ---- the job --------------------------------------------------------------------------------------------------------

static int run_job(struct attempt *a, struct error *e)
{
    struct work_sink sink = {.net = a->net,
                             .task = a->task,
                             .log = a->o->log,
                             .spool = a->spool,
                             .outbox = a->outbox,
                             .spool_max = a->o->spool_max};
    struct run_sink given = work_sink_make(&sink);
    struct work_job job = {
        .job = a->task->job, .comm = a->gang, .sink = &given, .directory = a->scratch.directory, .resume = a->resumes};
    job.join = a->task->fold_count > 0;
    int rc = a->o->runner.run(a->o->runner.context, &job, e);
    if (sink.failed)
        *e = sink.why;
    // How the job went all ranks know; what the first one's sink could not keep, it alone.
    return rc ? -1 : comm_agree(a->gang, sink.failed, e);
}

static struct comm *make_gang(struct attempt *a, struct error *e)
{
    const struct work_task *t = a->task;
    return comm_create_group(a->o->world, t->gang, t->gang_count, (int)(t->run % 32768), e);
}

int work_run_task(const struct work_options *o, struct work_net *n, struct work_task *t, struct error *e)
{
    struct attempt a = {.o = o, .net = n, .task = t, .first = t->gang[0] == comm_rank(o->world)};
    struct error why = {ERR_NONE, ""};
    log_info(o->log, "run %llu, attempt %u: %d rank%s", (unsigned long long)t->run, t->attempt, t->gang_count,
             t->gang_count == 1 ? "" : "s");
    if (a.first)
        work_delivery_begin(n, t->run, t->attempt);
    a.gang = make_gang(&a, e);
    if (!a.gang)
        return error_prefix(e, "run %llu: the ranks cannot come together", (unsigned long long)t->run);
    // The others wait for as long as it takes to fetch what earlier attempts left.
    double before = comm_timeout(a.gang);
    pulse_doing(comm_pulse(a.gang), "restore");
    comm_set_timeout(a.gang, COMM_LONG_SECONDS);
    int failed = work_allowed_check(&o->allowed, t->job, &why) || (a.first && open_place(&a, &why));
    int restored = !comm_agree(a.gang, failed, &why);
    comm_set_timeout(a.gang, before);
    int rc = restored ? run_job(&a, &why) : -1;
    int lost = rc && device_is_lost(o, &why);
    int whole = !rc || (!lost && gang_is_whole(&a));
    if (rc)
        log_line(o->log, why.code == ERR_INTERRUPTED ? LOG_INFO : LOG_ERROR, "run %llu: %s", (unsigned long long)t->run,
                 why.text);
    if (a.first)
        report(&a, rc, &why, lost);
    free(a.outbox);
    if (!whole) {
        if (a.first)
            work_delivery_wait(n, LAST_WORD_SECONDS);
        return error_set(e, why.code, "run %llu: %s%s", (unsigned long long)t->run, why.text,
                         lost ? "" : "; the gang's ranks do not meet any more");
    }
    comm_close(a.gang);
    return 0;
}
