// A rank's network thread: see work_net.h.
#include "daemon/work_net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/signals.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"
#include "daemon/work_delivery.h"

// Where a rank of the gang will not come any more, the others need not wait for it in collectives longer than this. Ranks
// that are well come to the next step's end and save there, which takes what it takes.
enum { GONE_MS = 2000 };

void work_task_free(struct work_task *t)
{
    if (!t)
        return;
    spec_free(t->job);
    free(t->gang);
    free(t->folds);
    free(t);
}

struct peer *work_net_peer(const struct work_net *n)
{
    return n->registered ? link_peer(n->link) : NULL;
}

// The lock is held. patience_ms 0: the other ranks are well.
static void ask_to_stop(struct work_net *n, struct work_task *t, int patience_ms)
{
    atomic_store(&t->stop, 1);
    if (patience_ms)
        t->patience_ms = patience_ms;
    if (t == n->current)
        atomic_store(&n->options.pulse->patience_ms, t->patience_ms);
}

double work_net_hang_seconds(struct work_net *n)
{
    uv_mutex_lock(&n->lock);
    double seconds = n->hang_ms / 1e3;
    uv_mutex_unlock(&n->lock);
    return seconds;
}

static void say_leaving(struct work_net *n)
{
    Islr__Leaving leaving = ISLR__LEAVING__INIT;
    Islr__Envelope m = ENVELOPE(LEAVING, leaving, &leaving);
    struct peer *p = work_net_peer(n);
    if (p)
        peer_send(p, &m, NULL);
}

void work_net_end(struct work_net *n, const struct error *why)
{
    say_leaving(n);
    uv_mutex_lock(&n->lock);
    if (!n->ended && why)
        n->why = *why;
    n->ended = 1;
    if (n->current)
        ask_to_stop(n, n->current, 0);
    uv_cond_broadcast(&n->changed);
    uv_mutex_unlock(&n->lock);
}

// ---- assignments ----------------------------------------------------------------------------------------------------

static struct work_task *read_assign(struct work_net *n, Islr__Assign *a, struct error *e)
{
    int mine = 0;
    for (size_t i = 0; i < a->n_gang; i++)
        mine |= a->gang[i] == n->options.facts->rank;
    if (!mine || !a->run || !a->attempt || !a->job || a->next_seq != 1) {
        error_set(e, ERR_INVALID, "an assignment that makes no sense: run %llu, attempt %u, %zu ranks",
                  (unsigned long long)a->run, a->attempt, a->n_gang);
        return NULL;
    }
    if (a->resume_sha256.len && a->resume_sha256.len != sizeof((struct hash *)0)->bytes) {
        error_set(e, ERR_INVALID, "the resume point's hash is no SHA-256");
        return NULL;
    }
    struct faults faults = {0};
    if (spec_check_wire(a->job, &faults)) {
        faults_to_error(&faults, e);
        faults_free(&faults);
        return NULL;
    }
    if (a->n_folds && (spec_fold(a->job) != SPEC_FOLD_ALL || a->n_folds != a->job->data->k)) {
        error_set(e, ERR_INVALID, "an assignment that makes no sense: %zu folds to join of run %llu", a->n_folds,
                  (unsigned long long)a->run);
        return NULL;
    }
    struct work_task *t = xcalloc(1, sizeof *t);
    t->run = a->run;
    t->attempt = a->attempt;
    t->job = spec_copy(a->job);
    t->gang = xcalloc(a->n_gang, sizeof *t->gang);
    t->gang_count = (int)a->n_gang;
    for (size_t i = 0; i < a->n_gang; i++)
        t->gang[i] = (int)a->gang[i];
    t->fold_count = a->n_folds;
    t->folds = xcalloc(a->n_folds + 1, sizeof *t->folds);
    if (a->n_folds)
        memcpy(t->folds, a->folds, a->n_folds * sizeof *t->folds);
    t->has_resume = a->resume_sha256.len > 0;
    if (t->has_resume)
        memcpy(t->resume_hash.bytes, a->resume_sha256.data, sizeof t->resume_hash.bytes);
    t->resume_size = a->resume_size;
    snprintf(t->server_id, sizeof t->server_id, "%s", n->server_id);
    return t;
}

