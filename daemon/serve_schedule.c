// The scheduler's surroundings: see serve_schedule.h, serve_offer.h and serve_scheduler.h.
#include "daemon/serve_schedule.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/store/text.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_offer.h"
#include "daemon/serve_server.h"

enum { REST = 4 }; // a long queue costs milliseconds: a pass is followed by a rest of so many times its work

// ---- acting ---------------------------------------------------------------------------------------------------------

static void start(struct server *s, struct run *r, const struct offer *o, const struct scheduler_answer *a)
{
    struct worker **gang = xmalloc(a->count * sizeof *gang);
    for (size_t i = 0; i < a->count; i++)
        gang[i] = o->workers[a->ranks[i]];
    attempt_begin(s, r, gang, a->count);
    free(gang);
}

static void carry_out(struct server *s, const struct offer *o, const struct scheduler_plan *plan)
{
    for (size_t i = 0; i < o->input.run_count; i++)
        if (plan->answers[i].why == SCHEDULER_STARTS)
            start(s, o->waiting[i], o, &plan->answers[i]);
    for (size_t i = 0; i < plan->stop_count; i++) {
        const struct run *other = runs_find(&s->runs, plan->stops[i].by_run);
        attempt_preempt(s, o->busy[plan->stops[i].busy], other);
    }
}

// Keeps what was said for those who ask.
static void remember(struct server *s, const struct offer *o, const struct scheduler_plan *plan)
{
    for (size_t i = 0; i < o->input.run_count; i++) {
        o->waiting[i]->answer = plan->answers[i];
        o->waiting[i]->answer.ranks = NULL;
    }
    s->schedule.ranks = o->input.rank_count;
    s->schedule.told = 1;
}

// ---- when -----------------------------------------------------------------------------------------------------------

static void run_pass(uv_timer_t *timer);

static void look_again(struct server *s, int64_t a_ms, int64_t b_ms)
{
    int64_t ms = a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
    if (ms >= 0 && !s->schedule.soon)
        uv_timer_start(&s->schedule.timer, run_pass, (uint64_t)ms, 0);
}

static void run_pass(uv_timer_t *timer)
{
    struct server *s = timer->data;
    s->schedule.soon = 0;
    s->schedule.told = 0;
    if (s->stopping || s->quiet || schedule_draining(&s->schedule))
        return;
    double begun = clock_cpu_seconds();
    struct offer *o = offer_make(s);
    int64_t again = -1;
    if (offer_is_open(o)) {
        struct scheduler_plan plan = scheduler_decide(&o->input);
        carry_out(s, o, &plan);
        again = plan.again_ms;
        scheduler_free(&plan, o->input.run_count);
    }
    look_again(s, again, o->ready_ms);
    offer_free(o);
    uv_update_time(s->loop);
    s->schedule.rest_until = uv_now(s->loop) + (uint64_t)(REST * 1e3 * (clock_cpu_seconds() - begun));
}

void schedule_open(struct server *s)
{
    uv_timer_init(s->loop, &s->schedule.timer);
    s->schedule.timer.data = s;
}

// An older server wrote 0 and 1.
void schedule_set_draining(struct schedule *s, const char *setting)
{
    const char *by = !strcmp(setting, "0") ? "" : !strcmp(setting, "1") ? "drained" : setting;
    text_fit(s->drained, sizeof s->drained, by);
}

int schedule_draining(const struct schedule *s)
{
    return *s->drained != 0;
}

void schedule_soon(struct server *s)
{
    s->schedule.told = 0;
    watch_changed(s, WATCH_NEWS); // what matters to the queue is on every screen of it
    if (s->stopping || s->schedule.soon)
        return;
    s->schedule.soon = 1;
    uint64_t now = uv_now(s->loop);
    uv_timer_start(&s->schedule.timer, run_pass, s->schedule.rest_until > now ? s->schedule.rest_until - now : 0, 0);
}

void schedule_close(struct server *s, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&s->schedule.timer, closed);
}

// ---- saying why -----------------------------------------------------------------------------------------------------

// Answers that nobody has asked for yet: the same decision, without carrying it out.
static void find_answers(struct server *s)
{
    struct offer *o = offer_make(s);
    o->input.explain = 1;
    struct scheduler_plan plan = scheduler_decide(&o->input);
    remember(s, o, &plan);
    scheduler_free(&plan, o->input.run_count);
    offer_free(o);
}

static char *no_rank_text(const struct server *s, const struct run *r)
{
    if (s->schedule.ranks)
        return xprintf("no workers with %s are there", r->wants.device == SCHEDULER_CUDA ? "GPUs" : "CPUs");
    for (const struct world *w = s->workers.first; w; w = w->next)
        if (w->known && w->size > 1)
            return xprintf("no workers are there but %u of the %u ranks of a world that is not complete", w->known,
                           w->size);
    return xstrdup("no workers are there");
}

static char *answer_text(const struct server *s, const struct run *r)
{
    const struct scheduler_answer *a = &r->answer;
    switch (a->why) {
    case SCHEDULER_STARTS:
        return xstrdup("is about to start");
    case SCHEDULER_NO_NUMBER:
        return xprintf("can never start: no number of ranks that it allows shares its %u groups evenly",
                       r->wants.groups);
    case SCHEDULER_NO_RANK:
        return no_rank_text(s, r);
    case SCHEDULER_TOO_LARGE:
        return xprintf("needs %u ranks of one world, the largest has %u", a->needs, a->possible);
    case SCHEDULER_OCCUPIED:
        return xprintf("needs %u free rank%s of one world, %u %s free", a->needs, a->needs == 1 ? "" : "s", a->free,
                       a->free == 1 ? "is" : "are");
    case SCHEDULER_BEHIND:
        return xprintf("run %llu (priority %d) is before it", (unsigned long long)a->behind, a->behind_priority);
    case SCHEDULER_MAKES_ROOM:
        return xprintf("waits until run %llu has saved and given its ranks back", (unsigned long long)a->behind);
    case SCHEDULER_USER_RUNS:
        return xprintf("user limit of %.0f running runs (%s)", user_limit(&s->users, r->owner, LIMIT_RUNNING),
                       r->owner->name);
    case SCHEDULER_USER_RANKS:
        return xprintf("user limit of %.0f ranks (%s), it needs %u", user_limit(&s->users, r->owner, LIMIT_RANKS),
                       r->owner->name, a->needs);
    }
    return xstrdup("");
}

static char *explain(struct server *s, const struct run *r)
{
    if (r->after_count > 1)
        return xprintf("waits for run %llu and %zu more", (unsigned long long)r->after[0], r->after_count - 1);
    if (r->after_count)
        return xprintf("waits for run %llu", (unsigned long long)r->after[0]);
    if (r->busy)
        return xstrdup("is about to start");
    if (schedule_draining(&s->schedule))
        return xprintf("scheduling is paused: %s (islrctl resume-scheduling)", s->schedule.drained);
    if (r->ready_at > uv_now(s->loop)) {
        char wait[32];
        return xprintf("%s; tried again in %s", r->now.reason,
                       clock_format((double)(r->ready_at - uv_now(s->loop)) / 1e3, wait));
    }
    if (!s->schedule.told)
        find_answers(s);
    return answer_text(s, r);
}

char *schedule_explain(struct server *s, const struct run *r, struct pool *pool)
{
    char *text = explain(s, r), *kept = pool_text(pool, text);
    free(text);
    return kept;
}
