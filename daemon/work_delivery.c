// What the first rank has to say, delivered exactly once: see work_delivery.h. This file is its life and its order of
// things; work_records.c and work_files.c send.
#include "daemon/work_delivery_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"

static const double ABSENCE_SECONDS = 3; // who is about to end does not wait longer for a server that is away

// ---- the end --------------------------------------------------------------------------------------------------------

struct farewell {
    uv_work_t work;
    struct work_net *net;
    char *directory; // may be NULL
    int remove;
    struct file_lock lock;
};

static void remove_directory(uv_work_t *work)
{
    struct farewell *f = work->data;
    struct error e;
    if (f->remove && f->directory && file_remove_tree(f->directory, &e))
        log_warn(f->net->options.log, "%s", e.text);
}

static void removed(uv_work_t *work, int status)
{
    struct farewell *f = work->data;
    (void)status;
    file_lock_release(&f->lock);
    free(f->directory);
    free(f);
}

static void free_delivery(uv_handle_t *timer)
{
    free(timer->data);
}

static void let_go(struct work_net *n, int remove)
{
    struct work_delivery *d = n->delivery;
    struct farewell *f = xcalloc(1, sizeof *f);
    f->work.data = f;
    f->net = n;
    f->lock = d->end.lock;
    f->directory = d->end.directory;
    f->remove = remove;
    if (d->telling_end && link_peer(n->link))
        peer_forget(link_peer(n->link), d->telling_end);
    work_files_clear(d);
    spool_destroy(d->spool);
    free(d->end.reason);
    n->delivery = NULL;
    if (n->claim_run == d->run && n->claim_attempt == d->attempt)
        n->claim_run = n->claim_attempt = 0;
    uv_close((uv_handle_t *)&d->timer, free_delivery);
    uv_queue_work(&n->loop, &f->work, remove_directory, removed);
    uv_mutex_lock(&n->lock);
    n->delivering = 0;
    uv_cond_broadcast(&n->changed);
    uv_mutex_unlock(&n->lock);
}

static void on_finished(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct work_net *n = context;
    struct work_delivery *d = n->delivery;
    (void)p;
    d->telling_end = 0;
    if (m) {
        log_info(n->options.log, "run %llu, attempt %u: everything is delivered", (unsigned long long)d->run,
                 d->attempt);
        let_go(n, d->end.outcome == WORK_SUCCEEDED);
    } else if (why->code == ERR_NOT_FOUND || why->code == ERR_INVALID || why->code == ERR_DENIED) {
        log_warn(n->options.log, "the server does not take the end of run %llu: %s", (unsigned long long)d->run,
                 why->text);
        let_go(n, 0);
    } else {
        work_delivery_later(d, d->net->options.retry_ms);
    }
}

// A run whose files are not all at the server has not succeeded, whatever its ranks say.
static void count_missing(struct work_delivery *d)
{
    if (d->missing.code == ERR_NONE || d->end.outcome != WORK_SUCCEEDED)
        return;
    d->end.outcome = WORK_FAILED;
    d->end.retryable = !error_is_lasting(&d->missing);
    free(d->end.reason);
    d->end.reason = xstrdup(d->missing.text);
}

static void tell_end(struct work_net *n)
{
    struct work_delivery *d = n->delivery;
    struct peer *p = work_net_peer(n);
    if (!p || d->telling_end || d->waiting)
        return;
    count_missing(d);
    Islr__Finished finished = ISLR__FINISHED__INIT;
    Islr__Envelope m = ENVELOPE(FINISHED, finished, &finished);
    finished.has_run = finished.has_attempt = finished.has_outcome = finished.has_retryable = finished.has_last_seq = 1;
    finished.run = d->run;
    finished.attempt = d->attempt;
    finished.outcome = d->end.outcome == WORK_SUCCEEDED ? ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED
                       : d->end.outcome == WORK_STOPPED ? ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED
                                                        : ISLR__FINISHED__OUTCOME__OUTCOME_FAILED;
    finished.reason = d->end.reason;
    finished.retryable = d->end.retryable;
    finished.last_seq = d->acked.seq - 1;
    d->telling_end = peer_request(p, &m, RPC_DURABLE_MS, on_finished, n, NULL);
}

// ---- the order of things --------------------------------------------------------------------------------------------

void work_delivery_pump(struct work_net *n)
{
    struct work_delivery *d = n->delivery;
    if (!d)
        return;
    if (d->abandoned) {
        if (d->hashing)
            return; // it ends with a pump
        work_files_clear(d);
        if (d->finished || n->closing)
            let_go(n, 0);
        return;
    }
    work_records_pump(n);
    work_files_pump(n);
    if (d->finished && !d->files && d->acked.seq > work_records_total(d))
        tell_end(n);
}