static int is_task(const struct work_task *t, uint64_t run, uint32_t attempt)
{
    return t && t->run == run && t->attempt == attempt;
}

// 0: it is (or was) taken; one may wait while the main thread still winds down its former run.
static int take_assign(struct work_net *n, Islr__Assign *a, struct error *e)
{
    struct work_task *t = NULL;
    uv_mutex_lock(&n->lock);
    int known = is_task(n->current, a->run, a->attempt) || is_task(n->queued, a->run, a->attempt);
    int full = n->queued != NULL, ended = n->ended;
    uv_mutex_unlock(&n->lock);
    if (known)
        return 0; // the server did not get the first Ok
    if (ended)
        return error_set(e, ERR_FAILED, "this rank is about to end");
    if (full)
        return error_set(e, ERR_FAILED, "this rank has an assignment that waits already");
    t = read_assign(n, a, e);
    if (!t)
        return -1;
    n->claim_run = t->run;
    n->claim_attempt = t->attempt;
    uv_mutex_lock(&n->lock);
    n->queued = t;
    uv_cond_broadcast(&n->changed);
    uv_mutex_unlock(&n->lock);
    return 0;
}

static void on_assign(struct work_net *n, struct peer *p, Islr__Envelope *m)
{
    struct error e;
    if (take_assign(n, m->assign, &e)) {
        log_warn(n->options.log, "refused run %llu: %s", (unsigned long long)m->assign->run, e.text);
        peer_reply_fault(p, m->id, &e);
    } else {
        peer_reply_ok(p, m->id);
    }
}

// It has begun on all ranks or will: they agree on stopping at a step boundary, so a waiting task is not dropped here.
static void stop_task(struct work_net *n, uint64_t run, uint32_t attempt, int patience_ms)
{
    uv_mutex_lock(&n->lock);
    if (is_task(n->current, run, attempt))
        ask_to_stop(n, n->current, patience_ms);
    if (is_task(n->queued, run, attempt))
        ask_to_stop(n, n->queued, patience_ms);
    uv_mutex_unlock(&n->lock);
}

static void on_stop(struct work_net *n, const Islr__Stop *stop)
{
    static const char *const whys[] = {"cancelled", "makes room for another", "the server drains", "abandoned"};
    log_info(n->options.log, "run %llu is to stop: %s", (unsigned long long)stop->run,
             (unsigned)stop->why < 4 ? whys[stop->why] : "?");
    stop_task(n, stop->run, stop->attempt, stop->gone ? GONE_MS : 0);
    if (stop->why == ISLR__STOP__WHY__WHY_ABANDON)
        work_delivery_abandon(n, stop->run, stop->attempt);
}

// ---- the connection -------------------------------------------------------------------------------------------------

