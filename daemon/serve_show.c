// GetRun and ListCheckpoints: one run in full.
#include <string.h>

#include "core/rpc/protocol.h"
#include "core/store/checkpoint.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_permit.h"
#include "daemon/serve_pieces.h"

_Static_assert(RUN_DETAIL_MAX <= RPC_FRAME_MAX, "a RunDetail is one message");

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

// ---- all checkpoints ------------------------------------------------------------------------------------------------

// By number, so nothing is held on to between the pieces: what is removed meanwhile is missing, what is added is there.
struct checkpoints {
    struct pieces pieces;
    struct checkpoint_query query; // run: once it is known
    Islr__CheckpointInfo **list;   // the piece
    size_t count;
    char user[64];
};

static int find_run(struct checkpoints *x, struct store_reader *reader, struct error *e)
{
    struct read_job *job = &x->pieces.job;
    const Islr__ListCheckpoints *asked = job->request->list_checkpoints;
    struct run_now now;
    uint64_t run = asked->run;
    if (!run && run_read_newest(reader, x->user, &run, e))
        return -1;
    if (permit_checkpoints(reader, asked->as, run, &job->pool, e) || run_read_now(reader, run, &now, e))
        return -1;
    x->query = (struct checkpoint_query){.run = run, .most = PIECE_ITEMS, .bytes = PIECE_BYTES};
    return 0;
}

static int checkpoints_read(struct pieces *p, struct store_reader *reader, struct error *e)
{
    struct checkpoints *x = (struct checkpoints *)p;
    if (!x->query.run && find_run(x, reader, e))
        return -1;
    int more = checkpoint_list(reader, &x->query, &p->job.pool, &x->list, &x->count, e);
    if (more > 0)
        x->query.after = x->list[x->count - 1]->id;
    return more;
}

static int checkpoints_send(struct pieces *p, int more)
{
    const struct checkpoints *x = (const struct checkpoints *)p;
    Islr__CheckpointList list = ISLR__CHECKPOINT_LIST__INIT;
    Islr__Envelope m = ENVELOPE(CHECKPOINT_LIST, checkpoint_list, &list);
    list.checkpoints = x->list;
    list.n_checkpoints = x->count;
    list.has_more = 1;
    list.more = more;
    return session_reply(p->job.base.session, p->job.id, &m);
}

void handle_list_checkpoints(struct session *session, Islr__Envelope *m)
{
    static const struct pieces_kind kind = {.read = checkpoints_read, .send = checkpoints_send};
    struct error e;
    if (permit_reader(session, m->list_checkpoints->as, &e)) {
        session_refuse(session, m, &e);
        return;
    }
    struct checkpoints *x = pieces_new(session, sizeof *x, &kind);
    memcpy(x->user, session->user, sizeof x->user);
    start_on(&x->pieces.job, m->list_checkpoints->run);
}
