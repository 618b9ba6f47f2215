// Whether ranks get anywhere: see serve_health.h.
#include "daemon/serve_health.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/pool.h"
#include "core/store/text.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum {
    QUIET_SHOWN_MS = 10000, // from here on it is worth a word
    NAMED_MAX = 4           // ranks in one sentence
};

// ---- what a rank says -----------------------------------------------------------------------------------------------

// "rank 3 (host node7, pid 4711)"
static void name_rank(struct strbuf *b, const struct worker *w)
{
    strbuf_printf(b, "rank %u (host %s, pid %u)", w->rank, w->facts->host, w->facts->pid);
}

static void add_wait(struct strbuf *b, const struct worker *w)
{
    const struct health *h = &w->health;
    const struct worker *other =
        h->waits_for >= 0 && (uint32_t)h->waits_for < w->world->size ? w->world->ranks[h->waits_for] : NULL;
    strbuf_printf(b, "waits %u s in %s", health_quiet_ms(w) / 1000, h->waits);
    if (h->waits_for >= 0)
        strbuf_printf(b, " for rank %d", h->waits_for);
    if (other && strcmp(other->facts->host, w->facts->host))
        strbuf_printf(b, " on %s", other->facts->host);
    if (h->waits_more)
        strbuf_printf(b, " and %u more", h->waits_more);
    if (*w->doing)
        strbuf_printf(b, " (%s, step %llu)", w->doing, (unsigned long long)w->step);
}

static struct run *run_of(struct server *s, const struct worker *w, uint64_t run, uint32_t attempt)
{
    struct run *r = runs_find(&s->runs, run);
    return r && r->now.attempt == attempt && run_rank_of(r, w->world->name, w->rank) ? r : NULL;
}

// The gang's ranks are about to end, or to find each other again: no work for them meanwhile.
static void lose(struct server *s, struct run *r, const char *reason, const char *lines)
{
    for (size_t i = 0; i < r->gang_count; i++)
        if (r->gang[i].worker)
            worker_shun(r->gang[i].worker);
    log_warn(s->log, "run %llu: %s", (unsigned long long)r->id, reason);
    attempt_lost(s, r, reason, lines);
}

static void lose_stuck(struct server *s, struct run *r, const struct worker *w, const Islr__Pulse *p)
{
    struct strbuf reason = {0}, lines = {0};
    name_rank(&reason, w);
    strbuf_printf(&lines, "%s is stuck; its threads:\n%s", reason.text, p->stacks ? p->stacks : "");
    strbuf_printf(&reason, " is stuck: it has done nothing for %u s (%s, step %llu)", p->quiet_ms / 1000,
                  p->doing && *p->doing ? p->doing : "at the start", (unsigned long long)p->step);
    if (p->waits && *p->waits)
        strbuf_printf(&reason, " inside MPI, in %s", p->waits);
    if (p->where && *p->where)
        strbuf_printf(&reason, ", at %s", p->where);
    lose(s, r, reason.text, lines.text);
    free(reason.text);
    free(lines.text);
}

void handle_pulse(struct session *session, Islr__Envelope *m)
{
    const Islr__Pulse *p = m->pulse;
    struct worker *w = session->worker;
    struct server *s = session->server;
    struct run *r = w ? run_of(s, w, p->run, p->attempt) : NULL;
    if (!r) { // it is told to abandon that attempt
        attempt_refuse_foreign(session, m, p->run, p->attempt);
        return;
    }
    w->step = p->step > w->step ? p->step : w->step;
    if (p->doing && *p->doing)
        text_fit(w->doing, sizeof w->doing, p->doing);
    w->health = (struct health){.told = uv_now(s->loop),
                                .quiet_ms = p->quiet_ms,
                                .waits_for = p->has_waits_for ? (int)p->waits_for : -1,
                                .waits_more = p->waits_more};
    text_fit(w->health.waits, sizeof w->health.waits, p->waits ? p->waits : "");
    if (p->stuck)
        lose_stuck(s, r, w, p);
}

uint32_t health_quiet_ms(const struct worker *w)
{
    uint64_t since = w->health.told ? uv_now(w->server->loop) - w->health.told : 0;
    return w->health.quiet_ms + (uint32_t)since;
}

// ---- ranks that wait for each other ---------------------------------------------------------------------------------

static int all_wait(const struct server *s, const struct run *r)
{
    for (size_t i = 0; i < r->gang_count; i++) {
        const struct worker *w = r->gang[i].worker;
        if (!w || !w->session || !w->health.told || !*w->health.waits || w->health.quiet_ms < s->hang_ms)
            return 0;
    }
    return r->gang_count > 0;
}

