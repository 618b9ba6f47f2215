// ListRuns: read in the pool, a piece at a time, each sent while the next one is read and the client takes the one before
// apart. See also serve_list.h.
#include "daemon/serve_list.h"

#include <string.h>

#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum {
    PIECE = 256,
    MESSAGE_BYTES = 512 << 10,
    PARK_MS = 500 // of waiting: shorter breaks are not worth reading runs one by one afterwards
};

struct listing {
    struct read_job job;
    struct run_list *list;
    Islr__RunSummary **runs; // the piece
    size_t count;
    struct listing *next; // of those that are paused
    uint64_t since;       // loop time
    enum { READING, PARKING, PARKED } parked;
};

// Nothing is read: the reader is given back for the time of the break.
static int park(struct listing *l, struct error *e)
{
    l->count = 0;
    l->parked = PARKED;
    if (run_list_park(l->list, e))
        return -1;
    read_job_give_back(&l->job);
    l->job.again = 1;
    return 0;
}

static int read_on(struct listing *l, struct store_reader *reader, struct error *e)
{
    if (l->parked == PARKING)
        return park(l, e);
    if (l->parked)
        run_list_resume(l->list, reader);
    if (!l->list)
        l->list = run_list_open(reader, l->job.request->list_runs, e);
    int more = l->list ? run_list_next(l->list, PIECE, &l->job.pool, &l->runs, &l->count, e) : -1;
    l->job.again = more > 0;
    return more < 0 ? -1 : 0;
}

static int list_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct listing *l = (struct listing *)job;
    int rc = read_on(l, reader, e);
    if (!job->again) {
        run_list_close(l->list);
        l->list = NULL;
    }
    return rc;
}

// ---- sending --------------------------------------------------------------------------------------------------------

static void send_part(struct listing *l, size_t from, size_t to)
{
    Islr__RunList list = ISLR__RUN_LIST__INIT;
    Islr__Envelope m = ENVELOPE(RUN_LIST, run_list, &list);
    list.runs = l->runs + from;
    list.n_runs = to - from;
    list.has_more = 1;
    list.more = to < l->count || l->job.again;
    session_reply(l->job.base.session, l->job.id, &m);
}

static void send_piece(struct listing *l)
{
    size_t from = 0, bytes = 0;
    for (size_t i = 0; i < l->count; i++) {
        run_show_live(l->job.base.server, l->runs[i], &l->job.pool);
        size_t size = islr__run_summary__get_packed_size(l->runs[i]) + 8;
        if (bytes && bytes + size > MESSAGE_BYTES) {
            send_part(l, from, i);
            from = i;
            bytes = 0;
        }
        bytes += size;
    }
    if (l->count || !l->job.again)
        send_part(l, from, l->count);
}

// Its connection's queue is full: it goes on when that has drained.
static void wait_for_room(struct listing *l)
{
    struct server *s = l->job.base.server;
    struct error e;
    if (s->stopping) {
        error_set(&e, ERR_UNREACHABLE, "the server is shutting down");
        session_reply_fault(l->job.base.session, l->job.id, &e);
        l->job.again = 0;
        return;
    }
    l->job.paused = 1;
    l->since = uv_now(s->loop);
    l->next = s->listings.paused;
    s->listings.paused = l;
}

static void list_done(struct read_job *job)
{
    struct listing *l = (struct listing *)job;
    struct session *session = job->base.session;
    if (!job->failed)
        send_piece(l);
    if (job->again && !session->peer)
        job->again = 0;
    else if (job->again && peer_is_full(session->peer))
        wait_for_room(l);
    if (!job->again)
        run_list_close(l->list);
}

// ---- those that wait ------------------------------------------------------------------------------------------------

// Goes on with those that are `due`.
static void go_on(struct server *s, int (*due)(struct listing *l, const void *context), const void *context)
{
    struct listing *l, **at = &s->listings.paused;
    while ((l = *at)) {
        if (due(l, context)) {
            *at = l->next;
            read_job_continue(&l->job);
        } else {
            at = &l->next;
        }
    }
}

static int is_of(struct listing *l, const void *session)
{
    return l->job.base.session == session;
}

static int is_to_park(struct listing *l, const void *server)
{
    const struct server *s = server;
    if (l->parked || uv_now(s->loop) - l->since < PARK_MS)
        return 0;
    l->parked = PARKING;
    return 1;
}

static int is_any(struct listing *l, const void *nothing)
{
    (void)l;
    (void)nothing;
    return 1;
}

void list_drained(struct session *session)
{
    go_on(session->server, is_of, session);
}

void list_tick(struct server *s)
{
    go_on(s, is_to_park, s);
}

void list_stop(struct server *s)
{
    go_on(s, is_any, NULL);
}

void handle_list_runs(struct session *session, Islr__Envelope *m)
{
    struct listing *l = read_job_new(session, sizeof *l);
    l->job.read = list_read;
    l->job.done = list_done;
    if (m->list_runs->parent)
        read_job_start_on(&l->job, &m->list_runs->parent, 1);
    else
        read_job_start_on_all(&l->job);
}
