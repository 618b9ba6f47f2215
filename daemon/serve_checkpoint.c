// AddCheckpoint: an uploaded artifact becomes a run's checkpoint.
#include "core/store/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "daemon/serve_collect.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

struct adding {
    struct checkpoint_add request;
    struct session *session;
    Islr__Envelope *m;
};

static void done(struct store_op *op)
{
    struct adding *a = (struct adding *)op;
    struct session *session = a->session;
    struct server *s = session->server;
    if (retry_later(s, op))
        return;
    if (op->status == STORE_DONE) {
        session_reply_ok(session, a->m->id);
        if (!strcmp(a->m->add_checkpoint->checkpoint->what, "resume"))
            collect_soon(s); // an older one has made room
    } else if (op->error.code == ERR_DENIED) {
        session_refuse(session, a->m, &op->error);
    } else {
        session_reply_fault(session, a->m->id, &op->error);
    }
    session_free_message(session, a->m);
    free(a);
    session_drop(session);
    server_settled(s);
}

void handle_add_checkpoint(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (checkpoint_check(m->add_checkpoint, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct adding *a = xcalloc(1, sizeof *a);
    a->session = session_hold(session);
    a->m = session_keep_message(session);
    a->request.message = m->add_checkpoint;
    a->request.by = &session->as;
    a->request.time_ms = server_now_ms();
    a->request.op.done = done;
    checkpoint_add_prepare(&a->request);
    server_queue(session->server, &a->request.op);
}