static void lose_deadlocked(struct server *s, struct run *r)
{
    struct strbuf b = {0};
    strbuf_printf(&b, "no rank gets anywhere: ");
    for (size_t i = 0; i < r->gang_count && i < NAMED_MAX; i++) {
        strbuf_printf(&b, "%s", i ? "; " : "");
        name_rank(&b, r->gang[i].worker);
        strbuf_printf(&b, " ");
        add_wait(&b, r->gang[i].worker);
    }
    if (r->gang_count > NAMED_MAX)
        strbuf_printf(&b, "; and %zu more", r->gang_count - NAMED_MAX);
    lose(s, r, b.text, NULL);
    free(b.text);
}

void health_tick(struct server *s)
{
    if (!s->hang_ms)
        return;
    for (size_t i = 0; i < s->runs.count; i++) {
        struct run *r = s->runs.items[i];
        if (!r->busy && run_state_live(r->now.state) && all_wait(s, r))
            lose_deadlocked(s, r);
    }
}

// ---- for people -----------------------------------------------------------------------------------------------------

static void describe(const struct worker *w, struct strbuf *b)
{
    const struct server *s = w->server;
    uint64_t now = uv_now(s->loop);
    uint64_t silent = w->session ? peer_silent_ms(w->session->peer) : 0;
    if (!w->session)
        strbuf_printf(b, "away: its connection is lost; given up in %llu s",
                      (unsigned long long)(w->deadline > now ? (w->deadline - now + 999) / 1000 : 0));
    else if (w->leaving)
        strbuf_printf(b, "is about to end");
    else if (silent > s->lease_ms / 2)
        strbuf_printf(b, "not heard of for %llu s", (unsigned long long)silent / 1000);
    else if (w->run && w->health.told && health_quiet_ms(w) > QUIET_SHOWN_MS && *w->health.waits)
        add_wait(b, w);
    else if (w->run && w->health.told && health_quiet_ms(w) > QUIET_SHOWN_MS)
        strbuf_printf(b, "has done nothing for %u s (%s, step %llu)", health_quiet_ms(w) / 1000,
                      *w->doing ? w->doing : "at the start", (unsigned long long)w->step);
}

const char *health_text(const struct worker *w, char text[HEALTH_TEXT])
{
    struct strbuf b = {0};
    describe(w, &b);
    text_fit(text, HEALTH_TEXT, b.text ? b.text : "ok");
    free(b.text);
    return text;
}

static void add_note(struct pool *pool, char **notes, size_t *count, const char *text)
{
    if (*count < NOTES_MAX)
        notes[(*count)++] = pool_text(pool, text);
}

// The ranks of a world that have not come, or are away: "2, 3, 7 and 5 more".
static uint32_t add_missing(struct strbuf *b, const struct world *world)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < world->size; i++) {
        const struct worker *w = world->ranks[i];
        if ((w && w->session && !w->dead) || missing++ >= NAMED_MAX)
            continue;
        strbuf_printf(b, "%s%u", missing > 1 ? ", " : "", i);
        if (w)
            strbuf_printf(b, " (host %s, pid %u)", w->facts->host, w->facts->pid);
    }
    if (missing > NAMED_MAX)
        strbuf_printf(b, " and %u more", missing - NAMED_MAX);
    return missing;
}

static void note_world(const struct server *s, const struct world *world, struct pool *pool, char **notes,
                       size_t *count)
{
    uint64_t late = world->incomplete_since ? uv_now(s->loop) - world->incomplete_since : 0;
    struct strbuf b = {0};
    if (late < s->lease_ms)
        return;
    strbuf_printf(&b, "world %.8s of %u ranks lacks ", world->name, world->size);
    uint32_t missing = add_missing(&b, world);
    strbuf_printf(&b, ", for %llu s: it is given no work", (unsigned long long)late / 1000);
    if (missing) // else it is shunned for a moment
        add_note(pool, notes, count, b.text);
    free(b.text);
}

static void note_ranks(const struct world *world, struct pool *pool, char **notes, size_t *count)
{
    for (uint32_t i = 0; i < world->size; i++) {
        const struct worker *w = world->ranks[i];
        struct strbuf wrong = {0}, b = {0};
        if (w)
            describe(w, &wrong);
        if (wrong.text) {
            name_rank(&b, w);
            strbuf_printf(&b, " of world %.8s %s", world->name, wrong.text);
            add_note(pool, notes, count, b.text);
        }
        free(wrong.text);
        free(b.text);
    }
}

char **health_notes(const struct server *s, struct pool *pool, size_t *count)
{
    char **notes = pool_alloc(pool, NOTES_MAX * sizeof *notes);
    *count = 0;
    if (schedule_draining(&s->schedule)) {
        char *text = xprintf("no more runs are started: %s (islrctl resume-scheduling)", s->schedule.drained);
        add_note(pool, notes, count, text);
        free(text);
    }
    for (const struct world *world = s->workers.first; world; world = world->next) {
        note_world(s, world, pool, notes, count);
        note_ranks(world, pool, notes, count);
    }
    return notes;
}
