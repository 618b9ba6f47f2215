// Follows one run: see follower.h. The runs of a group are asked for on the same connection, each with a request of its own;
// which have begun is looked up whenever the group says something, since it does so when one of them begins or ends; one that
// had ended and was retried is followed on from where it stopped.
#include "client/follower.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/run.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"

enum {
    TICK_MS = 100,
    AT_ONCE = 200 // runs that are followed at a time; the server has a limit for a connection
};

// A run: the first one is what was asked for, the others belong to it.
struct followed {
    struct follower *follower;
    uint64_t run, last_seq;
    uint32_t attempt; // that it has told of
    bool asked, ended;
};

// What is asked of the group's runs: whether there are any, those that have begun (again) or ended since the last look,
// all that have begun.
enum look { LOOK_NONE, LOOK_ANY, LOOK_CHANGED, LOOK_ALL };

struct follower {
    uv_loop_t loop;
    const struct follower_options *options;
    const struct follower_events *events;
    struct follow_result *result;
    struct link *link;
    struct peer *peer;      // NULL: there is no connection
    struct followed **runs; // [count]: what was asked for, then the others by their numbers
    size_t count, capacity;
    size_t asked;              // those that have been and have not ended
    bool group_known, group;   // whether it is one
    enum look looking, wanted; // under way, and to come
    int64_t looked_until;      // when the last one ended that a look has told of, by the server's clock
    bool looks_last;           // it was asked for behind the end of the group
    bool looked_last;
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

static void lost(struct peer *p, struct follower *f, const struct error *why)
{
    if (link_is_break(why))
        peer_close(p, why); // the link comes back and asks again
    else
        stop(f, why);
}

// ---- the runs -------------------------------------------------------------------------------------------------------

// Where among the others this one is or would be.
static size_t place_of(const struct follower *f, uint64_t run)
{
    size_t low = 1, high = f->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->runs[middle]->run < run)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct followed *new_followed(struct follower *f, uint64_t run, uint64_t after_seq)
{
    struct followed *x = xcalloc(1, sizeof *x);
    x->follower = f;
    x->run = run;
    x->last_seq = after_seq;
    return x;
}

// One that has ended may have been retried: then it is asked for what it has said since. Behind the group's end only what
// it has done by then is wanted.
static void take_up_again(const struct follower *f, struct followed *x, const Islr__RunSummary *now)
{
    bool over = run_state_ended(now->state), newer = now->attempt > x->attempt;
    if (!x->ended || !f->options->keep || (f->looks_last ? !over || !newer : over && !newer))
        return;
    x->attempt = now->attempt;
    x->asked = x->ended = false;
}

static void note_run(struct follower *f, const Islr__RunSummary *r)
{
    size_t at = place_of(f, r->run);
    if (r->ended_ms > f->looked_until)
        f->looked_until = r->ended_ms;
    if (at < f->count && f->runs[at]->run == r->run) {
        take_up_again(f, f->runs[at], r);
        return;
    }
    if (f->count == f->capacity) {
        f->capacity *= 2;
        f->runs = xrealloc(f->runs, f->capacity, sizeof *f->runs);
    }
    memmove(f->runs + at + 1, f->runs + at, (f->count - at) * sizeof *f->runs);
    f->runs[at] = new_followed(f, r->run, 0);
    f->count++;
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why);

static void ask(struct follower *f, struct followed *x)
{
    Islr__Follow follow = ISLR__FOLLOW__INIT;
    follow.has_run = follow.has_after_seq = follow.has_logs = follow.has_metrics = follow.has_keep = 1;
    follow.has_progress = 1;
    follow.run = x->run;
    follow.after_seq = x->last_seq;
    follow.logs = f->options->logs;
    follow.metrics = f->options->metrics;
    follow.keep = f->options->keep;
    follow.progress = f->options->progress && x == f->runs[0];
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &follow);
    x->asked = true;
    f->asked++;
    peer_request(f->peer, &m, 0, answered, x, NULL); // a failure closes the peer: the link comes back
}

// Asks for those that have not been asked for. What is there already comes one run after the other.
static void ask_more(struct follower *f)
{
    size_t most = f->options->keep ? AT_ONCE : 1;
    for (size_t i = 0; i < f->count && f->peer && !f->done && f->asked < most; i++)
        if (!f->runs[i]->asked && !f->runs[i]->ended)
            ask(f, f->runs[i]);
}

static void stop_at_the_end(struct follower *f)
{
    if (f->options->members && (!f->group_known || (f->group && !f->looked_last)))
        return;
    for (size_t i = 0; i < f->count; i++)
        if (!f->runs[i]->ended)
            return;
    stop(f, NULL);
}

// ---- which have begun -----------------------------------------------------------------------------------------------

static void listed(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why);

