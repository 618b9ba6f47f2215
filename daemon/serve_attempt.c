// Attempts: see serve_attempt.h.
#include "daemon/serve_attempt.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

// ---- begin ----------------------------------------------------------------------------------------------------------

struct beginning {
    struct run_start request;
    struct server *server;
    char *world;
    struct run_rank *ranks;
    size_t count;
};

// The ranks that were set aside for a run that did not begin.
static void set_free(const struct beginning *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct worker *w = workers_find(b->server, b->world, b->ranks[i].world_rank);
        if (w && w->run == b->request.run && !w->attempt)
            worker_set_idle(w);
    }
    schedule_soon(b->server);
}

// Puts the gang together as it is now: ranks may have gone while the database was being written.
static int gather(struct run *r, struct beginning *b)
{
    int missing = 0;
    run_make_gang(b->server, r, b->world, b->count);
    b->world = NULL;
    for (size_t i = 0; i < b->count; i++) {
        r->gang[i].world_rank = b->ranks[i].world_rank;
        struct worker *w = workers_find(b->server, r->world, b->ranks[i].world_rank);
        r->gang[i].worker = w;
        if (w) {
            w->run = r->id;
            w->attempt = r->now.attempt;
            w->has_reported |= i == 0;
        }
        missing |= !w;
    }
    return missing;
}

static void begun(struct server *s, struct run *r, struct beginning *b)
{
    r->begun_at = (int64_t)uv_now(s->loop);
    user_started(r->owner, r->now.priority, r->begun_at);
    r->has_resume = b->request.resumes;
    r->resume_hash = b->request.resume_hash;
    r->resume_size = b->request.resume_size;
    r->step = b->request.resume_step;
    free(r->folds);
    r->folds = b->request.folds;
    r->fold_count = b->request.fold_count;
    b->request.folds = NULL;
    int missing = gather(r, b);
    r->job = islr__job_spec__unpack(NULL, b->request.spec_size, b->request.spec);
    log_info(s->log, "run %llu: attempt %u on %zu ranks of world %s", (unsigned long long)r->id, r->now.attempt,
             r->gang_count, r->world);
    if (!r->job)
        attempt_end(s, &(struct attempt_report){r->id, r->now.attempt, ATTEMPT_FAILED, 0, "its job is damaged", NULL},
                    NULL, NULL);
    else if (missing)
        attempt_lost(s, r, "a rank was gone before it could be told", NULL);
    else
        attempt_offer(s, r);
}

static void begin_done(struct store_op *op)
{
    struct beginning *b = (struct beginning *)op;
    struct server *s = b->server;
    struct run *r = runs_find(&s->runs, b->request.run);
    server_settled(s);
    if (r)
        r->busy = 0;
    if (op->status == STORE_DONE) {
        run_update(s, &b->request.now);
        r = runs_find(&s->runs, b->request.run);
        if (r)
            begun(s, r, b);
    } else {
        set_free(b);
        if (r && op->status == STORE_TROUBLE)
            r->ready_at = uv_now(s->loop) + RETRY_MS; // the pass that set_free() has asked for sees it
        else if (r)                                   // memory was behind the database
            run_reload(s, r);
    }
    for (size_t i = 0; i < b->count; i++) {
        free((char *)b->ranks[i].host);
        free((char *)b->ranks[i].device);
    }
    free(b->ranks);
    free(b->world);
    free(b->request.spec);
    free(b->request.folds);
    free(b);
}

void attempt_begin(struct server *s, struct run *r, struct worker *const *gang, size_t count)
{
    struct beginning *b = xcalloc(1, sizeof *b);
    b->server = s;
    b->world = xstrdup(gang[0]->world->name);
    b->count = count;
    b->ranks = xcalloc(count, sizeof *b->ranks);
    for (size_t i = 0; i < count; i++) {
        const Islr__Register *facts = gang[i]->facts;
        b->ranks[i] = (struct run_rank){gang[i]->rank, xstrdup(facts->host), xstrdup(facts->device), facts->pid};
        gang[i]->run = r->id;
        gang[i]->attempt = 0;
    }
    r->busy = 1;
    b->request.run = r->id;
    b->request.world = b->world;
    b->request.ranks = b->ranks;
    b->request.rank_count = count;
    b->request.time_ms = server_now_ms();
    b->request.op.done = begin_done;
    run_start_prepare(&b->request);
    server_queue(s, &b->request.op);
}

