// What users have had of the machine: the attempts on their runs, from which fair shares follow (serve_user.h). Nothing
// is summed up in the database, so nothing there can disagree with the attempts.
#ifndef ISLR_STORE_USAGE_H
#define ISLR_STORE_USAGE_H

#include <stdint.h>

#include "core/store/pool.h"
#include "core/store/store.h"

struct usage_row {
    const char *user;
    int32_t priority;
    uint32_t ranks;
    int64_t started_ms, ended_ms; // ended_ms 0: under way
};

// All attempts that are under way or ended at or after since_ms, in no order; in the pool.
int usage_read(struct store_reader *reader, int64_t since_ms, struct pool *pool, struct usage_row **rows, size_t *count,
               struct error *e);

#endif