static void on_registered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct work_net *n = context;
    struct error e;
    if (!m && link_is_break(why)) {
        peer_close(p, why);
    } else if (!m) {
        work_net_end(n, why);
    } else if (m->body_case != ISLR__ENVELOPE__BODY_REGISTERED) {
        error_set(&e, ERR_DAMAGED, "the server answered register with %s", envelope_name(m));
        work_net_end(n, &e);
    } else {
        const Islr__Registered *r = m->registered;
        log_info(n->options.log, "registered as worker %llu", (unsigned long long)r->worker);
        n->registered = 1;
        uv_timer_stop(&n->alone);
        uv_mutex_lock(&n->lock);
        n->connected = 1;
        n->hang_ms = r->hang_ms;
        int ended = n->ended;
        uv_mutex_unlock(&n->lock);
        if (ended)
            say_leaving(n);
        link_proved(n->link);
        if (r->lease_ms)
            peer_set_keepalive(p, r->lease_ms / 3, r->lease_ms);
        if (r->abandon && n->claim_run) {
            stop_task(n, n->claim_run, n->claim_attempt, GONE_MS); // the others have been told for some time
            work_delivery_abandon(n, n->claim_run, n->claim_attempt);
        }
        work_delivery_up(n, r->acked_seq);
    }
}

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct work_net *n = link_context(l);
    snprintf(n->server_id, sizeof n->server_id, "%s", welcome->server_id ? welcome->server_id : "");
    Islr__Register facts = *n->options.facts;
    facts.has_run = facts.has_attempt = 1;
    facts.run = n->claim_run;
    facts.attempt = n->claim_attempt;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &facts);
    peer_request(p, &m, RPC_CALL_MS, on_registered, n, NULL); // a failure closes the peer
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    struct work_net *n = link_context(l);
    struct error e;
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_ASSIGN:
        on_assign(n, link_peer(l), m);
        break;
    case ISLR__ENVELOPE__BODY_STOP:
        on_stop(n, m->stop);
        break;
    case ISLR__ENVELOPE__BODY_RECORDS_ACK:
        link_proved(l);
        work_delivery_acked(n, m->records_ack);
        break;
    default:
        error_set(&e, ERR_INVALID, "a worker takes no message of the kind %s", envelope_name(m));
        if (m->id)
            peer_reply_fault(link_peer(l), m->id, &e);
    }
}

static void on_drained(struct link *l)
{
    work_delivery_records(link_context(l));
}

// Nobody has heard of the run for so long that others may have it by now.
static void alone_for_long(uv_timer_t *timer)
{
    struct work_net *n = timer->data;
    char time[32];
    uv_mutex_lock(&n->lock);
    if (n->current) {
        log_warn(n->options.log, "run %llu: the server has been away for %s: the run is saved and ends here",
                 (unsigned long long)n->current->run, clock_format((double)n->options.alone_ms / 1e3, time));
        ask_to_stop(n, n->current, 0);
    }
    uv_mutex_unlock(&n->lock);
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct work_net *n = link_context(l);
    int was = n->registered;
    n->registered = 0;
    uv_mutex_lock(&n->lock);
    n->connected = 0;
    uv_mutex_unlock(&n->lock);
    if (was && n->options.alone_ms)
        uv_timer_start(&n->alone, alone_for_long, n->options.alone_ms, 0);
    if (again_ms < 0) {
        work_net_end(n, why);
        return;
    }
    if (was || again_ms < 2 * RPC_BACKOFF_FIRST_MS)
        log_warn(n->options.log, "no connection to the server: %s; trying again", why->text);
    // The requests under way have failed one by one; what is to be delivered waits for work_delivery_up().
}

// ---- mail -----------------------------------------------------------------------------------------------------------

static void take_mail(uv_async_t *async)
{
    struct work_net *n = async->data;
    uv_mutex_lock(&n->lock);
    struct work_mail *m = n->first;
    n->first = NULL;
    n->last = &n->first;
    uv_mutex_unlock(&n->lock);
    while (m) {
        struct work_mail *next = m->next;
        m->deliver(n, m);
        m = next;
    }
}

void work_net_post(struct work_net *n, struct work_mail *m)
{
    m->next = NULL;
    uv_mutex_lock(&n->lock);
    *n->last = m;
    n->last = &m->next;
    uv_mutex_unlock(&n->lock);
    uv_async_send(&n->async);
}

struct work_done_mail {
    struct work_mail mail;
    uint64_t run;
    uint32_t attempt;
};

static void task_done(struct work_net *n, struct work_mail *mail)
{
    struct work_done_mail *d = (struct work_done_mail *)mail;
    // The first rank stays in it until the server knows how it ended.
    if (!n->delivery && n->claim_run == d->run && n->claim_attempt == d->attempt)
        n->claim_run = n->claim_attempt = 0;
    free(d);
}

// ---- the main thread's ----------------------------------------------------------------------------------------------