// ---- assign ---------------------------------------------------------------------------------------------------------

struct taking {
    struct run_began request;
    struct server *server;
};

static void taken_done(struct store_op *op)
{
    struct taking *t = (struct taking *)op;
    struct server *s = t->server;
    if (retry_later(s, op))
        return;
    server_settled(s);
    if (op->status == STORE_DONE)
        run_update(s, &t->request.now);
    free(t);
}

void attempt_check_taken(struct server *s, struct run *r)
{
    if (r->now.state != ISLR__RUN_STATE__RUN_STARTING || r->busy)
        return;
    for (size_t i = 0; i < r->gang_count; i++)
        if (!r->gang[i].taken)
            return;
    struct taking *t = xcalloc(1, sizeof *t);
    t->server = s;
    t->request.run = r->id;
    t->request.attempt = r->now.attempt;
    t->request.time_ms = server_now_ms();
    t->request.op.done = taken_done;
    run_began_prepare(&t->request);
    server_queue(s, &t->request.op);
}

// An Assign that waits for its answer.
struct asked {
    struct server *server;
    uint64_t run;
    uint32_t attempt;
    uint32_t world_rank;
};

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct asked *a = context;
    struct server *s = a->server;
    struct run *r = runs_find(&s->runs, a->run);
    struct gang_rank *rank = NULL;
    (void)p;
    if (r && r->now.attempt == a->attempt && r->world)
        rank = run_rank_of(r, r->world, a->world_rank);
    if (rank) {
        rank->asking = 0;
        if (m) {
            rank->taken = 1;
            attempt_check_taken(s, r);
        } else if (why->code != ERR_UNREACHABLE && why->code != ERR_NONE) { // not a lost connection: the lease decides
            char *text = xprintf("rank %u would not begin: %s", a->world_rank, why->text);
            attempt_lost(s, r, text, NULL);
            free(text);
        }
    }
    free(a);
}

// -1: the attempt has failed.
static int offer_one(struct server *s, struct run *r, struct gang_rank *rank)
{
    Islr__Assign assign = ISLR__ASSIGN__INIT;
    Islr__Envelope m = ENVELOPE(ASSIGN, assign, &assign);
    uint32_t *gang = xmalloc(r->gang_count * sizeof *gang);
    for (size_t i = 0; i < r->gang_count; i++)
        gang[i] = r->gang[i].world_rank;
    assign.has_run = assign.has_attempt = assign.has_next_seq = 1;
    assign.run = r->id;
    assign.attempt = r->now.attempt;
    assign.next_seq = 1;
    assign.job = r->job;
    assign.gang = gang;
    assign.n_gang = r->gang_count;
    assign.folds = r->folds;
    assign.n_folds = r->fold_count;
    if (r->has_resume) {
        assign.has_resume_sha256 = assign.has_resume_size = 1;
        assign.resume_sha256 = (ProtobufCBinaryData){sizeof r->resume_hash.bytes, r->resume_hash.bytes};
        assign.resume_size = r->resume_size;
    }
    struct asked *a = xcalloc(1, sizeof *a);
    struct error e;
    *a = (struct asked){s, r->id, r->now.attempt, rank->world_rank};
    rank->asking = peer_request(rank->worker->session->peer, &m, RPC_CALL_MS, answered, a, &e) != 0;
    int too_large = !rank->asking && e.code == ERR_INVALID; // else the connection is closing: it will be offered again
    if (!rank->asking)
        free(a);
    free(gang);
    if (too_large)
        attempt_end(s, &(struct attempt_report){r->id, r->now.attempt, ATTEMPT_FAILED, 0, e.text, NULL}, NULL, NULL);
    return too_large ? -1 : 0;
}

void attempt_offer(struct server *s, struct run *r)
{
    for (size_t i = 0; i < r->gang_count; i++) {
        struct gang_rank *rank = &r->gang[i];
        if (!rank->taken && !rank->asking && rank->worker && rank->worker->session && offer_one(s, r, rank))
            return;
    }
}

// ---- stop -----------------------------------------------------------------------------------------------------------

