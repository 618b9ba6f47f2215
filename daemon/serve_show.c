// GetRun and ListCheckpoints: one run in full.
#include <string.h>

#include "core/store/checkpoint.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_permit.h"
#include "daemon/serve_read.h"

struct showing {
    struct read_job job;
    Islr__RunDetail *detail;
    Islr__CheckpointInfo **checkpoints;
    size_t checkpoint_count;
    char user[64];
};

static int show_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct showing *x = (struct showing *)job;
    uint64_t run = job->request->get_run->run;
    if (!run && run_read_newest(reader, x->user, &run, e))
        return -1;
    if (!run)
        return error_set(e, ERR_NOT_FOUND, "%s has no run yet", x->user);
    return run_read_detail(reader, run, &job->pool, &x->detail, e);
}

// 0: the user's newest.
static void start_on(struct showing *x, uint64_t run)
{
    if (run)
        read_job_start_on(&x->job, &run, 1);
    else
        read_job_start_on_all(&x->job);
}

static void show_done(struct read_job *job)
{
    struct showing *x = (struct showing *)job;
    if (job->failed)
        return;
    run_show_live(job->base.server, x->detail->summary, &job->pool);
    Islr__Envelope m = ENVELOPE(RUN_DETAIL, run_detail, x->detail);
    session_reply(job->base.session, job->id, &m);
}

void handle_get_run(struct session *session, Islr__Envelope *m)
{
    struct showing *x = read_job_new(session, sizeof *x);
    memcpy(x->user, session->user, sizeof x->user);
    x->job.read = show_read;
    x->job.done = show_done;
    start_on(x, m->get_run->run);
}

static int checkpoints_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct showing *x = (struct showing *)job;
    struct run_now now;
    uint64_t run = job->request->list_checkpoints->run;
    if (!run && run_read_newest(reader, x->user, &run, e))
        return -1;
    return permit_checkpoints(reader, job->request->list_checkpoints->as, run, &job->pool, e) ||
                   run_read_now(reader, run, &now, e) ||
                   checkpoint_list(reader, run, &job->pool, &x->checkpoints, &x->checkpoint_count, e)
               ? -1
               : 0;
}

static void checkpoints_done(struct read_job *job)
{
    struct showing *x = (struct showing *)job;
    Islr__CheckpointList list = ISLR__CHECKPOINT_LIST__INIT;
    Islr__Envelope m = ENVELOPE(CHECKPOINT_LIST, checkpoint_list, &list);
    if (job->failed && job->error.code == ERR_DENIED)
        session_note_refused(job->base.session, job->request, &job->error);
    if (job->failed)
        return;
    list.checkpoints = x->checkpoints;
    list.n_checkpoints = x->checkpoint_count;
    session_reply(job->base.session, job->id, &m);
}

void handle_list_checkpoints(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (permit_reader(session, m->list_checkpoints->as, &e)) {
        session_refuse(session, m, &e);
        return;
    }
    struct showing *x = read_job_new(session, sizeof *x);
    memcpy(x->user, session->user, sizeof x->user);
    x->job.read = checkpoints_read;
    x->job.done = checkpoints_done;
    start_on(x, m->list_checkpoints->run);
}
