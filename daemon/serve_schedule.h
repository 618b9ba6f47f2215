// When the scheduler is asked, and what comes of its answers.
#ifndef ISLR_DAEMON_SERVE_SCHEDULE_H
#define ISLR_DAEMON_SERVE_SCHEDULE_H

#include <uv.h>

#include "core/store/pool.h"

struct run;
struct server;

struct schedule {
    uv_timer_t timer;
    size_t ranks, free; // of complete worlds, when the scheduler was last asked
};

void schedule_open(struct server *s);
void schedule_soon(struct server *s); // once for all that happens until the loop comes round
char *schedule_explain(const struct server *s, const struct run *r, struct pool *pool); // why a queued run waits
void schedule_close(struct server *s, uv_close_cb closed);

#endif
