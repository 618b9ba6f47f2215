// Collect: what nobody needs any more, told (dry_run) or removed. An admin's is for all users, others' for their own runs.
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/store/gc.h"
#include "daemon/serve_collect.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"
#include "daemon/serve_server.h"

enum { TOLD_MAX = 4000 }; // checkpoints of one answer; the numbers are of all

static void reply(struct session *session, uint64_t id, const struct gc_found *found)
{
    Islr__Collected c = ISLR__COLLECTED__INIT;
    Islr__Envelope m = ENVELOPE(COLLECTED, collected, &c);
    c.has_count = c.has_bytes = 1;
    c.count = (uint32_t)found->count;
    c.bytes = found->bytes;
    c.checkpoints = found->items;
    c.n_checkpoints = found->count < TOLD_MAX ? found->count : TOLD_MAX;
    session_reply(session, id, &m);
}

// ---- only looking ---------------------------------------------------------------------------------------------------

struct looking {
    struct read_job job;
    const char *as_user; // the session's
    struct gc_found found;
};

static int look_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct looking *l = (struct looking *)job;
    return gc_find(reader, l->as_user, &job->pool, &l->found, e);
}

static void look_done(struct read_job *job)
{
    struct looking *l = (struct looking *)job;
    if (!job->failed)
        reply(job->base.session, job->id, &l->found);
}

// ---- doing ----------------------------------------------------------------------------------------------------------

struct removing {
    struct gc_run request;
    struct session *session;
    uint64_t id;
};

static void removed(struct store_op *op)
{
    struct removing *r = (struct removing *)op;
    struct session *session = r->session;
    struct server *s = session->server;
    if (op->status == STORE_DONE) {
        log_info(s->log, "%zu checkpoints removed for %s, %.1f MB", r->request.found.count, session->user,
                 (double)r->request.found.bytes / 1e6);
        reply(session, r->id, &r->request.found);
        collect_soon(s);
    } else {
        session_reply_fault(session, r->id, &op->error);
    }
    pool_free(&r->request.pool);
    free(r);
    session_drop(session);
    server_settled(s);
}

void handle_collect(struct session *session, Islr__Envelope *m)
{
    const char *as_user = session->role >= ROLE_ADMIN ? NULL : session->user;
    if (m->collect->dry_run) {
        struct looking *l = read_job_new(session, sizeof *l);
        l->as_user = as_user;
        l->job.read = look_read;
        l->job.done = look_done;
        read_job_start(&l->job);
        return;
    }
    struct removing *r = xcalloc(1, sizeof *r);
    r->session = session_hold(session);
    r->id = m->id;
    r->request.as_user = as_user;
    r->request.op.done = removed;
    gc_run_prepare(&r->request);
    server_queue(session->server, &r->request.op);
}