struct work_task *work_net_next(struct work_net *n, struct error *why)
{
    uv_mutex_lock(&n->lock);
    while (!n->queued && !n->ended)
        uv_cond_wait(&n->changed, &n->lock);
    struct work_task *t = n->ended ? NULL : n->queued;
    if (t) {
        n->current = t;
        n->queued = NULL;
        atomic_store(&n->options.pulse->patience_ms, t->patience_ms);
    } else {
        *why = n->why;
    }
    uv_mutex_unlock(&n->lock);
    return t;
}

void work_net_done(struct work_net *n, struct work_task *t)
{
    struct work_done_mail *d = xcalloc(1, sizeof *d);
    d->mail.deliver = task_done;
    d->run = t->run;
    d->attempt = t->attempt;
    uv_mutex_lock(&n->lock);
    n->current = NULL;
    atomic_store(&n->options.pulse->patience_ms, 0);
    uv_mutex_unlock(&n->lock);
    work_task_free(t);
    work_net_post(n, &d->mail);
}

// ---- the thread -----------------------------------------------------------------------------------------------------

static void signalled(uv_signal_t *signal, int number)
{
    struct work_net *n = signal->data;
    log_info(n->options.log, "%s: this rank ends",
             number == SIGTERM   ? "terminated"
             : number == SIGUSR1 ? "asked to save and to end (SIGUSR1)"
                                 : "interrupted");
    work_net_end(n, NULL);
}

static void thread_main(void *context)
{
    struct work_net *n = context;
    if (n->options.catch_signals)
        signals_take();
    uv_run(&n->loop, UV_RUN_DEFAULT);
}

static void start_signals(struct work_net *n)
{
    static const int numbers[WORK_SIGNALS] = {SIGTERM, SIGINT, SIGUSR1};
    for (int i = 0; i < WORK_SIGNALS; i++) {
        uv_signal_init(&n->loop, &n->signals[i]);
        n->signals[i].data = n;
        if (n->options.catch_signals)
            uv_signal_start(&n->signals[i], signalled, numbers[i]);
    }
}

struct work_net *work_net_start(const struct work_net_options *options, struct error *e)
{
    static const struct link_events events = {on_up, on_message, on_drained, on_down, NULL};
    struct work_net *n = xcalloc(1, sizeof *n);
    n->options = *options;
    n->last = &n->first;
    int rc = uv_loop_init(&n->loop);
    if (rc) {
        free(n);
        error_set(e, ERR_FAILED, "cannot make an event loop: %s", uv_strerror(rc));
        return NULL;
    }
    uv_mutex_init(&n->lock);
    uv_cond_init(&n->changed);
    uv_async_init(&n->loop, &n->async, take_mail);
    n->async.data = n;
    uv_timer_init(&n->loop, &n->alone);
    n->alone.data = n;
    start_signals(n);
    struct link_options link = {
        .address = options->address, .role = ISLR__HELLO__ROLE__ROLE_WORKER, .token = options->token, .reconnect = 1};
    n->link = link_open(&n->loop, &link, &events, n);
    rc = uv_thread_create(&n->thread, thread_main, n);
    if (rc) {
        error_set(e, ERR_FAILED, "cannot start a thread: %s", uv_strerror(rc));
        n->thread = 0;
        work_net_stop(n);
        return NULL;
    }
    return n;
}

static void close_all(struct work_net *n, struct work_mail *mail)
{
    n->closing = 1;
    free(mail);
    n->registered = 0;
    work_delivery_close(n);
    link_close(n->link);
    for (int i = 0; i < WORK_SIGNALS; i++)
        uv_close((uv_handle_t *)&n->signals[i], NULL);
    uv_close((uv_handle_t *)&n->alone, NULL);
    uv_close((uv_handle_t *)&n->async, NULL);
}

void work_net_stop(struct work_net *n)
{
    struct work_mail *m = xcalloc(1, sizeof *m);
    m->deliver = close_all;
    if (n->thread) {
        work_net_post(n, m);
        uv_thread_join(&n->thread);
    } else {
        close_all(n, m);
        uv_run(&n->loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&n->loop);
    uv_cond_destroy(&n->changed);
    uv_mutex_destroy(&n->lock);
    work_task_free(n->queued);
    free(n);
}
