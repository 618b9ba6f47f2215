// Which queued run gets which ranks: see serve_scheduler.h. serve_part.c knows about ranks, serve_turn.c about order.
#include "daemon/serve_scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "daemon/serve_part.h"
#include "daemon/serve_turn.h"

struct deciding {
    const struct scheduler_input *in;
    struct parts parts;
    struct scheduler_user *users; // as they are after what was decided so far
    struct scheduler_plan plan;
    size_t unheld; // parts that nobody waits for
};

// ---- starting -------------------------------------------------------------------------------------------------------

// What the user's limit of ranks leaves to a run that could have `available`.
static size_t within_limit(const struct scheduler_user *u, size_t available)
{
    size_t left = u->most_ranks > u->ranks ? u->most_ranks - u->ranks : 0;
    return u->most_ranks && left < available ? left : available;
}

// The part where the run gets most, on GPUs if it may; the one with the least left over among equals.
static struct part *best_part(struct deciding *d, const struct scheduler_run *r, uint32_t *number)
{
    struct part *best = NULL;
    *number = 0;
    for (size_t i = 0; d->parts.free && i < d->parts.count; i++) {
        struct part *p = &d->parts.items[i];
        size_t open = part_suits(p, r) ? within_limit(&d->users[r->user], part_open_ranks(p, r)) : 0;
        uint32_t n = open ? part_most_ranks(r, open) : 0;
        if (!n)
            continue;
        int better = !best;
        if (best && p->device != best->device)
            better = p->device == SCHEDULER_CUDA;
        else if (best)
            better = n > *number || (n == *number && p->free_count < best->free_count);
        if (better) {
            best = p;
            *number = n;
        }
    }
    return best;
}

static void start(struct deciding *d, struct part *p, const struct scheduler_run *r, uint32_t n,
                  struct scheduler_answer *a)
{
    struct scheduler_user *u = &d->users[r->user];
    a->why = SCHEDULER_STARTS;
    a->count = n;
    a->ranks = xmalloc(n * sizeof *a->ranks);
    part_take(&d->parts, p, d->in, r, n, a->ranks);
    u->runs++;
    u->ranks += n;
}

// ---- making room ----------------------------------------------------------------------------------------------------

static void look_again(struct deciding *d, int64_t ms)
{
    if (d->plan.again_ms < 0 || ms < d->plan.again_ms)
        d->plan.again_ms = ms;
}

// The least important first, then the one that has run for the shortest time.
static int by_importance(const void *a, const void *b)
{
    const struct scheduler_busy *x = (*(struct part_run *const *)a)->busy, *y = (*(struct part_run *const *)b)->busy;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->ran_ms != y->ran_ms)
        return x->ran_ms < y->ran_ms ? -1 : 1;
    return x->id > y->id ? -1 : x->id < y->id;
}

// The runs that may have to make room for r, as pointers to free().
static struct part_run **list_victims(struct deciding *d, const struct part *p, const struct scheduler_run *r,
                                      size_t *count)
{
    struct part_run **victims = xmalloc((p->run_count ? p->run_count : 1) * sizeof *victims);
    *count = 0;
    for (size_t i = 0; i < p->run_count; i++) {
        struct part_run *run = &p->runs[i];
        if (!run->busy || run->stopping || run->busy->priority >= r->priority)
            continue;
        if (run->busy->settled_ms > 0)
            look_again(d, run->busy->settled_ms);
        else
            victims[(*count)++] = run;
    }
    qsort(victims, *count, sizeof *victims, by_importance);
    return victims;
}

