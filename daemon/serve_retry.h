// Requests to the store that must happen, whatever ails the disk: tried again until they are done.
#ifndef ISLR_DAEMON_SERVE_RETRY_H
#define ISLR_DAEMON_SERVE_RETRY_H

#include <uv.h>

#include "core/store/store.h"

struct server;

enum { RETRY_MS = 1000 };

struct retries {
    uv_timer_t timer;
    struct store_op *first; // waiting, linked by `next`
};

void retry_open(struct server *s);
// In an op's `done`: true when it met trouble and will be queued again (`done` comes once more); false: it is settled,
// one way or the other. When the server stops it is settled with the trouble.
int retry_later(struct server *s, struct store_op *op);
void retry_stop(struct server *s); // settles all that wait
void retry_close(struct server *s, uv_close_cb closed);

#endif
