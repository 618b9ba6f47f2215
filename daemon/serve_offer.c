// What the scheduler is asked about: see serve_offer.h.
#include "daemon/serve_offer.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "daemon/serve_server.h"

enum { HOSTS_MAX = 4096 };

// The lists while they grow.
struct making {
    struct server *server;
    struct offer *offer;
    struct scheduler_rank *ranks;
    size_t rank_capacity;
    struct scheduler_busy *busy;
    size_t busy_count, busy_capacity;
    struct scheduler_user *users;
    const char *hosts[HOSTS_MAX]; // named so far
    uint32_t host_count;
    int64_t now;
};

// ---- users ----------------------------------------------------------------------------------------------------------

static void add_users(struct making *m)
{
    struct users *all = &m->server->users;
    m->users = xcalloc(all->count ? all->count : 1, sizeof *m->users);
    for (size_t i = 0; i < all->count; i++) {
        all->items[i]->index = (uint32_t)i;
        const struct user *u = all->items[i];
        m->users[i] = (struct scheduler_user){.usage = usage_at(&u->usage, m->now),
                                              .share = user_limit(all, u, LIMIT_SHARE),
                                              .most_runs = (uint32_t)user_limit(all, u, LIMIT_RUNNING),
                                              .most_ranks = (uint32_t)user_limit(all, u, LIMIT_RANKS)};
    }
}

// ---- runs that have ranks -------------------------------------------------------------------------------------------

static int64_t limit_left_ms(const struct run *r, double ran_ms)
{
    double left = r->limit_ms - r->ran_ms - ran_ms;
    return left > 0 ? (int64_t)left : 0;
}

// A run that is being started has no gang yet: it is known by the ranks that were set aside for it.
static uint32_t add_busy(struct making *m, struct run *r)
{
    if (m->busy_count == m->busy_capacity) {
        m->busy_capacity = m->busy_capacity ? 2 * m->busy_capacity : 16;
        m->busy = xrealloc(m->busy, m->busy_capacity, sizeof *m->busy);
        m->offer->busy = xrealloc(m->offer->busy, m->busy_capacity, sizeof *m->offer->busy);
    }
    int64_t ran = r->world ? m->now - r->begun_at : 0;
    int64_t settled = m->server->settle_ms - ran;
    int ending = r->busy && r->world; // the database is being told
    m->offer->busy[m->busy_count] = r;
    m->busy[m->busy_count++] =
        (struct scheduler_busy){.id = r->id,
                                .priority = r->now.priority,
                                .left_ms = r->limit_ms > 0 ? limit_left_ms(r, (double)ran) : -1,
                                .settled_ms = settled > 0 ? settled : 0,
                                .ran_ms = ran,
                                .stopping = ending || r->stop_asked || r->now.state == ISLR__RUN_STATE__RUN_STOPPING};
    m->users[r->owner->index].runs++;
    r->offered = (uint32_t)m->busy_count;
    return r->offered;
}

// 1 + the index of the run that has the rank, 0: it is free. A run that has ended while ranks were being set aside for it
// needs them no more.
static uint32_t run_number(struct making *m, const struct worker *w)
{
    struct run *r = w->run ? runs_find(&m->server->runs, w->run) : NULL;
    if (!r)
        return 0;
    uint32_t number =
        r->offered <= m->busy_count && r->offered && m->offer->busy[r->offered - 1] == r ? r->offered : add_busy(m, r);
    struct scheduler_user *u = &m->users[r->owner->index];
    u->ranks++;
    u->usage += (double)m->busy[number - 1].ran_ms / 1e3;
    return number;
}

// ---- ranks ----------------------------------------------------------------------------------------------------------

static uint32_t host_number(struct making *m, const char *host)
{
    for (uint32_t i = 0; i < m->host_count; i++)
        if (!strcmp(m->hosts[i], host))
            return i;
    if (m->host_count == HOSTS_MAX)
        return HOSTS_MAX - 1; // only packing suffers
    m->hosts[m->host_count] = host;
    return m->host_count++;
}

