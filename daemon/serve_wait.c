// Waiting for runs to end: see serve_wait.h.
#include "daemon/serve_wait.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum { RUNS_MAX = 10000 }; // of one request

struct waiter {
    struct waiter *next;
    struct session *session; // held
    uint64_t id;
    uint64_t *runs; // [count] in ascending order
    uint8_t *told;  // [count] it has ended, and that was said
    size_t count, left;
    int behind;  // some may have ended that were not told of: the database has to be asked
    int reading; // it is
    int gone;
};

static void free_waiter(struct waiter *w)
{
    w->session->waits--;
    session_drop_standing(w->session);
    free(w->runs);
    free(w->told);
    free(w);
}

static void forget(struct server *s, struct waiter *w)
{
    struct waiter **at = &s->waits.first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->gone = 1;
    if (!w->reading)
        free_waiter(w);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// Tells of a run if it is still waited for; later, where the connection takes no more now. 1: it was the last one, and the
// waiter is forgotten.
static int tell(struct server *s, struct waiter *w, const struct run_now *ended)
{
    const uint64_t *at = bsearch(&ended->run, w->runs, w->count, sizeof *w->runs, compare);
    if (!at || w->told[at - w->runs])
        return 0;
    if (peer_is_full(w->session->peer)) {
        w->behind = 1;
        return 0;
    }
    Islr__RunEnded r = ISLR__RUN_ENDED__INIT;
    Islr__Envelope m = ENVELOPE(RUN_ENDED, run_ended, &r);
    r.has_run = r.has_state = 1;
    r.run = ended->run;
    r.state = ended->state;
    r.reason = (char *)ended->reason;
    session_reply(w->session, w->id, &m);
    w->told[at - w->runs] = 1;
    if (--w->left)
        return 0;
    session_reply_ok(w->session, w->id);
    forget(s, w);
    return 1;
}

void wait_wake(struct server *s, const struct run_now *ended)
{
    for (struct waiter *w = s->waits.first, *next; w; w = next) {
        next = w->next;
        tell(s, w, ended);
    }
}

void wait_forget(struct session *session)
{
    struct server *s = session->server;
    for (struct waiter *w = s->waits.first, *next; w; w = next) {
        next = w->next;
        if (w->session == session)
            forget(s, w);
    }
}

// ---- those that have ended before -----------------------------------------------------------------------------------

struct look {
    struct read_job job;
    struct waiter *waiter; // stays until the look is over
    size_t count;
    uint64_t *runs;        // not told of yet
    struct run_now *found; // in the pool
};

static int look_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct look *l = (struct look *)job;
    l->found = pool_alloc(&job->pool, l->count * sizeof *l->found);
    for (size_t i = 0; i < l->count; i++)
        if (run_read_now(reader, l->runs[i], &l->found[i], e))
            return -1;
    return 0;
}

static void look(struct server *s, struct waiter *w);

static void tell_found(struct server *s, struct waiter *w, const struct look *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (run_state_ended(l->found[i].state) && tell(s, w, &l->found[i]))
            return;
    look(s, w); // for what ended meanwhile while there was no room
}

static void look_done(struct read_job *job)
{
    struct look *l = (struct look *)job;
    struct waiter *w = l->waiter;
    struct server *s = job->base.server;
    w->reading = 0;
    if (w->gone) {
        free_waiter(w);
    } else if (job->failed) {
        session_reply_fault(w->session, w->id, &job->error);
        forget(s, w);
    } else {
        tell_found(s, w, l);
    }
    free(l->runs);
}

// Asks the database, if that is due and there is room for the answer.
static void look(struct server *s, struct waiter *w)
{
    if (w->reading || !w->behind || s->stopping || peer_is_full(w->session->peer))
        return;
    struct look *l = read_job_new_for(w->session, sizeof *l);
    w->reading = 1;
    w->behind = 0;
    l->waiter = w;
    l->runs = xmalloc(w->left * sizeof *l->runs);
    for (size_t i = 0; i < w->count; i++)
        if (!w->told[i])
            l->runs[l->count++] = w->runs[i];
    l->job.read = look_read;
    l->job.done = look_done;
    read_job_start_on(&l->job, l->runs, l->count);
}

void wait_drained(struct session *session)
{
    struct server *s = session->server;
    for (struct waiter *w = s->waits.first; w; w = w->next)
        if (w->session == session)
            look(s, w);
}

static void take_runs(struct waiter *w, const Islr__Wait *q)
{
    w->runs = xmalloc(q->n_runs * sizeof *w->runs);
    memcpy(w->runs, q->runs, q->n_runs * sizeof *w->runs);
    qsort(w->runs, q->n_runs, sizeof *w->runs, compare);
    for (size_t i = 0; i < q->n_runs; i++) // each once
        if (!w->count || w->runs[w->count - 1] != w->runs[i])
            w->runs[w->count++] = w->runs[i];
    w->left = w->count;
    w->told = xcalloc(w->count, sizeof *w->told);
}

static int check(const struct session *session, const Islr__Wait *q, struct error *e)
{
    if (!q->n_runs || q->n_runs > RUNS_MAX)
        return error_set(e, ERR_INVALID, "one can wait for 1 to %d runs at a time", RUNS_MAX);
    if (session->waits == RPC_WAITS_MAX)
        return error_set(e, ERR_INVALID,
                         "one connection has at most %d requests that wait for runs to end; one of them "
                         "can name %d runs",
                         RPC_WAITS_MAX, RUNS_MAX);
    return 0;
}

void handle_wait(struct session *session, Islr__Envelope *m)
{
    struct server *s = session->server;
    struct error e;
    if (check(session, m->wait, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct waiter *w = xcalloc(1, sizeof *w);
    session->waits++;
    w->session = session_hold_standing(session);
    w->id = m->id;
    w->behind = 1;
    take_runs(w, m->wait);
    w->next = s->waits.first;
    s->waits.first = w;
    look(s, w);
}