// Those of part p that have to stop so that r can start there, as pointers to free(); 0 of them: it is not to be had
// by that.
static struct part_run **choose_victims(struct deciding *d, const struct part *p, const struct scheduler_run *r,
                                        size_t *count)
{
    size_t needed = part_least_ranks(r), have = p->free_count + part_stopping_ranks(p), found, n = 0;
    struct part_run **victims = list_victims(d, p, r, &found);
    while (n < found && have < needed)
        have += victims[n++]->ranks;
    size_t kept = 0;
    for (size_t i = n; i-- > 0;) { // the last ones may have made the first ones unnecessary; important ones go first
        if (have >= needed && have - victims[i]->ranks >= needed) {
            have -= victims[i]->ranks;
            victims[i] = NULL;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (victims[i])
            victims[kept++] = victims[i];
    *count = have >= needed ? kept : 0;
    return victims;
}

static void stop_all(struct deciding *d, struct part_run *const *victims, size_t count, const struct scheduler_run *r)
{
    struct scheduler_plan *plan = &d->plan;
    plan->stops = xrealloc(plan->stops, plan->stop_count + count, sizeof *plan->stops);
    for (size_t i = 0; i < count; i++) {
        victims[i]->stopping = 1;
        plan->stops[plan->stop_count++] = (struct scheduler_stop){(size_t)(victims[i]->busy - d->in->busy), r->id};
    }
}

// Whether it is better to stop these than those: the most important of them counts, then how many they are.
static int are_lesser(struct part_run *const *these, size_t count, struct part_run *const *those, size_t others)
{
    int32_t x = these[count - 1]->busy->priority, y = those[others - 1]->busy->priority;
    return x != y ? x < y : count < others;
}

// The part where stopping others costs least, and stops them. NULL: nowhere.
static struct part *make_room(struct deciding *d, const struct scheduler_run *r)
{
    struct part *best = NULL;
    struct part_run **stops = NULL;
    size_t stop_count = 0;
    for (size_t i = 0; i < d->parts.count; i++) {
        struct part *p = &d->parts.items[i];
        size_t count;
        if (p->holder || !part_suits(p, r) || !part_most_ranks(r, p->total))
            continue;
        struct part_run **victims = choose_victims(d, p, r, &count);
        if (count && (!best || are_lesser(victims, count, stops, stop_count))) {
            struct part_run **other = stops;
            best = p;
            stop_count = count;
            stops = victims;
            victims = other;
        }
        free(victims);
    }
    if (best)
        stop_all(d, stops, stop_count, r);
    free(stops);
    return best;
}

// ---- waiting --------------------------------------------------------------------------------------------------------

// The part where the run is sure to start first; where nobody knows, the one with the most free ranks.
static struct part *nearest_part(struct deciding *d, const struct scheduler_run *r)
{
    struct part *best = NULL;
    int64_t best_ms = -1;
    for (size_t i = 0; i < d->parts.count; i++) {
        struct part *p = &d->parts.items[i];
        if (p->holder || !part_suits(p, r) || !part_most_ranks(r, p->total))
            continue;
        int64_t ms = part_is_room_coming(p, r) ? 0 : part_sure_ms(p, r);
        int better = !best;
        if (best && ms >= 0 && best_ms >= 0)
            better = ms < best_ms;
        else if (best)
            better = ms >= 0 || (best_ms < 0 && p->free_count > best->free_count);
        if (better) {
            best = p;
            best_ms = ms;
        }
    }
    return best;
}

static uint64_t stopping_run(const struct part *p)
{
    for (size_t i = 0; i < p->run_count; i++)
        if (p->runs[i].stopping && p->runs[i].busy)
            return p->runs[i].busy->id;
    return 0;
}

// How it stands with the ranks that a run wants.
static void describe(const struct deciding *d, const struct scheduler_run *r, struct scheduler_answer *a)
{
    const struct scheduler_run *holder = NULL;
    a->needs = part_least_ranks(r);
    for (size_t i = 0; i < d->parts.count; i++) {
        const struct part *p = &d->parts.items[i];
        if (!part_suits(p, r))
            continue;
        size_t open = part_open_ranks(p, r);
        if (p->total > a->possible)
            a->possible = (uint32_t)p->total;
        if (open > a->free)
            a->free = (uint32_t)open;
        if (!holder && p->holder && part_most_ranks(r, p->total))
            holder = p->holder;
    }
    a->why = !a->needs                ? SCHEDULER_NO_NUMBER
             : !a->possible           ? SCHEDULER_NO_RANK
             : a->needs > a->possible ? SCHEDULER_TOO_LARGE
             : holder                 ? SCHEDULER_BEHIND
                                      : SCHEDULER_OCCUPIED;
    if (a->why == SCHEDULER_BEHIND) {
        a->behind = holder->id;
        a->behind_priority = holder->priority;
    }
}

static void wait_for_ranks(struct deciding *d, const struct scheduler_run *r, struct scheduler_answer *a)
{
    if (d->in->explain)
        describe(d, r, a);
    struct part *p = nearest_part(d, r);
    if (!p)
        return;
    a->why = SCHEDULER_OCCUPIED;
    d->unheld--;
    if (!part_is_room_coming(p, r)) {
        struct part *emptied = make_room(d, r);
        p = emptied ? emptied : p;
    }
    part_hold(p, r);
    if (part_is_room_coming(p, r)) {
        a->why = SCHEDULER_MAKES_ROOM;
        a->behind = stopping_run(p);
    }
}

// Whether a limit of the user's own keeps the run from starting, whatever is free.
static int is_limited(const struct deciding *d, const struct scheduler_run *r, struct scheduler_answer *a)
{
    const struct scheduler_user *u = &d->users[r->user];
    a->needs = part_least_ranks(r);
    if (u->most_runs && u->runs >= u->most_runs)
        a->why = SCHEDULER_USER_RUNS;
    else if (u->most_ranks && u->ranks + a->needs > u->most_ranks)
        a->why = SCHEDULER_USER_RANKS;
    else
        return 0;
    return 1;
}

// ---- deciding -------------------------------------------------------------------------------------------------------

static void decide_one(struct deciding *d, const struct scheduler_run *r)
{
    struct scheduler_answer *a = &d->plan.answers[r - d->in->runs];
    uint32_t n;
    if (is_limited(d, r, a))
        return;
    struct part *p = best_part(d, r, &n);
    if (p)
        start(d, p, r, n, a);
    else
        wait_for_ranks(d, r, a);
}

// Once no rank is free and every part is held nothing more can come of it but explanations.
static int can_go_on(const struct deciding *d)
{
    return d->in->explain || d->parts.free || d->unheld;
}

// While ranks are kept free for somebody, the order of those that wait matters, and it changes with time.
static void plan_ageing(struct deciding *d)
{
    for (size_t i = 0; d->parts.free && i < d->in->run_count; i++) {
        int64_t next = turn_next_point_ms(&d->in->runs[i]);
        if (d->plan.answers[i].why != SCHEDULER_STARTS && next >= 0)
            look_again(d, next);
    }
}

struct scheduler_plan scheduler_decide(const struct scheduler_input *in)
{
    struct deciding d = {.in = in, .parts = parts_make(in), .plan = {.again_ms = -1}};
    d.plan.answers = xcalloc(in->run_count ? in->run_count : 1, sizeof *d.plan.answers);
    for (size_t i = 0; i < in->run_count; i++)
        d.plan.answers[i].why = SCHEDULER_OCCUPIED;
    d.users = xmalloc((in->user_count ? in->user_count : 1) * sizeof *d.users);
    memcpy(d.users, in->users, in->user_count * sizeof *d.users);
    struct turns turns = turns_make(in, d.users);
    const struct scheduler_run *r;
    d.unheld = d.parts.count;
    while (can_go_on(&d) && (r = turns_next(&turns)))
        decide_one(&d, r);
    plan_ageing(&d);
    turns_free(&turns);
    parts_free(&d.parts);
    free(d.users);
    return d.plan;
}

void scheduler_free(struct scheduler_plan *plan, size_t run_count)
{
    for (size_t i = 0; i < run_count; i++)
        free(plan->answers[i].ranks);
    free(plan->answers);
    free(plan->stops);
}
