// Live screens (Watch): whoever watches is told that something has changed and asks for what he shows. Nothing is polled,
// and watchers of a server where nothing happens cost nothing.
#ifndef ISLR_DAEMON_SERVE_WATCH_H
#define ISLR_DAEMON_SERVE_WATCH_H

#include <stdint.h>
#include <uv.h>

struct server;
struct session;
struct watcher;

struct watches {
    struct watcher *first;
    uint64_t version; // of all that lists and the status show; never 0
    uint64_t news;    // that version at the last change that is more than progress
    uv_timer_t timer; // for the next answer that is due
    uint64_t due;     // when it fires, while it is active
};

enum watch_change {
    WATCH_PROGRESS, // a run has got further
    WATCH_NEWS      // a run's state, the queue, the ranks
};

void watch_open(struct server *s);
void watch_close(struct server *s, uv_close_cb closed);
void watch_changed(struct server *s, enum watch_change what);
void watch_forget(struct session *session); // its connection is gone

#endif
