// When the scheduler is asked, and what comes of its answers. It is asked when something has happened that may let a run
// start, and at the moments that it names itself: a queue that waits costs nothing.
#ifndef ISLR_DAEMON_SERVE_SCHEDULE_H
#define ISLR_DAEMON_SERVE_SCHEDULE_H

#include <uv.h>

#include "core/store/pool.h"

struct run;
struct server;

#define DRAINING_SETTING "draining" // in the database: by whom, "": not

struct schedule {
    char drained[128]; // nothing new is started: by whom; "": scheduling goes on
    uv_timer_t timer;
    int soon;            // the timer is set for what has just happened, not for a later moment
    uint64_t rest_until; // loop time: no pass before
    int told;            // every waiting run's `answer` is of now
    size_t ranks;        // of complete worlds, when the scheduler was last asked
};

void schedule_open(struct server *s);
void schedule_set_draining(struct schedule *s, const char *setting); // the setting's value
int schedule_draining(const struct schedule *s);
void schedule_soon(struct server *s); // once for all that happens until the loop comes round
char *schedule_explain(struct server *s, const struct run *r, struct pool *pool); // why a queued run waits
void schedule_close(struct server *s, uv_close_cb closed);

#endif
