// The ranks of an attempt as they come, go and stay away, its time limit, and what ends runs from outside. See
// serve_attempt.h.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/text.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum { REASON_SIZE = sizeof((struct error *)0)->text }; // of a rank's word: it is such a text

// ---- ranks that come back -------------------------------------------------------------------------------------------

static void rejoin(struct run *r, struct gang_rank *rank, struct worker *w)
{
    rank->worker = w;
    w->run = r->id;
    w->attempt = r->now.attempt;
    w->has_reported |= rank == r->gang;
}

int attempt_claim_holds(struct server *s, const struct worker *w, uint64_t run, uint32_t attempt)
{
    struct run *r = runs_find(&s->runs, run);
    return r && !r->busy && run_state_live(r->now.state) && r->now.attempt == attempt &&
           run_rank_of(r, w->world->name, w->rank);
}

static void back_at_work(struct server *s, struct worker *w, struct run *r)
{
    struct gang_rank *rank = run_rank_of(r, w->world->name, w->rank);
    rejoin(r, rank, w);
    rank->taken = 1;
    attempt_check_taken(s, r);
    if (r->now.state == ISLR__RUN_STATE__RUN_STOPPING)
        attempt_stop(s, r);
}

// It has nothing to do, though it is in the gang of r.
static void back_idle(struct server *s, struct worker *w, struct run *r, struct gang_rank *rank)
{
    rejoin(r, rank, w);
    if (!rank->taken && r->now.state == ISLR__RUN_STATE__RUN_STARTING)
        attempt_offer(s, r); // Assign was lost with the connection
    else if (rank == r->gang)
        attempt_lost(s, r, "its first rank has come back without it", NULL);
    // another rank may be done with its part: the first one will say how it ended
}

void attempt_rank_back(struct server *s, struct worker *w, uint64_t run, uint32_t attempt)
{
    worker_set_idle(w);
    if (run) {
        if (attempt_claim_holds(s, w, run, attempt))
            back_at_work(s, w, runs_find(&s->runs, run));
        return;
    }
    for (struct run *r = s->runs.live; r; r = r->next_live) {
        struct gang_rank *rank = run_rank_of(r, w->world->name, w->rank);
        if (rank && !r->busy) {
            back_idle(s, w, r, rank);
            break;
        }
    }
}

void attempt_shun(struct server *s, const struct worker *w)
{
    struct run *r = runs_find(&s->runs, w->run);
    for (size_t i = 0; r && r->world && run_rank_of(r, w->world->name, w->rank) && i < r->gang_count; i++)
        if (r->gang[i].worker)
            worker_shun(r->gang[i].worker);
}

