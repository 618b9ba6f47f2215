// The users as the scheduler knows them: see serve_user.h.
#include "daemon/serve_user.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/usage.h"
#include "daemon/serve_server.h"

enum { HALF_LIVES = 10 }; // what is older has decayed to a thousandth

double usage_at(const struct usage *u, int64_t now_ms)
{
    double age_s = now_ms > u->at_ms ? (double)(now_ms - u->at_ms) / 1e3 : 0;
    return u->sum * exp2(-age_s / SCHEDULER_HALF_LIFE_S);
}

void usage_add(struct usage *u, double amount, int64_t now_ms)
{
    u->sum = usage_at(u, now_ms) + (amount > 0 ? amount : 0);
    u->at_ms = now_ms > u->at_ms ? now_ms : u->at_ms;
}

// ---- the table ------------------------------------------------------------------------------------------------------

struct user *users_take(struct users *all, const char *name)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(all->items[middle]->name, name);
        if (!order)
            return all->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 16;
        all->items = xrealloc(all->items, all->capacity, sizeof *all->items);
    }
    memmove(all->items + low + 1, all->items + low, (all->count - low) * sizeof *all->items);
    all->count++;
    struct user *u = all->items[low] = xcalloc(1, sizeof *u);
    u->name = xstrdup(name);
    u->usage.at_ms = INT64_MIN / 2;
    return u;
}

void users_close(struct users *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free(all->items[i]->name);
        free(all->items[i]->starts);
        free(all->items[i]);
    }
    free(all->items);
    memset(all, 0, sizeof *all);
}

// ---- starts ---------------------------------------------------------------------------------------------------------

int64_t user_last_start(const struct user *u, int32_t priority)
{
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < u->start_count && u->starts[i].priority <= priority; i++)
        last = u->starts[i].at_ms;
    return last;
}

// An entry that another of no higher priority has overtaken says nothing any more.
void user_started(struct user *u, int32_t priority, int64_t at_ms)
{
    if (user_last_start(u, priority) >= at_ms)
        return;
    struct user_start *kept = xmalloc((u->start_count + 1) * sizeof *kept);
    size_t count = 0, i = 0;
    while (i < u->start_count && u->starts[i].priority < priority)
        kept[count++] = u->starts[i++];
    kept[count++] = (struct user_start){priority, at_ms};
    for (; i < u->start_count; i++)
        if (u->starts[i].at_ms > at_ms)
            kept[count++] = u->starts[i];
    free(u->starts);
    u->starts = kept;
    u->start_count = count;
}

// ---- the server's start ---------------------------------------------------------------------------------------------

// Wall clocks jump: what seems to come from the future has just been.
static int64_t loop_time(const struct server *s, int64_t wall_ms, int64_t now_ms)
{
    return (int64_t)uv_now(s->loop) - (now_ms > wall_ms ? now_ms - wall_ms : 0);
}

static int by_end(const void *a, const void *b)
{
    const struct usage_row *x = a, *y = b;
    return x->ended_ms < y->ended_ms ? -1 : x->ended_ms > y->ended_ms;
}

int users_recover(struct server *s, struct error *e)
{
    struct pool pool = {0};
    struct usage_row *rows = NULL;
    size_t count = 0;
    int64_t now = server_now_ms();
    struct store_reader *reader = store_reader_take(s->store, e);
    int rc =
        reader ? usage_read(reader, now - (int64_t)(HALF_LIVES * SCHEDULER_HALF_LIFE_S * 1e3), &pool, &rows, &count, e)
               : -1;
    if (count)
        qsort(rows, count, sizeof *rows, by_end); // a sum decays forwards only
    for (size_t i = 0; i < count; i++) {
        struct user *u = users_take(&s->users, rows[i].user);
        user_started(u, rows[i].priority, loop_time(s, rows[i].started_ms, now));
        if (rows[i].ended_ms)
            usage_add(&u->usage, (double)(rows[i].ended_ms - rows[i].started_ms) / 1e3 * rows[i].ranks,
                      loop_time(s, rows[i].ended_ms, now));
    }
    pool_free(&pool);
    store_reader_give(s->store, reader);
    return rc;
}