static void again(uv_timer_t *timer)
{
    struct work_delivery *d = timer->data;
    d->waiting = 0;
    work_delivery_pump(d->net);
}

void work_delivery_later(struct work_delivery *d, unsigned ms)
{
    d->waiting = 1;
    uv_timer_start(&d->timer, again, ms, 0);
}

void work_delivery_up(struct work_net *n, uint64_t acked_seq)
{
    struct work_delivery *d = n->delivery;
    if (!d || d->abandoned)
        return;
    if (n->claim_run == d->run && n->claim_attempt == d->attempt) // else the number is of another attempt
        work_records_acked(n, acked_seq);
    d->sent = d->acked; // what was on the way is lost
    work_delivery_pump(n);
}

void work_delivery_acked(struct work_net *n, const Islr__RecordsAck *ack)
{
    struct work_delivery *d = n->delivery;
    if (!d || d->run != ack->run || d->attempt != ack->attempt || d->abandoned)
        return;
    work_records_acked(n, ack->seq);
    work_delivery_pump(n);
}

void work_delivery_abandon(struct work_net *n, uint64_t run, uint32_t attempt)
{
    struct work_delivery *d = n->delivery;
    if (!d || d->run != run || d->attempt != attempt)
        return;
    d->abandoned = 1;
    work_delivery_pump(n);
}

void work_delivery_close(struct work_net *n)
{
    if (!n->delivery)
        return;
    n->delivery->abandoned = 1;
    work_delivery_pump(n);
}

// ---- what the main thread says --------------------------------------------------------------------------------------

struct begin_mail {
    struct work_mail mail;
    uint64_t run;
    uint32_t attempt;
};

static void begin(struct work_net *n, struct work_mail *mail)
{
    struct begin_mail *b = (struct begin_mail *)mail;
    struct work_delivery *d = xcalloc(1, sizeof *d);
    d->net = n;
    d->run = b->run;
    d->attempt = b->attempt;
    d->acked = d->sent = (struct spool_cursor){1, 0};
    d->last_file = &d->files;
    uv_timer_init(&n->loop, &d->timer);
    d->timer.data = d;
    n->delivery = d;
    free(b);
}

void work_delivery_begin(struct work_net *n, uint64_t run, uint32_t attempt)
{
    struct begin_mail *b = xmalloc(sizeof *b);
    *b = (struct begin_mail){{NULL, begin}, run, attempt};
    uv_mutex_lock(&n->lock);
    while (n->delivering) // an abandoned attempt that is being cleared away
        uv_cond_wait(&n->changed, &n->lock);
    n->delivering = 1;
    uv_mutex_unlock(&n->lock);
    work_net_post(n, &b->mail);
}

struct spool_mail {
    struct work_mail mail;
    struct spool *spool;
};

static void take_spool(struct work_net *n, struct work_mail *mail)
{
    n->delivery->spool = ((struct spool_mail *)mail)->spool;
    free(mail);
}

void work_delivery_spool(struct work_net *n, struct spool *spool)
{
    struct spool_mail *m = xmalloc(sizeof *m);
    *m = (struct spool_mail){{NULL, take_spool}, spool};
    work_net_post(n, &m->mail);
}

static void pump(struct work_net *n, struct work_mail *mail)
{
    free(mail);
    work_delivery_pump(n);
}

void work_delivery_records(struct work_net *n)
{
    struct work_mail *m = xcalloc(1, sizeof *m);
    m->deliver = pump;
    work_net_post(n, m);
}

struct finish_mail {
    struct work_mail mail;
    struct work_end end;
};

static void finish(struct work_net *n, struct work_mail *mail)
{
    struct finish_mail *f = (struct finish_mail *)mail;
    n->delivery->finished = 1;
    n->delivery->end = f->end;
    free(f);
    work_delivery_pump(n);
}

void work_delivery_finish(struct work_net *n, const struct work_end *end)
{
    struct finish_mail *f = xcalloc(1, sizeof *f);
    f->mail.deliver = finish;
    f->end = *end;
    f->end.reason = xstrdup(end->reason);
    envelope_clean_text(f->end.reason);
    work_net_post(n, &f->mail);
}

int work_delivery_wait(struct work_net *n, double seconds)
{
    double now = clock_seconds(), until = now + seconds, connected = now;
    uv_mutex_lock(&n->lock);
    while (n->delivering && now < until && now - connected < ABSENCE_SECONDS) {
        uv_cond_timedwait(&n->changed, &n->lock, 100000000);
        now = clock_seconds();
        if (n->connected)
            connected = now;
    }
    int left = n->delivering;
    uv_mutex_unlock(&n->lock);
    return left ? -1 : 0;
}
