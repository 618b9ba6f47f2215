// Waiting for runs to end: see serve_wait.h.
#include "daemon/serve_wait.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum { RUNS_MAX = 10000 }; // of one request

struct waiter {
    struct waiter *next;
    struct session *session; // held
    uint64_t id;
    uint64_t *runs; // [left] those that have not ended
    size_t left;
    int reading; // the database is being asked which have ended already
    int gone;
};

static void free_waiter(struct waiter *w)
{
    session_drop(w->session);
    free(w->runs);
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

// Tells of a run if it is still waited for. 1: it was the last one, and the waiter is forgotten.
static int tell(struct server *s, struct waiter *w, const struct run_now *ended)
{
    size_t i = 0;
    while (i < w->left && w->runs[i] != ended->run)
        i++;
    if (i == w->left)
        return 0;
    Islr__RunEnded r = ISLR__RUN_ENDED__INIT;
    Islr__Envelope m = ENVELOPE(RUN_ENDED, run_ended, &r);
    r.has_run = r.has_state = 1;
    r.run = ended->run;
    r.state = ended->state;
    r.reason = (char *)ended->reason;
    session_reply(w->session, w->id, &m);
    w->runs[i] = w->runs[--w->left];
    if (w->left)
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
    struct waiter *waiter;
    uint64_t *runs;
    size_t count;
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

static void look_done(struct read_job *job)
{
    struct look *l = (struct look *)job;
    struct waiter *w = l->waiter;
    struct server *s = job->server;
    w->reading = 0;
    if (w->gone) {
        free_waiter(w);
    } else if (job->failed) {
        session_reply_fault(w->session, w->id, &job->error);
        forget(s, w);
    } else {
        for (size_t i = 0; i < l->count; i++)
            if (run_state_ended(l->found[i].state) && tell(s, w, &l->found[i]))
                break;
    }
    free(l->runs);
}

void handle_wait(struct session *session, Islr__Envelope *m)
{
    struct server *s = session->server;
    const Islr__Wait *q = m->wait;
    struct error e;
    if (!q->n_runs || q->n_runs > RUNS_MAX) {
        error_set(&e, ERR_INVALID, "one can wait for 1 to %d runs at a time", RUNS_MAX);
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct waiter *w = xcalloc(1, sizeof *w);
    w->session = session_hold(session);
    w->id = m->id;
    w->reading = 1;
    w->next = s->waits.first;
    s->waits.first = w;
    struct look *l = read_job_new_for_server(s, sizeof *l);
    w->runs = xmalloc(q->n_runs * sizeof *w->runs);
    l->runs = xmalloc(q->n_runs * sizeof *l->runs);
    for (size_t i = 0; i < q->n_runs; i++) {
        size_t k = 0; // each once
        while (k < w->left && w->runs[k] != q->runs[i])
            k++;
        if (k == w->left)
            l->runs[w->left] = q->runs[i], w->runs[w->left++] = q->runs[i];
    }
    l->count = w->left;
    l->waiter = w;
    l->job.read = look_read;
    l->job.done = look_done;
    read_job_start(&l->job);
}
