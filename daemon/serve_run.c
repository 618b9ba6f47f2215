// The runs that have not ended: see serve_run.h.
#include "daemon/serve_run.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_collect.h"
#include "daemon/serve_group.h"
#include "daemon/serve_read.h"

enum { GROUP_TICKS = 20 };

// ---- the table ------------------------------------------------------------------------------------------------------

// Where `id` is or would be.
static size_t place_of(const struct runs *all, uint64_t id)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (all->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct run *runs_find(const struct runs *all, uint64_t id)
{
    size_t at = place_of(all, id);
    return at < all->count && all->items[at]->id == id ? all->items[at] : NULL;
}

static void insert(struct runs *all, struct run *r)
{
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 64;
        all->items = xrealloc(all->items, all->capacity, sizeof *all->items);
    }
    size_t at = place_of(all, r->id);
    memmove(all->items + at + 1, all->items + at, (all->count - at) * sizeof *all->items);
    all->items[at] = r;
    all->count++;
}

static void free_run(struct run *r)
{
    spec_free(r->job);
    free(r->world);
    free(r->gang);
    free(r->after);
    free(r->folds);
    free(r);
}

static void drop(struct server *s, struct run *r)
{
    struct runs *all = &s->runs;
    size_t at = place_of(all, r->id);
    run_release_gang(s, r);
    memmove(all->items + at, all->items + at + 1, (all->count - at - 1) * sizeof *all->items);
    all->count--;
    free_run(r);
}

void runs_close(struct runs *all)
{
    for (size_t i = 0; i < all->count; i++)
        free_run(all->items[i]);
    free(all->items);
    memset(all, 0, sizeof *all);
}

// ---- taking in ------------------------------------------------------------------------------------------------------

static enum scheduler_device device_wanted(const Islr__JobSpec *job)
{
    switch (job->resources ? job->resources->device : ISLR__RESOURCES__DEVICE__DEVICE_AUTO) {
    case ISLR__RESOURCES__DEVICE__DEVICE_CPU:
        return SCHEDULER_CPU;
    case ISLR__RESOURCES__DEVICE__DEVICE_CUDA:
        return SCHEDULER_CUDA;
    default:
        return SCHEDULER_ANY;
    }
}

// A training's ranks share the groups of its batch evenly; a soup or an export is one rank's work. `ranks` alone means
// exactly so many; with a smaller min_ranks (its default, 1, does not count) the run starts with what is free from
// there.
static struct scheduler_run wants_of(const struct run_live *live)
{
    const Islr__JobSpec *job = live->job;
    struct scheduler_run w = {.id = live->now.run, .priority = live->now.priority, .min_ranks = 1};
    w.last_ranks = live->last_ranks;
    if (!job)
        return w;
    if (live->now.joining) {
        w.max_ranks = 1;
        return w;
    }
    w.device = device_wanted(job);
    if (job->resources) {
        w.ranks = job->resources->ranks;
        w.min_ranks = job->resources->min_ranks;
    }
    if (w.ranks && w.min_ranks > 1 && w.min_ranks < w.ranks) {
        w.max_ranks = w.ranks;
        w.ranks = 0;
    }
    if (job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN && job->train && job->train->group)
        w.groups = job->train->batch / job->train->group;
    if (job->kind == ISLR__JOB_SPEC__KIND__KIND_SOUP || job->kind == ISLR__JOB_SPEC__KIND__KIND_EXPORT)
        w.max_ranks = 1;
    return w;
}

static void take_after(struct server *s, struct run *r, const struct run_live *live)
{
    r->after_any = live->after_any;
    r->after_groups = live->after_groups;
    r->after_count = live->after_count;
    r->after = xrealloc(r->after, live->after_count ? live->after_count : 1, sizeof *r->after);
    if (live->after_count)
        memcpy(r->after, live->after, live->after_count * sizeof *r->after);
    r->after_behind = 0;
    for (size_t i = 0; i < live->after_count && !live->broken_after; i++)
        r->after_behind |= !runs_find(&s->runs, live->after[i]);
    s->runs.behind |= r->after_behind;
    if (live->broken_after)
        attempt_cancel_for(s, r->id, live->broken_after);
}

// Loop time of a moment that the database remembers by the wall clock, 0: now. What seems to come from the future has
// just been.
static int64_t loop_time(const struct server *s, int64_t wall_ms)
{
    int64_t ago = wall_ms ? server_now_ms() - wall_ms : 0;
    return (int64_t)uv_now(s->loop) - (ago > 0 ? ago : 0);
}

