// GetRun and ListCheckpoints: one run in full.
#include <string.h>

#include "core/store/checkpoint.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_permit.h"
#include "daemon/serve_read.h"

struct showing {
    struct read_job job;
    Islr__RunDetail *detail;
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
static void start_on(struct read_job *job, uint64_t run)
{
    if (run)
        read_job_start_on(job, &run, 1);
    else
        read_job_start_on_all(job);
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
    start_on(&x->job, m->get_run->run);
}

// ---- all checkpoints: a piece at a time, each sent while the next one is read ----------------------------------------

enum { PIECE = 512, MESSAGE_BYTES = 512 << 10 };

struct checkpoints {
    struct read_job job;
    uint64_t run;   // once it is known
    uint64_t after; // the last one of the piece before
    Islr__CheckpointInfo **list;
    size_t count;
    char user[64];
};

static int find_run(struct checkpoints *x, struct store_reader *reader, struct error *e)
{
    struct read_job *job = &x->job;
    const Islr__ListCheckpoints *asked = job->request->list_checkpoints;
    struct run_now now;
    x->run = asked->run;
    if (!x->run && run_read_newest(reader, x->user, &x->run, e))
        return -1;
    return permit_checkpoints(reader, asked->as, x->run, &job->pool, e) || run_read_now(reader, x->run, &now, e) ? -1
                                                                                                                 : 0;
}

static int checkpoints_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct checkpoints *x = (struct checkpoints *)job;
    job->again = 0;
    if ((!x->after && find_run(x, reader, e)) ||
        checkpoint_list_after(reader, x->run, x->after, PIECE, &job->pool, &x->list, &x->count, e))
        return -1;
    job->again = x->count == PIECE;
    return 0;
}

static void send_checkpoints(struct checkpoints *x, size_t from, size_t to)
{
    Islr__CheckpointList list = ISLR__CHECKPOINT_LIST__INIT;
    Islr__Envelope m = ENVELOPE(CHECKPOINT_LIST, checkpoint_list, &list);
    list.checkpoints = x->list + from;
    list.n_checkpoints = to - from;
    list.has_more = 1;
    list.more = to < x->count || x->job.again;
    session_reply(x->job.base.session, x->job.id, &m);
}

static void checkpoints_done(struct read_job *job)
{
    struct checkpoints *x = (struct checkpoints *)job;
    size_t from = 0, bytes = 0;
    if (job->failed && job->error.code == ERR_DENIED)
        session_note_refused(job->base.session, job->request, &job->error);
    if (job->failed)
        return;
    job->again = job->again && job->base.session->peer; // else nobody is there any more
    for (size_t i = 0; i < x->count; i++) {
        size_t size = islr__checkpoint_info__get_packed_size(x->list[i]) + 8;
        if (bytes && bytes + size > MESSAGE_BYTES) {
            send_checkpoints(x, from, i);
            from = i;
            bytes = 0;
        }
        bytes += size;
    }
    send_checkpoints(x, from, x->count);
    x->after = x->count ? x->list[x->count - 1]->id : x->after;
}

void handle_list_checkpoints(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (permit_reader(session, m->list_checkpoints->as, &e)) {
        session_refuse(session, m, &e);
        return;
    }
    struct checkpoints *x = read_job_new(session, sizeof *x);
    memcpy(x->user, session->user, sizeof x->user);
    x->job.read = checkpoints_read;
    x->job.done = checkpoints_done;
    start_on(&x->job, m->list_checkpoints->run);
}
