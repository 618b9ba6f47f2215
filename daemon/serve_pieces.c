// Answers in pieces: see serve_pieces.h.
#include "daemon/serve_pieces.h"

#include "daemon/serve_server.h"

enum { PARK_MS = 500 }; // of waiting: shorter breaks are not worth what letting go costs

static int holds(const struct pieces *p)
{
    return p->kind->park && p->state != PIECES_PARKED;
}

static int read_on(struct pieces *p, struct store_reader *reader, struct error *e)
{
    if (p->state == PIECES_PARKING)
        return p->kind->park(p, e) ? -1 : 1;
    return p->kind->read(p, reader, e);
}

static int read_piece(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct pieces *p = (struct pieces *)job;
    int more = read_on(p, reader, e);
    job->again = more > 0;
    if (!job->again && p->kind->close)
        p->kind->close(p);
    if (!holds(p) || p->state == PIECES_PARKING)
        read_job_give_back(job);
    return more < 0 ? -1 : 0;
}

// Its connection's queue is full: it goes on when that has drained.
static void wait_for_room(struct pieces *p)
{
    struct server *s = p->job.base.server;
    struct error e;
    if (s->stopping) {
        error_set(&e, ERR_UNREACHABLE, "the server is shutting down");
        session_reply_fault(p->job.base.session, p->job.id, &e);
        p->job.again = 0;
        return;
    }
    p->job.paused = 1;
    p->since = uv_now(s->loop);
    p->next = s->paused;
    s->paused = p;
}

static void send_piece(struct pieces *p)
{
    if (p->state == PIECES_PARKING) { // nothing was read
        p->state = PIECES_PARKED;
        return;
    }
    if (p->kind->gather)
        p->job.again = p->kind->gather(p) > 0;
    if (p->kind->send(p, p->job.again))
        p->job.again = 0; // nobody is there for it any more, or who asked has been told that it cannot be sent
}

static void piece_done(struct read_job *job)
{
    struct pieces *p = (struct pieces *)job;
    const struct session *session = job->base.session;
    if (!job->failed)
        send_piece(p);
    if (job->again && !session->peer)
        job->again = 0;
    else if (job->again && peer_is_full(session->peer))
        wait_for_room(p);
    if (!job->again && p->kind->close)
        p->kind->close(p);
}

void *pieces_new(struct session *session, size_t size, const struct pieces_kind *kind)
{
    struct pieces *p = read_job_new(session, size);
    p->kind = kind;
    p->job.read = kind->read ? read_piece : NULL;
    p->job.done = piece_done;
    return p;
}

// ---- those that wait ------------------------------------------------------------------------------------------------

// Goes on with those that are `due`.
static void go_on(struct server *s, int (*due)(struct pieces *p, const void *context), const void *context)
{
    struct pieces *p, **at = &s->paused;
    while ((p = *at)) {
        if (due(p, context)) {
            *at = p->next;
            read_job_continue(&p->job);
        } else {
            at = &p->next;
        }
    }
}

static int is_of(struct pieces *p, const void *session)
{
    return p->job.base.session == session;
}

static int is_to_park(struct pieces *p, const void *server)
{
    const struct server *s = server;
    if (!holds(p) || uv_now(s->loop) - p->since < PARK_MS)
        return 0;
    p->state = PIECES_PARKING;
    return 1;
}

static int is_any(struct pieces *p, const void *nothing)
{
    (void)p;
    (void)nothing;
    return 1;
}

void pieces_drained(struct session *session)
{
    go_on(session->server, is_of, session);
}

void pieces_tick(struct server *s)
{
    go_on(s, is_to_park, s);
}

void pieces_stop(struct server *s)
{
    go_on(s, is_any, NULL);
}
