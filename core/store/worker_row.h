// What the database remembers of workers: who was there, for `workers` of the past and for attempts' hosts. Who is
// there now is the server's memory.
#ifndef ISLR_STORE_WORKER_ROW_H
#define ISLR_STORE_WORKER_ROW_H

#include <stdint.h>

#include "core/store/store.h"
#include "proto/control.pb-c.h"

// A rank has registered; one that comes back keeps its row.
struct worker_seen {
    struct store_op op;
    const Islr__Register *who;
    const char *user;
    int64_t time_ms;
    // result
    uint64_t id;
};
void worker_seen_prepare(struct worker_seen *r);

struct worker_gone {
    struct store_op op;
    uint64_t id;
    int64_t time_ms;
};
void worker_gone_prepare(struct worker_gone *r);

#endif