static void look(struct follower *f, enum look what)
{
    if (f->looking || !f->peer) { // with a new connection all are looked at
        f->wanted = what > f->wanted ? what : f->wanted;
        return;
    }
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    char changed[80];
    list.has_parent = list.has_limit = 1;
    list.parent = f->runs[0]->run;
    list.limit = what == LOOK_ANY ? 1 : UINT32_MAX;
    snprintf(changed, sizeof changed, "started_ms>0 and (ended_ms=0 or ended_ms>=%lld)", (long long)f->looked_until);
    list.where = what == LOOK_ANY ? NULL : what == LOOK_CHANGED ? changed : (char *)"started_ms>0";
    f->looking = what;
    f->looks_last = what == LOOK_ALL && f->runs[0]->ended;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    peer_request(f->peer, &m, RPC_CALL_MS, listed, f, NULL);
}

static void look_again(struct follower *f)
{
    enum look next = f->wanted;
    if (f->looking == LOOK_ANY && f->group)
        next = LOOK_ALL;
    f->looked_last |= f->looks_last;
    f->looking = f->wanted = LOOK_NONE;
    if (f->group && next)
        look(f, next);
}

static void listed(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct follower *f = context;
    if (f->done)
        return;
    if (!m) {
        lost(p, f, why);
        return;
    }
    const Islr__RunList *list = m->run_list;
    if (f->looking == LOOK_ANY) {
        f->group_known = true;
        f->group = list->n_runs > 0;
    }
    for (size_t i = 0; i < list->n_runs && f->looking != LOOK_ANY; i++)
        note_run(f, list->runs[i]);
    if (list->more)
        return;
    look_again(f);
    ask_more(f);
    stop_at_the_end(f);
}

// ---- what the server sends ------------------------------------------------------------------------------------------

static void take_records(struct followed *x, const Islr__Records *r)
{
    struct follower *f = x->follower;
    bool first = x == f->runs[0];
    for (size_t i = 0; i < r->n_records && !f->done; i++) {
        const Islr__Record *record = r->records[i];
        if (record->seq <= x->last_seq)
            continue; // sent twice: on both sides of a break
        x->last_seq = record->seq;
        x->attempt = record->attempt > x->attempt ? record->attempt : x->attempt;
        if (first)
            f->result->last_seq = record->seq;
        link_proved(f->link);
        if (f->events->on_record && f->events->on_record(f->events->context, first ? 0 : x->run, record))
            stop(f, NULL);
    }
    if (f->events->on_batch)
        f->events->on_batch(f->events->context);
    if (first && f->group)
        look(f, LOOK_CHANGED);
}

static void take_end(struct followed *x, const Islr__FollowEnd *end)
{
    struct follower *f = x->follower;
    x->ended = true;
    f->asked--;
    if (x == f->runs[0]) {
        f->result->state = end->state;
        snprintf(f->result->reason, sizeof f->result->reason, "%s", end->reason ? end->reason : "");
        if (f->group)
            look(f, LOOK_ALL);
    }
    ask_more(f);
    stop_at_the_end(f);
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct followed *x = context;
    struct follower *f = x->follower;
    if (f->done)
        return;
    if (!m)
        lost(p, f, why);
    else if (m->body_case == ISLR__ENVELOPE__BODY_RECORDS)
        take_records(x, m->records);
    else if (m->body_case == ISLR__ENVELOPE__BODY_FOLLOW_END)
        take_end(x, m->follow_end);
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
    f->peer = p;
    f->asked = 0;
    f->looking = f->wanted = LOOK_NONE;
    for (size_t i = 0; i < f->count; i++)
        f->runs[i]->asked = false;
    ask_more(f);
    if (f->options->members && (!f->group_known || f->group))
        look(f, f->group_known ? LOOK_ALL : LOOK_ANY);
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m; // nothing is pushed to a client but replies
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct follower *f = link_context(l);
    f->peer = NULL;
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

static void free_runs(struct follower *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->runs[i]);
    free(f->runs);
}

int follower_run(const struct server *s, const struct follower_options *o, const struct follower_events *events,
                 struct follow_result *result, struct error *e)
{
    static const struct link_events link_events = {on_up, on_message, NULL, on_down, NULL};
    struct follower f = {.options = o, .events = events, .result = result};
    memset(result, 0, sizeof *result);
    result->last_seq = o->after_seq;
    f.capacity = 1;
    f.runs = xmalloc(sizeof *f.runs);
    f.runs[f.count++] = new_followed(&f, o->run, o->after_seq);
    int rc = uv_loop_init(&f.loop);
    if (rc) {
        free_runs(&f);
        return error_set(e, ERR_FAILED, "cannot make an event loop: %s", uv_strerror(rc));
    }
    start_handles(&f);
    struct link_options link = {
        .address = s->address, .role = ISLR__HELLO__ROLE__ROLE_CLIENT, .token = s->token, .reconnect = 1};
    f.link = link_open(&f.loop, &link, &link_events, &f);
    while (!f.done)
        uv_run(&f.loop, UV_RUN_ONCE);
    close_handles(&f);
    free_runs(&f);
    return f.why.code == ERR_NONE ? 0 : error_set(e, f.why.code, "%s", f.why.text);
}
