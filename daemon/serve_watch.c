// Live screens: see serve_watch.h.
#include "daemon/serve_watch.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum {
    GATHER_MS = 50, // what comes together is told once
    NEWS_MS = 250,  // between two answers to one connection
    PROGRESS_MS = 1000
};

struct watcher {
    struct watcher *next;
    struct session *session; // its connection is there as long as the watcher is
    uint64_t id;
    uint64_t seen;
    uint64_t since; // loop time
};

static void free_watcher(struct watcher *w)
{
    session_drop_standing(w->session);
    free(w);
}

// Loop time at which it is to be answered, as things stand.
static uint64_t due_at(const struct watches *all, const struct watcher *w)
{
    uint64_t told = w->session->told_changed_at;
    if (w->seen == all->version)
        return w->since + RPC_WATCH_MS;
    if (!told || !w->seen)
        return w->since;
    return told + (w->seen < all->news ? NEWS_MS : PROGRESS_MS);
}

static void answer(struct server *s, struct watcher *w)
{
    Islr__Changed changed = ISLR__CHANGED__INIT;
    Islr__Envelope m = ENVELOPE(CHANGED, changed, &changed);
    changed.has_version = 1;
    changed.version = s->watches.version;
    w->session->told_changed_at = uv_now(s->loop);
    session_reply(w->session, w->id, &m);
    free_watcher(w);
}

static void told(uv_timer_t *timer);

// Has the timer fire by then.
static void fire_by(struct server *s, uint64_t due)
{
    struct watches *all = &s->watches;
    uint64_t now = uv_now(s->loop);
    if (s->stopping || (uv_is_active((const uv_handle_t *)&all->timer) && all->due <= due))
        return;
    all->due = due;
    uv_timer_start(&all->timer, told, due > now ? due - now : 0, 0);
}

static void told(uv_timer_t *timer)
{
    struct server *s = timer->data;
    struct watches *all = &s->watches;
    uint64_t now = uv_now(s->loop), next = UINT64_MAX;
    for (struct watcher **at = &all->first, *w; (w = *at);) {
        uint64_t due = due_at(all, w);
        if (due <= now) {
            *at = w->next;
            answer(s, w);
        } else {
            next = due < next ? due : next;
            at = &w->next;
        }
    }
    if (all->first)
        fire_by(s, next);
}

void watch_changed(struct server *s, enum watch_change what)
{
    struct watches *all = &s->watches;
    all->version++;
    if (what == WATCH_NEWS)
        all->news = all->version;
    if (all->first)
        fire_by(s, uv_now(s->loop) + GATHER_MS);
}

void watch_open(struct server *s)
{
    s->watches.version = s->watches.news = 1;
    uv_timer_init(s->loop, &s->watches.timer);
    s->watches.timer.data = s;
}

void watch_close(struct server *s, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&s->watches.timer, closed);
}

static struct watcher **find(struct server *s, const struct session *session)
{
    struct watcher **at = &s->watches.first;
    while (*at && (*at)->session != session)
        at = &(*at)->next;
    return at;
}

void watch_forget(struct session *session)
{
    struct watcher **at = find(session->server, session), *w = *at;
    if (!w)
        return;
    *at = w->next;
    free_watcher(w);
}

void handle_watch(struct session *session, Islr__Envelope *m)
{
    struct server *s = session->server;
    struct error e;
    if (*find(s, session)) {
        error_set(&e, ERR_INVALID, "this connection watches already");
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct watcher *w = xcalloc(1, sizeof *w);
    w->session = session_hold_standing(session);
    w->id = m->id;
    w->seen = m->watch->seen;
    w->since = uv_now(s->loop);
    w->next = s->watches.first;
    s->watches.first = w;
    fire_by(s, due_at(&s->watches, w));
}