void attempt_rank_gone(struct server *s, struct worker *w, const char *why)
{
    for (struct run *r = s->runs.live; r; r = r->next_live) {
        struct gang_rank *rank = run_rank_of(r, w->world->name, w->rank);
        if (!rank)
            continue;
        rank->worker = NULL;
        char *text =
            xprintf("rank %u (host %s, pid %u) is gone: %s%s%s (step %llu)", w->rank, w->facts->host, w->facts->pid,
                    why, *w->doing ? "; it was at: " : "", w->doing, (unsigned long long)w->step);
        attempt_lost(s, r, text, NULL);
        free(text);
        break;
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

struct word {
    struct run_verb request;
    struct server *server;
    char *reason;
};

static void word_done(struct store_op *op)
{
    struct word *x = (struct word *)op;
    struct server *s = x->server;
    if (retry_later(s, op))
        return;
    server_settled(s);
    if (op->status == STORE_DONE)
        run_stopped(s, &x->request.now);
    free(x->request.members);
    free(x->reason);
    free(x);
}

// The server's own word to stop a run.
static void stop_run(struct server *s, uint64_t run, int stop_why, char *reason)
{
    struct word *x = xcalloc(1, sizeof *x);
    x->server = s;
    x->reason = reason;
    x->request = (struct run_verb){
        .kind = RUN_STOP, .run = run, .reason = reason, .stop_why = stop_why, .time_ms = server_now_ms()};
    x->request.op.done = word_done;
    run_verb_prepare(&x->request);
    server_queue(s, &x->request.op);
}

void attempt_cancel_for(struct server *s, uint64_t run, uint64_t other)
{
    stop_run(s, run, ISLR__STOP__WHY__WHY_CANCEL,
             xprintf("run %llu, which had to succeed first, has not", (unsigned long long)other));
}

void attempt_preempt(struct server *s, struct run *r, const struct run *other)
{
    r->stop_asked = 1;
    stop_run(s, r->id, ISLR__STOP__WHY__WHY_PREEMPT,
             xprintf("makes room for run %llu (priority %d)", (unsigned long long)other->id, other->now.priority));
}

void attempts_drain(struct server *s, const char *reason)
{
    for (const struct run *r = s->runs.live; r; r = r->next_live)
        stop_run(s, r->id, ISLR__STOP__WHY__WHY_DRAIN, xstrdup(reason));
}

static int rank_missing(const struct run *r, uint32_t *rank)
{
    for (size_t i = 0; i < r->gang_count; i++) {
        if (r->gang[i].worker)
            continue;
        *rank = r->gang[i].world_rank;
        return 1;
    }
    return 0;
}

void attempts_wait_longer(struct server *s, uint64_t ms)
{
    for (struct run *r = s->runs.live; r; r = r->next_live)
        r->gang_deadline += ms;
}

void attempts_tick(struct server *s)
{
    uint64_t now = uv_now(s->loop);
    for (struct run *r = s->runs.live, *next; r; r = next) {
        uint32_t rank;
        next = r->next_live;
        if (r->busy || !run_state_live(r->now.state))
            continue;
        if (now >= r->gang_deadline && rank_missing(r, &rank)) {
            char *text = xprintf("rank %u did not come back after the server's restart", rank);
            attempt_lost(s, r, text, NULL);
            free(text);
        } else if (r->limit_ms > 0 && !r->stop_asked && r->now.state != ISLR__RUN_STATE__RUN_STOPPING &&
                   r->ran_ms + (double)((int64_t)now - r->begun_at) > r->limit_ms) {
            r->stop_asked = 1;
            stop_run(s, r->id, STOP_LIMIT, xstrdup("its time is up (limits.minutes)"));
        }
    }
}

// ---- others' runs ----------------------------------------------------------------------------------------------------

int attempt_refuse_foreign(struct session *session, const Islr__Envelope *m, uint64_t run, uint32_t attempt)
{
    struct error e;
    struct run *r = runs_find(&session->server->runs, run);
    if (!r || !r->gang_count || r->now.attempt != attempt || run_rank_of(r, session->as.world, session->as.rank))
        return 0;
    error_set(&e, ERR_DENIED, "rank %u of world %.8s has no part in attempt %u of run %llu", session->as.rank,
              session->as.world, attempt, (unsigned long long)run);
    session_refuse(session, m, &e);
    attempt_tell_abandon(session, run, attempt);
    return 1;
}

// ---- the first rank's word ------------------------------------------------------------------------------------------

void handle_finished(struct session *session, Islr__Envelope *m)
{
    static const enum attempt_outcome outcomes[] = {ATTEMPT_SUCCEEDED, ATTEMPT_FAILED, ATTEMPT_STOPPED};
    const Islr__Finished *f = m->finished;
    struct server *s = session->server;
    struct run *r = runs_find(&s->runs, f->run);
    struct error e;
    if ((unsigned)f->outcome >= sizeof outcomes / sizeof *outcomes) {
        error_set(&e, ERR_INVALID, "run %llu cannot have ended in the way %d", (unsigned long long)f->run, f->outcome);
        session_reply_fault(session, m->id, &e);
    } else if (r && r->gang_count && r->now.attempt == f->attempt && r->gang[0].worker != session->worker) {
        error_set(&e, ERR_DENIED, "only the first rank of run %llu says how it has ended", (unsigned long long)f->run);
        session_refuse(session, m, &e);
    } else { // the database knows whose an attempt was that has ended
        char reason[REASON_SIZE];
        text_fit(reason, sizeof reason, f->reason ? f->reason : "");
        struct attempt_report report = {f->run, f->attempt, outcomes[f->outcome], f->retryable, reason, NULL};
        attempt_end(s, &report, session, session_keep_message(session));
    }
}
