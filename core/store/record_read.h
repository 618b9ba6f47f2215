// Reading a run's records in the order of their sequence: what followers, `logs` and `metrics` get.
#ifndef ISLR_STORE_RECORD_READ_H
#define ISLR_STORE_RECORD_READ_H

#include <stdint.h>

#include "core/store/pool.h"
#include "core/store/state.h"
#include "core/store/store.h"

struct record_query {
    uint64_t run;
    uint64_t after_seq; // those behind it
    int logs, metrics;  // which are wanted; state changes always are
    size_t bytes_max;   // stop before the packed records would be larger (one record always fits)
};

// A consistent piece of a run's records.
struct record_page {
    Islr__Record **records; // in the pool
    size_t count;
    uint64_t reached;     // go on behind this seq; records of kinds not wanted are passed over too
    int more;             // there are records behind it
    Islr__RunState state; // of the run, when this was read
    char *reason;
    uint64_t last_seq;
};
// ERR_NOT_FOUND: no such run. ERR_DAMAGED: a block of metrics cannot be read.
int record_read(struct store_reader *reader, const struct record_query *query, struct pool *pool,
                struct record_page *out, struct error *e);

#endif
