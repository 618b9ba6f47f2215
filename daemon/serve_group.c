// Groups of runs: see serve_group.h.
#include "daemon/serve_group.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "daemon/serve_read.h"
#include "daemon/serve_server.h"

struct group_look {
    struct group_look *next;
    uint64_t group;
    int again; // a member has changed since the look began
};

struct look {
    struct read_job job;
    struct group_look *of;
    struct run_now now;
    int progress; // somebody follows it
    Islr__RunSummary *summary;
};

enum { PROGRESS_MS = 1000 };

static void start(struct server *s, struct group_look *g);

static void forget(struct server *s, struct group_look *g)
{
    struct group_look **at = &s->groups;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    free(g);
}

static int look_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct look *l = (struct look *)job;
    if (run_read_now(reader, l->of->group, &l->now, e))
        return -1;
    return l->progress ? run_read_summary(reader, l->of->group, &job->pool, &l->summary, e) : 0;
}

static void tell_progress(struct server *s, const Islr__RunSummary *g)
{
    char doing[64];
    Islr__Progress p = ISLR__PROGRESS__INIT;
    p.has_run = p.has_step = p.has_steps = p.has_clips_per_second = 1;
    p.run = g->run;
    p.step = g->step;
    p.steps = g->steps;
    for (const struct run *r = s->runs.live; r; r = r->next_live)
        p.clips_per_second += r->now.parent == g->run ? r->clips_per_second : 0;
    snprintf(doing, sizeof doing, "%u of %u runs at work, %u done", g->children_running, g->children,
             g->children_ended);
    p.doing = doing;
    follow_progress(s, g->run, &p);
}

static void look_done(struct read_job *job)
{
    struct look *l = (struct look *)job;
    struct group_look *g = l->of;
    struct server *s = job->base.server;
    if (g->again && !s->stopping)
        start(s, g);
    else
        forget(s, g);
    if (job->failed)
        log_error(s->log, "group %llu cannot be read: %s", (unsigned long long)l->now.run, job->error.text);
    else if (runs_find(&s->runs, l->now.run))
        follow_wake(s, l->now.run); // it is being worked on: memory is newer than this look
    else
        run_update(s, &l->now);
    if (!job->failed && l->summary && !run_state_ended(l->now.state))
        tell_progress(s, l->summary);
}

static void start(struct server *s, struct group_look *g)
{
    struct look *l = read_job_new_for_server(s, sizeof *l);
    g->again = 0;
    l->of = g;
    l->now.run = g->group;
    l->progress = follow_wants_progress(s, g->group);
    l->job.read = look_read;
    l->job.done = look_done;
    read_job_start_on(&l->job, &g->group, 1);
}

void group_changed(struct server *s, uint64_t group)
{
    for (struct group_look *g = s->groups; g; g = g->next)
        if (g->group == group) {
            g->again = 1;
            return;
        }
    struct group_look *g = xcalloc(1, sizeof *g);
    g->group = group;
    g->next = s->groups;
    s->groups = g;
    start(s, g);
}

void group_progressed(struct server *s, struct run *member)
{
    uint64_t now = uv_now(s->loop);
    if (!member->now.parent || now - member->group_told_at < PROGRESS_MS ||
        !follow_wants_progress(s, member->now.parent))
        return;
    member->group_told_at = now;
    group_changed(s, member->now.parent);
}
