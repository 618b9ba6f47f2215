// The users as the scheduler knows them: see serve_user.h.
#include "daemon/serve_user.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/setting.h"
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

// ---- limits ---------------------------------------------------------------------------------------------------------

const struct limit_row user_limits[USER_LIMITS] = {
    [LIMIT_RUNNING] = {"running", 0, 1e6, 0, 1},
    [LIMIT_RANKS] = {"ranks", 0, 1e6, 0, 1},
    [LIMIT_QUEUED] = {"queued", 0, 1e6, 0, 1},
    [LIMIT_SHARE] = {"share", 0.001, 1000, 1, 0},
};

int user_limit_find(const char *name, enum user_limit *out, struct error *e)
{
    for (size_t i = 0; i < USER_LIMITS; i++) {
        if (!strcmp(user_limits[i].name, name)) {
            *out = (enum user_limit)i;
            return 0;
        }
    }
    return error_set(e, ERR_INVALID, "'%s' is no limit; there are running, ranks, queued and share", name);
}

double user_limit(const struct users *all, const struct user *u, enum user_limit limit)
{
    if (!isnan(u->own[limit]))
        return u->own[limit];
    return isnan(all->everybody[limit]) ? user_limits[limit].usual : all->everybody[limit];
}

struct scheduler_user user_standing(const struct server *s, const struct user *u, uint32_t *queued)
{
    int64_t loop_now = (int64_t)uv_now(s->loop);
    struct scheduler_user now = {.usage = usage_at(&u->usage, loop_now),
                                 .share = user_limit(&s->users, u, LIMIT_SHARE)};
    *queued = u->submitting;
    for (size_t i = 0; i < s->runs.count; i++) {
        const struct run *r = s->runs.items[i];
        if (r->owner != u)
            continue;
        *queued += r->now.state == ISLR__RUN_STATE__RUN_QUEUED || r->now.state == ISLR__RUN_STATE__RUN_HELD;
        now.runs += r->world != NULL;
        now.ranks += (uint32_t)r->gang_count;
        if (r->world)
            now.usage += (double)(loop_now - r->begun_at) / 1e3 * (double)r->gang_count;
    }
    return now;
}

static void unset_all(double limits[USER_LIMITS])
{
    for (size_t i = 0; i < USER_LIMITS; i++)
        limits[i] = NAN;
}

void users_open(struct users *all)
{
    unset_all(all->everybody);
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
    unset_all(u->own);
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

static int recover_usage(struct server *s, struct store_reader *reader, struct pool *pool, struct error *e)
{
    struct usage_row *rows;
    size_t count;
    int64_t now = server_now_ms(), since = now - (int64_t)(HALF_LIVES * SCHEDULER_HALF_LIFE_S * 1e3);
    if (usage_read(reader, since, pool, &rows, &count, e))
        return -1;
    if (count)
        qsort(rows, count, sizeof *rows, by_end); // a sum decays forwards only
    for (size_t i = 0; i < count; i++) {
        struct user *u = users_take(&s->users, rows[i].user);
        user_started(u, rows[i].priority, loop_time(s, rows[i].started_ms, now));
        if (rows[i].ended_ms)
            usage_add(&u->usage, (double)(rows[i].ended_ms - rows[i].started_ms) / 1e3 * rows[i].ranks,
                      loop_time(s, rows[i].ended_ms, now));
    }
    return 0;
}

static int recover_limits(struct server *s, struct store_reader *reader, struct pool *pool, struct error *e)
{
    struct setting *settings;
    size_t count;
    if (setting_list(reader, LIMIT_SETTING, pool, &settings, &count, e))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const char *colon = strchr(settings[i].name, ':');
        char *name = xprintf("%.*s", (int)(colon ? colon - settings[i].name : 0), settings[i].name);
        enum user_limit limit;
        if (colon && !user_limit_find(name, &limit, NULL)) // a newer server may know others
            (colon[1] ? users_take(&s->users, colon + 1)->own : s->users.everybody)[limit] =
                strtod(settings[i].value, NULL);
        free(name);
    }
    return 0;
}

int users_recover(struct server *s, struct error *e)
{
    struct pool pool = {0};
    struct store_reader *reader = store_reader_take(s->store, e);
    int rc = !reader || recover_usage(s, reader, &pool, e) || recover_limits(s, reader, &pool, e) ? -1 : 0;
    pool_free(&pool);
    store_reader_give(s->store, reader);
    return rc;
}
