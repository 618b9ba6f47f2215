// Follows one run: see follower.h.
#include "client/follower.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { TICK_MS = 100 };

struct follower {
    uv_loop_t loop;
    const struct follower_options *options;
    const struct follower_events *events;
    struct follow_result *result;
    struct link *link;
    uv_signal_t interrupt, terminate;
    uv_timer_t tick, limit;
    bool was_up, away;
    bool done;
    struct error why; // ERR_NONE: the end is as it should be
};

static void stop(struct follower *f, const struct error *why)
{
    if (f->done)
        return;
    f->done = true;
    if (why)
        f->why = *why;
}

static void notice(struct follower *f, const char *text)
{
    if (f->events->on_notice)
        f->events->on_notice(f->events->context, text);
}

// ---- what the server sends ------------------------------------------------------------------------------------------

static void take_records(struct follower *f, const Islr__Records *r)
{
    for (size_t i = 0; i < r->n_records && !f->done; i++) {
        const Islr__Record *record = r->records[i];
        if (record->seq <= f->result->last_seq)
            continue; // sent twice: on both sides of a break
        f->result->last_seq = record->seq;
        link_proved(f->link);
        if (f->events->on_record && f->events->on_record(f->events->context, record))
            stop(f, NULL);
    }
    if (f->events->on_batch)
        f->events->on_batch(f->events->context);
}

static void take_end(struct follower *f, const Islr__FollowEnd *end)
{
    f->result->state = end->state;
    snprintf(f->result->reason, sizeof f->result->reason, "%s", end->reason ? end->reason : "");
    stop(f, NULL);
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct follower *f = context;
    if (f->done)
        return;
    if (!m && (why->code == ERR_UNREACHABLE || why->code == ERR_TIMEOUT))
        peer_close(p, why); // the link comes back and asks again
    else if (!m)
        stop(f, why);
    else if (m->body_case == ISLR__ENVELOPE__BODY_RECORDS)
        take_records(f, m->records);
    else if (m->body_case == ISLR__ENVELOPE__BODY_FOLLOW_END)
        take_end(f, m->follow_end);
    else if (m->body_case == ISLR__ENVELOPE__BODY_PROGRESS && f->events->on_progress)
        f->events->on_progress(f->events->context, m->progress);
}

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct follower *f = link_context(l);
    (void)welcome;
    if (f->away)
        notice(f, "the server is back");
    f->was_up = true;
    f->away = false;
    Islr__Follow follow = ISLR__FOLLOW__INIT;
    follow.has_run = follow.has_after_seq = follow.has_logs = follow.has_metrics = follow.has_keep = 1;
    follow.has_progress = 1;
    follow.run = f->options->run;
    follow.after_seq = f->result->last_seq;
    follow.logs = f->options->logs;
    follow.metrics = f->options->metrics;
    follow.keep = f->options->keep;
    follow.progress = f->options->progress;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &follow);
    peer_request(p, &m, 0, answered, f, NULL); // a failure closes the peer: the link comes back
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m; // nothing is pushed to a client but replies
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct follower *f = link_context(l);
    if (again_ms < 0 || (!f->was_up && !f->options->patient)) {
        stop(f, why);
    } else if (!f->away) {
        struct strbuf text = {0};
        strbuf_printf(&text, "the server is away (%s); trying again, ctrl-c stops", why->text);
        notice(f, text.text);
        free(text.text);
        f->away = true;
    }
}

// ---- signals and time -----------------------------------------------------------------------------------------------

static void interrupted(uv_signal_t *signal, int number)
{
    struct follower *f = signal->data;
    (void)number;
    f->result->detached = true;
    stop(f, NULL);
}

static void ticked(uv_timer_t *timer)
{
    struct follower *f = timer->data;
    f->events->on_tick(f->events->context);
}

static void timed_out(uv_timer_t *timer)
{
    struct follower *f = timer->data;
    struct error why;
    error_set(&why, ERR_TIMEOUT, "run %llu has not ended in time", (unsigned long long)f->options->run);
    stop(f, &why);
}

static void start_handles(struct follower *f)
{
    uv_signal_init(&f->loop, &f->interrupt);
    uv_signal_init(&f->loop, &f->terminate);
    uv_timer_init(&f->loop, &f->tick);
    uv_timer_init(&f->loop, &f->limit);
    f->interrupt.data = f->terminate.data = f->tick.data = f->limit.data = f;
    uv_signal_start(&f->interrupt, interrupted, SIGINT);
    uv_signal_start(&f->terminate, interrupted, SIGTERM);
    if (f->events->on_tick)
        uv_timer_start(&f->tick, ticked, TICK_MS, TICK_MS);
    if (f->options->seconds)
        uv_timer_start(&f->limit, timed_out, (uint64_t)f->options->seconds * 1000, 0);
}

static void close_handles(struct follower *f)
{
    link_close(f->link);
    uv_close((uv_handle_t *)&f->interrupt, NULL);
    uv_close((uv_handle_t *)&f->terminate, NULL);
    uv_close((uv_handle_t *)&f->tick, NULL);
    uv_close((uv_handle_t *)&f->limit, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_loop_close(&f->loop);
}

int follower_run(const struct server *s, const struct follower_options *o, const struct follower_events *events,
                 struct follow_result *result, struct error *e)
{
    static const struct link_events link_events = {on_up, on_message, NULL, on_down, NULL};
    struct follower f = {.options = o, .events = events, .result = result};
    memset(result, 0, sizeof *result);
    result->last_seq = o->after_seq;
    int rc = uv_loop_init(&f.loop);
    if (rc)
        return error_set(e, ERR_FAILED, "cannot make an event loop: %s", uv_strerror(rc));
    start_handles(&f);
    struct link_options link = {
        .address = s->address, .role = ISLR__HELLO__ROLE__ROLE_CLIENT, .token = s->token, .reconnect = 1};
    f.link = link_open(&f.loop, &link, &link_events, &f);
    while (!f.done)
        uv_run(&f.loop, UV_RUN_ONCE);
    close_handles(&f);
    return f.why.code == ERR_NONE ? 0 : error_set(e, f.why.code, "%s", f.why.text);
}
