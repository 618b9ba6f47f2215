// Waiting for runs to end, for wait and submit --wait.
#ifndef ISLR_CLIENT_WAIT_H
#define ISLR_CLIENT_WAIT_H

#include <stdbool.h>

#include "client/server.h"

struct wait_end {
    uint64_t run;
    bool ended;
    Islr__RunState state; // once ended
    char reason[400];
};

// Fills in the ends of all runs. until: ERR_TIMEOUT at that time (clock_seconds()), 0: never. patient: the first connection
// too is tried until it stands. SIGINT and SIGTERM: ERR_INTERRUPTED.
int wait_runs(const struct server *s, struct wait_end *ends, size_t count, double until, bool patient, struct error *e);

#endif
