// Whose turn it is: the order in which the scheduler comes to the runs that wait. Private to the scheduler; the rules
// are in serve_scheduler.h.
#ifndef ISLR_DAEMON_SERVE_TURN_H
#define ISLR_DAEMON_SERVE_TURN_H

#include "daemon/serve_scheduler.h"

// One user's runs of equal points, oldest first.
struct turn_line {
    const struct turn *next, *end;
    const struct scheduler_user *user;
};

struct turns {
    const struct scheduler_user *users;
    struct turn *items; // by points, then user, then age
    size_t count, at;
    struct turn_line *lines; // a heap of the lines of the points at hand, the least served user on top
    size_t line_count;
};

// `users` may change while the turns are taken; a user's runs and ranks only by what the run just taken was given.
struct turns turns_make(const struct scheduler_input *in, const struct scheduler_user *users);
const struct scheduler_run *turns_next(struct turns *t); // NULL: all have had their turn
void turns_free(struct turns *t);

int64_t turn_next_point_ms(const struct scheduler_run *r); // until its waiting brings it another point, -1: never

#endif