static void add_rank(struct making *m, struct worker *w)
{
    size_t *count = &m->offer->input.rank_count;
    if (*count == m->rank_capacity) {
        m->rank_capacity = m->rank_capacity ? 2 * m->rank_capacity : 16;
        m->ranks = xrealloc(m->ranks, m->rank_capacity, sizeof *m->ranks);
        m->offer->workers = xrealloc(m->offer->workers, m->rank_capacity, sizeof *m->offer->workers);
    }
    struct scheduler_rank *rank = &m->ranks[*count];
    *rank = (struct scheduler_rank){.world = w->world->number,
                                    .host = host_number(m, w->facts->host),
                                    .device = strcmp(w->facts->device, "cuda") ? SCHEDULER_CPU : SCHEDULER_CUDA,
                                    .run = run_number(m, w)};
    m->offer->free += !rank->run;
    m->offer->workers[(*count)++] = w;
}

// ---- runs that wait -------------------------------------------------------------------------------------------------

static int waits_for_ranks(const struct run *r)
{
    return r->now.state == ISLR__RUN_STATE__RUN_QUEUED && !r->busy && !r->after_count;
}

static void add_waiting(struct making *m, struct run *r, struct scheduler_run *runs)
{
    size_t *count = &m->offer->input.run_count;
    int64_t last = user_last_start(r->owner, r->now.priority), since = r->queued_at > last ? r->queued_at : last;
    struct scheduler_run *w = &runs[*count];
    *w = r->wants;
    w->user = r->owner->index;
    w->waited_ms = m->now - since;
    w->left_ms = r->limit_ms > 0 ? limit_left_ms(r, 0) : 0;
    m->offer->waiting[(*count)++] = r;
}

// Members of a group that leave open how many ranks they take share what is free, so that they go side by side. One that
// goes on keeps its former number. Members have neighbouring numbers.
static void share_in_groups(const struct offer *o, struct scheduler_run *runs)
{
    size_t count = o->input.run_count;
    for (size_t first = 0, end; first < count; first = end) {
        uint64_t group = o->waiting[first]->now.parent;
        for (end = first + 1; end < count && o->waiting[end]->now.parent == group;)
            end++;
        uint32_t share = (uint32_t)(o->free / (end - first));
        for (size_t i = first; group && i < end; i++) {
            struct scheduler_run *w = &runs[i];
            uint32_t most = share > w->min_ranks ? share : w->min_ranks;
            if (!w->ranks && !w->last_ranks && (!w->max_ranks || most < w->max_ranks))
                w->max_ranks = most;
        }
    }
}

static void add_queue(struct making *m)
{
    const struct runs *all = &m->server->runs;
    struct scheduler_run *runs = xmalloc((all->count ? all->count : 1) * sizeof *runs);
    m->offer->waiting = xmalloc((all->count ? all->count : 1) * sizeof *m->offer->waiting);
    m->offer->ready_ms = -1;
    for (size_t i = 0; i < all->count; i++) {
        struct run *r = all->items[i];
        int64_t wait = (int64_t)r->ready_at - m->now;
        if (!waits_for_ranks(r))
            continue;
        if (wait <= 0)
            add_waiting(m, r, runs);
        else if (m->offer->ready_ms < 0 || wait < m->offer->ready_ms)
            m->offer->ready_ms = wait;
    }
    share_in_groups(m->offer, runs);
    m->offer->input.runs = runs;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

struct offer *offer_make(struct server *s)
{
    struct making *m = xcalloc(1, sizeof *m);
    struct offer *o = m->offer = xcalloc(1, sizeof *o);
    m->server = s;
    m->now = (int64_t)uv_now(s->loop);
    add_users(m);
    for (struct world *w = s->workers.first; w; w = w->next)
        for (uint32_t i = 0; world_complete(w) && i < w->size; i++)
            add_rank(m, w->ranks[i]);
    add_queue(m);
    o->input.ranks = m->ranks;
    o->input.busy = m->busy;
    o->input.busy_count = m->busy_count;
    o->input.users = m->users;
    o->input.user_count = s->users.count;
    free(m);
    return o;
}

void offer_free(struct offer *o)
{
    free((void *)o->input.ranks);
    free((void *)o->input.busy);
    free((void *)o->input.runs);
    free((void *)o->input.users);
    free(o->workers);
    free(o->busy);
    free(o->waiting);
    free(o);
}

int offer_is_open(const struct offer *o)
{
    int32_t lowest = INT32_MAX;
    if (o->free)
        return 1;
    for (size_t i = 0; i < o->input.busy_count; i++)
        if (!o->input.busy[i].stopping && o->input.busy[i].priority < lowest)
            lowest = o->input.busy[i].priority;
    for (size_t i = 0; i < o->input.run_count; i++)
        if (o->input.runs[i].priority > lowest)
            return 1;
    return 0;
}