static void take_gang(struct server *s, struct run *r, const struct run_live *live)
{
    if (!live->world)
        return;
    run_make_gang(s, r, xstrdup(live->world), live->gang_count);
    for (size_t i = 0; i < live->gang_count; i++) {
        r->gang[i].world_rank = live->gang[i];
        r->gang[i].taken = live->now.state != ISLR__RUN_STATE__RUN_STARTING;
    }
    r->has_resume = live->resumes;
    r->resume_hash = live->resume_hash;
    r->resume_size = live->resume_size;
    r->fold_count = live->fold_count;
    r->folds = xmalloc((live->fold_count + 1) * sizeof *r->folds);
    if (live->fold_count)
        memcpy(r->folds, live->folds, live->fold_count * sizeof *r->folds);
    if (live->now.state == ISLR__RUN_STATE__RUN_STARTING && live->job)
        r->job = spec_copy(live->job);
}

struct run *run_take(struct server *s, const struct run_live *live)
{
    struct run *r = runs_find(&s->runs, live->now.run);
    if (r)
        return r;
    r = xcalloc(1, sizeof *r);
    r->id = live->now.run;
    r->now = live->now;
    r->owner = users_take(&s->users, live->user);
    r->wants = wants_of(live);
    r->limit_ms = live->job && live->job->limits ? live->job->limits->minutes * 60e3 : 0;
    r->ran_ms = live->ran_ms;
    r->queued_at = loop_time(s, live->queued_ms);
    r->begun_at = loop_time(s, live->began_ms);
    r->gang_deadline = uv_now(s->loop) + s->lease_ms;
    insert(&s->runs, r);
    take_after(s, r, live);
    take_gang(s, r, live);
    schedule_soon(s);
    return r;
}

// What it waits for is always the database's word; the rest of a run that is known has followed its requests.
static void refresh(struct server *s, const struct run_live *live)
{
    struct run *r = runs_find(&s->runs, live->now.run);
    if (!r) {
        run_take(s, live);
        return;
    }
    take_after(s, r, live);
    schedule_soon(s);
}

struct fetch {
    struct read_job job;
    struct fetch *next;
    uint64_t run;
    int outdated; // the run has changed since it was begun
    struct run_live *live;
};

static struct fetch **find_fetch(struct runs *all, uint64_t run)
{
    struct fetch **at = &all->fetches[run % FETCH_BUCKETS];
    while (*at && (*at)->run != run)
        at = &(*at)->next;
    return at;
}

// The run has changed: what is being read of it may be of before. 0: nothing is.
static int outdate_fetch(struct runs *all, uint64_t run)
{
    struct fetch *f = *find_fetch(all, run);
    if (f)
        f->outdated = 1;
    return f != NULL;
}

static int fetch_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct fetch *f = (struct fetch *)job;
    return run_read_live(reader, f->run, &job->pool, &f->live, e);
}

static void fetch_done(struct read_job *job)
{
    struct fetch *f = (struct fetch *)job;
    struct runs *all = &job->base.server->runs;
    *find_fetch(all, f->run) = f->next; // there is one of a run
    if (f->outdated)
        run_fetch(job->base.server, f->run);
    else if (job->failed)
        log_error(job->base.server->log, "run %llu cannot be read: %s", (unsigned long long)f->run, job->error.text);
    else if (!run_state_ended(f->live->now.state))
        refresh(job->base.server, f->live);
}

void run_fetch(struct server *s, uint64_t id)
{
    if (outdate_fetch(&s->runs, id))
        return;
    struct fetch *f = read_job_new_for_server(s, sizeof *f);
    f->run = id;
    f->next = s->runs.fetches[id % FETCH_BUCKETS];
    s->runs.fetches[id % FETCH_BUCKETS] = f;
    f->job.read = fetch_read;
    f->job.done = fetch_done;
    read_job_start_on(&f->job, &f->run, 1);
}

// ---- changes --------------------------------------------------------------------------------------------------------

void run_make_gang(struct server *s, struct run *r, char *world, size_t count)
{
    r->world = world;
    r->gang = xcalloc(count, sizeof *r->gang);
    r->gang_count = count;
    r->next_live = s->runs.live;
    r->previous_live = NULL;
    if (r->next_live)
        r->next_live->previous_live = r;
    s->runs.live = r;
}

static void leave_live(struct server *s, struct run *r)
{
    if (r->next_live)
        r->next_live->previous_live = r->previous_live;
    if (r->previous_live)
        r->previous_live->next_live = r->next_live;
    else
        s->runs.live = r->next_live;
}

