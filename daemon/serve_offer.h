// What the scheduler is asked about: the ranks that are there, the runs that have them, those that wait, their users.
#ifndef ISLR_DAEMON_SERVE_OFFER_H
#define ISLR_DAEMON_SERVE_OFFER_H

#include "daemon/serve_scheduler.h"

struct run;
struct server;
struct worker;

// Each list is of what stands beside it, in the same order.
struct offer {
    struct scheduler_input input;
    struct worker **workers; // of input.ranks
    struct run **busy;       // of input.busy
    struct run **waiting;    // of input.runs
    size_t free;             // ranks
    int64_t ready_ms;        // until a run is ready that must not start yet, -1: none
};

struct offer *offer_make(struct server *s);
void offer_free(struct offer *o);

// Whether there is anything to decide: a rank is free, or a waiting run has a higher priority than one that runs.
int offer_is_open(const struct offer *o);

#endif
