// A rank registers: see serve_worker.h. What it is in the middle of is checked against the database before it is
// answered; what follows for its run comes after the answer.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/record.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum { NAME_MAX_BYTES = 256 };

static int check_text(const char *what, const char *text, int needed, struct error *e)
{
    if (needed && (!text || !*text))
        return error_set(e, ERR_INVALID, "a rank registers without %s", what);
    if (text && strlen(text) > NAME_MAX_BYTES)
        return error_set(e, ERR_INVALID, "a rank registers with %s of more than %d bytes", what, NAME_MAX_BYTES);
    return 0;
}

static int check(const Islr__Register *r, struct error *e)
{
    if (check_text("a world", r->world, 1, e) || check_text("a host", r->host, 1, e) ||
        check_text("a device", r->device, 1, e) || check_text("a device name", r->device_name, 0, e))
        return -1;
    if (strcmp(r->device, "cpu") && strcmp(r->device, "cuda"))
        return error_set(e, ERR_INVALID, "a rank registers with the device '%s': cpu and cuda are known", r->device);
    return 0;
}

// The rank that registers, known or new; NULL: it cannot be.
static struct worker *find_rank(struct session *session, const Islr__Register *facts, struct error *e)
{
    struct server *s = session->server;
    if (session->as.world && (session->as.rank != facts->rank || strcmp(session->as.world, facts->world))) {
        error_set(e, ERR_INVALID, "rank %u has registered on this connection already", session->as.rank);
        return NULL;
    }
    struct worker *w = workers_find(s, facts->world, facts->rank);
    if (!w)
        return worker_add(s, facts, e);
    if (!worker_is_another(w, facts, session->user, e))
        return w;
    log_warn(s->log, "%s", e->text);
    return NULL;
}

static void answer(struct session *session, const Islr__Envelope *m, uint64_t acked)
{
    struct server *s = session->server;
    const Islr__Register *facts = m->register_;
    struct error e;
    if (!session->peer)
        return;
    struct worker *w = find_rank(session, facts, &e);
    if (!w) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    if (!session->as.world)
        session->as = (struct reporter){xstrdup(facts->world), facts->rank};
    worker_connected(w, session);
    Islr__Registered r = ISLR__REGISTERED__INIT;
    Islr__Envelope reply = ENVELOPE(REGISTERED, registered, &r);
    r.has_worker = r.has_lease_ms = r.has_hang_ms = 1;
    r.worker = w->id;
    r.hang_ms = s->hang_ms;
    r.lease_ms = s->lease_ms;
    if (facts->run) {
        r.has_acked_seq = r.has_abandon = 1;
        r.abandon = !attempt_claim_holds(s, w, facts->run, facts->attempt);
        r.acked_seq = r.abandon ? 0 : acked;
    }
    session_reply(session, m->id, &reply);
    attempt_rank_back(s, w, facts->run, facts->attempt);
}

struct asking {
    struct record_acked request;
    struct session *session;
    Islr__Envelope *m;
};

static void asked(struct store_op *op)
{
    struct asking *a = (struct asking *)op;
    struct session *session = a->session;
    struct server *s = session->server;
    if (retry_later(s, op))
        return;
    if (op->status == STORE_DONE)
        answer(session, a->m, a->request.acked);
    else
        session_reply_fault(session, a->m->id, &op->error);
    session_free_message(session, a->m);
    free(a);
    session_drop(session);
    server_settled(s);
}

void handle_register(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (check(m->register_, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    if (!m->register_->run) {
        answer(session, m, 0);
        return;
    }
    struct asking *a = xcalloc(1, sizeof *a);
    a->session = session_hold(session);
    a->m = session_keep_message(session);
    a->request.run = m->register_->run;
    a->request.attempt = m->register_->attempt;
    a->request.op.done = asked;
    record_acked_prepare(&a->request);
    server_queue(session->server, &a->request.op);
}

void handle_leaving(struct session *session, Islr__Envelope *m)
{
    (void)m;
    if (session->worker)
        session->worker->leaving = 1;
}
