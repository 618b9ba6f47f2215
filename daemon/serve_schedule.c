// The scheduler's surroundings: see serve_schedule.h and serve_scheduler.h.
#include "daemon/serve_schedule.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_server.h"

enum {
    LONG_QUEUE = 1000,  // runs from which on deciding costs milliseconds:
    LONG_QUEUE_MS = 20, // then not more often than this
    HOSTS_MAX = 4096
};

// The ranks that may be given work, with the workers behind them.
struct offer {
    struct scheduler_rank *ranks;
    struct worker **workers;
    size_t count, capacity, free;
    const char *hosts[HOSTS_MAX]; // named so far
    uint32_t host_count;
};

static uint32_t host_number(struct offer *o, const char *host)
{
    for (uint32_t i = 0; i < o->host_count; i++)
        if (!strcmp(o->hosts[i], host))
            return i;
    if (o->host_count == HOSTS_MAX)
        return HOSTS_MAX - 1; // only packing suffers
    o->hosts[o->host_count] = host;
    return o->host_count++;
}

static void add_rank(struct offer *o, struct worker *w)
{
    if (o->count == o->capacity) {
        o->capacity = o->capacity ? 2 * o->capacity : 16;
        o->ranks = xrealloc(o->ranks, o->capacity, sizeof *o->ranks);
        o->workers = xrealloc(o->workers, o->capacity, sizeof *o->workers);
    }
    o->workers[o->count] = w;
    o->ranks[o->count++] =
        (struct scheduler_rank){.world = w->world->number,
                                .host = host_number(o, w->facts->host),
                                .device = strcmp(w->facts->device, "cuda") ? SCHEDULER_CPU : SCHEDULER_CUDA,
                                .free = !w->run};
    o->free += !w->run;
}

static struct offer *make_offer(struct server *s)
{
    struct offer *o = xcalloc(1, sizeof *o);
    for (struct world *w = s->workers.first; w; w = w->next)
        for (uint32_t i = 0; world_complete(w) && i < w->size; i++)
            add_rank(o, w->ranks[i]);
    return o;
}

// ---- the queue ------------------------------------------------------------------------------------------------------

// Whether a run could be started now if there were ranks.
static int is_ready(const struct server *s, const struct run *r)
{
    return r->now.state == ISLR__RUN_STATE__RUN_QUEUED && !r->busy && !r->after_count && r->ready_at <= uv_now(s->loop);
}

// What the scheduler has said.
static char *explain_answer(const struct server *s, const struct run *r, struct pool *pool)
{
    const struct scheduler_answer *a = &r->turned_away;
    char text[160];
    if (!s->schedule.ranks || (r->considered && !a->possible))
        snprintf(text, sizeof text, "no workers%s are there",
                 r->wants.device == SCHEDULER_CUDA && s->schedule.ranks ? " with GPUs" : "");
    else if (!r->considered)
        snprintf(text, sizeof text, "no rank is free");
    else if (a->needs > a->possible)
        snprintf(text, sizeof text, "needs %u ranks of one world, the largest has %u", a->needs, a->possible);
    else if (a->behind)
        snprintf(text, sizeof text, "run %llu is before it", (unsigned long long)a->behind);
    else
        snprintf(text, sizeof text, "needs %u free ranks, there are %u", a->needs, s->schedule.free ? a->free : 0);
    return pool_text(pool, text);
}

char *schedule_explain(const struct server *s, const struct run *r, struct pool *pool)
{
    char text[800];
    if (r->after_count)
        snprintf(text, sizeof text, "waits for run %llu", (unsigned long long)r->after[0]);
    else if (s->draining)
        snprintf(text, sizeof text, "scheduling is paused (islrctl resume-scheduling)");
    else if (r->ready_at > uv_now(s->loop))
        snprintf(text, sizeof text, "%s; tried again soon", r->now.reason);
    else
        return explain_answer(s, r, pool);
    return pool_text(pool, text);
}

static void start(struct server *s, struct run *r, const struct offer *o, const struct scheduler_answer *a)
{
    struct worker **gang = xmalloc(a->count * sizeof *gang);
    for (size_t i = 0; i < a->count; i++)
        gang[i] = o->workers[a->ranks[i]];
    attempt_begin(s, r, gang, a->count);
    free(gang);
}

static void decide(struct server *s, const struct offer *o)
{
    struct run **ready = xmalloc((s->runs.count ? s->runs.count : 1) * sizeof *ready);
    struct scheduler_run *wants = xmalloc((s->runs.count ? s->runs.count : 1) * sizeof *wants);
    size_t count = 0;
    for (size_t i = 0; i < s->runs.count; i++) {
        struct run *r = s->runs.items[i];
        if (!is_ready(s, r))
            continue;
        ready[count] = r;
        wants[count++] = r->wants;
    }
    struct scheduler_input input = {o->ranks, o->count, wants, count};
    struct scheduler_answer *answers = scheduler_decide(&input);
    for (size_t i = 0; i < count; i++) {
        if (answers[i].count)
            start(s, ready[i], o, &answers[i]);
        else
            ready[i]->turned_away = (struct scheduler_answer){.needs = answers[i].needs,
                                                              .free = answers[i].free,
                                                              .possible = answers[i].possible,
                                                              .behind = answers[i].behind};
        ready[i]->considered = 1;
    }
    scheduler_free(answers, count);
    free(wants);
    free(ready);
}

static void run_pass(uv_timer_t *timer)
{
    struct server *s = timer->data;
    if (s->stopping || s->quiet)
        return;
    struct offer *o = make_offer(s);
    s->schedule.ranks = o->count;
    s->schedule.free = o->free;
    if (o->free && !s->draining) // with a long queue and nothing to give, there is nothing to decide
        decide(s, o);
    free(o->ranks);
    free(o->workers);
    free(o);
}

void schedule_open(struct server *s)
{
    uv_timer_init(s->loop, &s->schedule.timer);
    s->schedule.timer.data = s;
}

void schedule_soon(struct server *s)
{
    if (s->stopping || uv_is_active((uv_handle_t *)&s->schedule.timer))
        return;
    uv_timer_start(&s->schedule.timer, run_pass, s->runs.count < LONG_QUEUE ? 0 : LONG_QUEUE_MS, 0);
}

void schedule_close(struct server *s, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&s->schedule.timer, closed);
}
