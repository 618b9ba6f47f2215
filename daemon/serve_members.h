// The runs of a group, made from what was submitted. Knows neither loop nor database: a large sweep is worked out in the
// pool.
#ifndef ISLR_DAEMON_SERVE_MEMBERS_H
#define ISLR_DAEMON_SERVE_MEMBERS_H

#include "core/store/run.h"

struct members {
    enum run_group group; // of the submission: RUN_ALONE has no members
    struct run_member *items;
    Islr__JobSpec **jobs; // of the items
    size_t count;
    size_t direct; // those that belong to the submitted run itself
};

// The job is complete and valid. ERR_INVALID: faults of its variations, all of them named by their labels.
int members_make(const Islr__Submit *q, struct members *m, struct error *e);
void members_free(struct members *m);

#endif
