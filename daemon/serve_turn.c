// Whose turn it is: see serve_turn.h.
#include "daemon/serve_turn.h"

#include <stdlib.h>

#include "core/base/memory.h"

struct turn {
    int64_t points;
    uint64_t id;   // of run, here for sorting
    uint32_t user; // the same
    const struct scheduler_run *run;
};

static int64_t age_points(const struct scheduler_run *r)
{
    int64_t points = r->waited_ms > 0 ? r->waited_ms / SCHEDULER_AGE_MS : 0;
    return points < SCHEDULER_AGE_MOST ? points : SCHEDULER_AGE_MOST;
}

int64_t turn_next_point_ms(const struct scheduler_run *r)
{
    int64_t points = age_points(r);
    return points < SCHEDULER_AGE_MOST ? (points + 1) * SCHEDULER_AGE_MS - r->waited_ms : -1;
}

static int by_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->points != y->points)
        return x->points > y->points ? -1 : 1;
    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct turns turns_make(const struct scheduler_input *in, const struct scheduler_user *users)
{
    struct turns t = {.count = in->run_count, .users = users};
    t.items = xmalloc((t.count ? t.count : 1) * sizeof *t.items);
    t.lines = xmalloc((in->user_count ? in->user_count : 1) * sizeof *t.lines);
    for (size_t i = 0; i < t.count; i++) {
        const struct scheduler_run *r = &in->runs[i];
        t.items[i] = (struct turn){r->priority + age_points(r), r->id, r->user, r};
    }
    qsort(t.items, t.count, sizeof *t.items, by_turn);
    return t;
}

void turns_free(struct turns *t)
{
    free(t->items);
    free(t->lines);
}

// ---- the heap -------------------------------------------------------------------------------------------------------

static double served(const struct scheduler_user *u)
{
    return (u->usage + SCHEDULER_PLEDGE_S * u->ranks) / u->share;
}

static int goes_before(const struct turn_line *a, const struct turn_line *b)
{
    double x = served(a->user), y = served(b->user);
    return x != y ? x < y : a->next->id < b->next->id;
}

static void sink(struct turns *t, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < t->line_count; child++)
            if (goes_before(&t->lines[child], &t->lines[least]))
                least = child;
        if (least == i)
            return;
        struct turn_line swap = t->lines[i];
        t->lines[i] = t->lines[least];
        t->lines[least] = swap;
        i = least;
    }
}

// The lines of the next points.
static void next_points(struct turns *t)
{
    const struct turn *begin = t->items + t->at, *end = t->items + t->count;
    int64_t points = begin->points;
    while (begin < end && begin->points == points) {
        const struct turn *next = begin;
        while (next < end && next->points == points && next->user == begin->user)
            next++;
        t->lines[t->line_count++] = (struct turn_line){begin, next, &t->users[begin->user]};
        begin = next;
    }
    t->at = (size_t)(begin - t->items);
    for (size_t i = t->line_count / 2; i-- > 0;)
        sink(t, i);
}

const struct scheduler_run *turns_next(struct turns *t)
{
    if (t->line_count) { // the run on top has had its turn, and perhaps been given ranks
        if (++t->lines[0].next == t->lines[0].end)
            t->lines[0] = t->lines[--t->line_count];
        sink(t, 0);
    }
    if (!t->line_count && t->at < t->count)
        next_points(t);
    return t->line_count ? t->lines[0].next->run : NULL;
}