// gone: some rank of the gang will not come any more.
static void tell_stop(const struct run *r, Islr__Stop__Why why, int save, int gone)
{
    Islr__Stop stop = ISLR__STOP__INIT;
    Islr__Envelope m = ENVELOPE(STOP, stop, &stop);
    stop.has_run = stop.has_attempt = stop.has_why = stop.has_save = stop.has_gone = 1;
    stop.gone = gone;
    stop.run = r->id;
    stop.attempt = r->now.attempt;
    stop.why = why;
    stop.save = save;
    for (size_t i = 0; i < r->gang_count; i++)
        if (r->gang[i].worker && r->gang[i].worker->session)
            session_send(r->gang[i].worker->session, &m);
}

void attempt_tell_abandon(struct session *session, uint64_t run, uint32_t attempt)
{
    Islr__Stop stop = ISLR__STOP__INIT;
    Islr__Envelope m = ENVELOPE(STOP, stop, &stop);
    stop.has_run = stop.has_attempt = stop.has_why = stop.has_save = 1;
    stop.run = run;
    stop.attempt = attempt;
    stop.why = ISLR__STOP__WHY__WHY_ABANDON;
    stop.save = 0;
    session_send(session, &m);
}

void attempt_stop(struct server *s, const struct run *r)
{
    (void)s;
    if (r->now.state == ISLR__RUN_STATE__RUN_STOPPING)
        tell_stop(r, r->now.stop_why == STOP_LIMIT ? ISLR__STOP__WHY__WHY_CANCEL : (Islr__Stop__Why)r->now.stop_why, 1,
                  0);
    else if (r->gang_count) // it has ended without waiting for them
        tell_stop(r, ISLR__STOP__WHY__WHY_ABANDON, 0, 0);
}

// ---- end ------------------------------------------------------------------------------------------------------------

struct ending {
    struct run_end request;
    struct server *server;
    struct session *session; // held, or NULL
    Islr__Envelope *said;    // to be answered
    int marked;              // the run is busy with this
    char *reason, *lines;
};

static void end_done(struct store_op *op)
{
    struct ending *x = (struct ending *)op;
    struct server *s = x->server;
    if (retry_later(s, op))
        return;
    server_settled(s);
    struct run *r = x->marked ? runs_find(&s->runs, x->request.run) : NULL;
    if (r && r->now.attempt == x->request.attempt)
        r->busy = 0;
    if (op->status == STORE_DONE && !x->request.repeated) {
        const struct run_now *now = &x->request.now;
        log_info(s->log, "run %llu: attempt %u %s%s%s; it is %s", (unsigned long long)now->run, x->request.attempt,
                 attempt_outcome_name(x->request.outcome), *x->reason ? ": " : "", x->reason,
                 run_state_name(now->state));
        run_update(s, now);
    }
    if (x->session) {
        if (op->status == STORE_DONE)
            session_reply_ok(x->session, x->said->id);
        else if (op->error.code == ERR_DENIED)
            session_refuse(x->session, x->said, &op->error);
        else
            session_reply_fault(x->session, x->said->id, &op->error);
        session_free_message(x->session, x->said);
        session_drop(x->session);
    }
    free(x->reason);
    free(x->lines);
    free(x);
}

void attempt_end(struct server *s, const struct attempt_report *report, struct session *session, Islr__Envelope *said)
{
    struct ending *x = xcalloc(1, sizeof *x);
    struct run *r = runs_find(&s->runs, report->run);
    x->marked = r && r->gang_count && r->now.attempt == report->attempt;
    if (x->marked)
        r->busy = 1;
    x->server = s;
    x->session = session ? session_hold(session) : NULL;
    x->said = said;
    x->request.by = session ? &session->as : NULL;
    x->reason = xstrdup(report->reason);
    x->lines = report->lines ? xstrdup(report->lines) : NULL;
    x->request.lines = x->lines;
    x->request.run = report->run;
    x->request.attempt = report->attempt;
    x->request.outcome = report->outcome;
    x->request.retryable = report->retryable;
    x->request.reason = x->reason;
    x->request.time_ms = server_now_ms();
    x->request.op.done = end_done;
    run_end_prepare(&x->request);
    server_queue(s, &x->request.op);
}

void attempt_lost(struct server *s, struct run *r, const char *reason, const char *lines)
{
    if (r->busy || !run_state_live(r->now.state))
        return;
    tell_stop(r, ISLR__STOP__WHY__WHY_ABANDON, 0, 1);
    attempt_end(s, &(struct attempt_report){r->id, r->now.attempt, ATTEMPT_LOST, 0, reason, lines}, NULL, NULL);
}