void run_release_gang(struct server *s, struct run *r)
{
    if (r->world)
        leave_live(s, r);
    for (size_t i = 0; i < r->gang_count; i++) {
        struct worker *w = r->gang[i].worker;
        if (w && w->run == r->id)
            worker_set_idle(w);
    }
    free(r->gang);
    free(r->world);
    r->gang = NULL;
    r->world = NULL;
    r->gang_count = 0;
    spec_free(r->job);
    r->job = NULL;
    schedule_soon(s);
}

struct gang_rank *run_rank_of(struct run *r, const char *world, uint32_t world_rank)
{
    if (!r->world || strcmp(r->world, world))
        return NULL;
    for (size_t i = 0; i < r->gang_count; i++)
        if (r->gang[i].world_rank == world_rank)
            return &r->gang[i];
    return NULL;
}

static int waits_for(const struct run *r, uint64_t other)
{
    for (size_t k = 0; k < r->after_count; k++)
        if (r->after[k] == other)
            return 1;
    return 0;
}

// A run has ended: those that wait for it may start now, or never can.
static void settle_dependents(struct server *s, uint64_t ended)
{
    for (size_t i = 0; i < s->runs.count; i++)
        if (waits_for(s->runs.items[i], ended))
            run_fetch(s, s->runs.items[i]->id);
}

void runs_tick(struct server *s)
{
    if (!s->runs.behind)
        return;
    s->runs.behind = 0;
    for (size_t i = 0; i < s->runs.count; i++) {
        const struct run *r = s->runs.items[i];
        if (r->after_behind && r->after_groups && s->ticks % GROUP_TICKS)
            s->runs.behind = 1; // groups tell of their end themselves: this is for those that ended in between
        else if (r->after_behind)
            run_fetch(s, r->id);
    }
}

void run_reload(struct server *s, struct run *r)
{
    uint64_t id = r->id;
    drop(s, r);
    run_fetch(s, id);
}

void run_stopped(struct server *s, const struct run_now *now)
{
    struct run *r = runs_find(&s->runs, now->run);
    if (r && r->gang_count) {
        r->now = *now;
        attempt_stop(s, r);
    }
    run_update(s, now);
}

// Attempts that failed in a row wait longer and longer before the next one: 0, 1, 3, 7, .. up to 60 s.
static uint64_t pause_ms(uint32_t tries)
{
    if (tries < 2)
        return 0;
    return tries > 7 ? 60000 : ((1u << (tries - 1)) - 1) * 1000u;
}

// What an attempt that has ended leaves behind.
static void after_attempt(struct server *s, struct run *r)
{
    int64_t now = (int64_t)uv_now(s->loop);
    double took_ms = (double)(now - r->begun_at);
    usage_add(&r->owner->usage, took_ms / 1e3 * (double)r->gang_count, now);
    r->ran_ms += took_ms;
    r->wants.last_ranks = (uint32_t)r->gang_count;
    r->stop_asked = 0;
    run_release_gang(s, r);
    r->ready_at = (uint64_t)now + pause_ms(r->now.tries);
    collect_soon(s);
}

void run_update(struct server *s, const struct run_now *now)
{
    struct run *r = runs_find(&s->runs, now->run);
    outdate_fetch(&s->runs, now->run);
    if (r) {
        int was_queued = r->now.state == ISLR__RUN_STATE__RUN_QUEUED;
        r->now = *now;
        r->wants.priority = now->priority;
        if (now->state == ISLR__RUN_STATE__RUN_RUNNING) {
            spec_free(r->job); // every rank has it
            r->job = NULL;
        }
        if (r->world && !run_state_live(now->state))
            after_attempt(s, r);
        if (now->state == ISLR__RUN_STATE__RUN_QUEUED && !was_queued)
            r->queued_at = (int64_t)uv_now(s->loop);
    } else if (!run_state_ended(now->state) && (!now->group || now->joining)) {
        run_fetch(s, now->run); // it has come back to life
    }
    follow_wake(s, now->run);
    if (run_state_ended(now->state)) {
        if (r)
            drop(s, r);
        wait_wake(s, now);
        settle_dependents(s, now->run);
    }
    if (now->parent)
        group_changed(s, now->parent);
    schedule_soon(s);
}

void run_show_live(struct server *s, Islr__RunSummary *summary, struct pool *pool)
{
    struct run *r = runs_find(&s->runs, summary->run);
    if (!r)
        return;
    if (!summary->group && r->step > summary->step)
        summary->step = r->step;
    if (!summary->group && r->steps)
        summary->steps = r->steps;
    if (summary->state == ISLR__RUN_STATE__RUN_QUEUED && r->now.state == ISLR__RUN_STATE__RUN_QUEUED)
        summary->reason = schedule_explain(s, r, pool);
}
