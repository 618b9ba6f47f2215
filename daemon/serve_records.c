// A worker's records: taken in one message after the other, acknowledged when they are durable. While the database
// cannot be written the worker is not read from, so it keeps what it has and sends on later.
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/store/record.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

struct taking {
    struct record_add request;
    struct session *session;
    Islr__Envelope *m;
    struct taking *next;
};

static void take_first(struct session *session);

static void acknowledge(struct session *session, const struct record_add *r)
{
    Islr__RecordsAck ack = ISLR__RECORDS_ACK__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS_ACK, records_ack, &ack);
    ack.has_run = ack.has_attempt = ack.has_seq = 1;
    ack.run = r->records->run;
    ack.attempt = r->records->attempt;
    ack.seq = r->acked;
    session_send(session, &m);
}

static void taken(struct store_op *op)
{
    struct taking *t = (struct taking *)op;
    struct session *session = t->session;
    struct server *s = session->server;
    if (retry_later(s, op))
        return;
    const Islr__Records *records = t->request.records;
    if (op->status == STORE_DONE) {
        acknowledge(session, &t->request);
        if (t->request.added) {
            follow_wake(s, records->run);
            watch_changed(s, WATCH_PROGRESS);
        }
    } else if (op->status == STORE_REFUSED && op->error.code == ERR_NOT_FOUND) {
        attempt_tell_abandon(session, records->run, records->attempt); // it has ended, which the rank has missed
    } else if (op->status == STORE_REFUSED && op->error.code == ERR_DENIED) {
        session_refuse(session, t->m, &op->error);
        session_end(session, &op->error);
    } else if (op->status == STORE_REFUSED) {
        log_warn(s->log, "%s", op->error.text);
        session_end(session, &op->error); // it will come back, hear what was taken last, and send on from there
    }
    session->records = t->next;
    session->records_waiting--;
    if (session->records)
        take_first(session);
    session_free_message(session, t->m);
    free(t);
    session_drop(session);
    server_settled(s);
}

static void take_first(struct session *session)
{
    server_queue(session->server, &session->records->request.op);
}

void handle_records(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (record_check(m->records, &e)) {
        session_end(session, &e);
        return;
    }
    struct taking *t = xcalloc(1, sizeof *t);
    t->session = session_hold(session);
    t->m = session_keep_message(session);
    t->request.records = m->records;
    t->request.by = &session->as;
    t->request.op.done = taken;
    record_add_prepare(&t->request);
    struct taking **last = &session->records;
    while (*last)
        last = &(*last)->next;
    *last = t;
    session->records_waiting++;
    session_throttle(session);
    if (session->records == t)
        take_first(session);
}
