// When the scheduler is asked, and what comes of its answers.
#ifndef ISLR_DAEMON_SERVE_SCHEDULE_H
#define ISLR_DAEMON_SERVE_SCHEDULE_H

#include <uv.h>

struct server;

struct schedule {
    uv_timer_t timer;
};

void schedule_open(struct server *s);
void schedule_soon(struct server *s); // once for all that happens until the loop comes round
void schedule_close(struct server *s, uv_close_cb closed);

#endif
