// Checkpoints that nobody needs any more. Of a run that has ended stay: everything final; what is pinned or an ingredient
// of a soup; of its epochs the job's checkpoint.keep_latest newest and keep_best most accurate. An earlier attempt's file
// goes where a later one has made the same. Nothing is taken from a run that can still be gone on with (it has a resume
// point), whose group has not ended, or that the job of a run which has not ended names.
#ifndef ISLR_STORE_GC_H
#define ISLR_STORE_GC_H

#include <stdint.h>

#include "core/store/pool.h"
#include "core/store/store.h"
#include "proto/control.pb-c.h"

struct gc_found {
    Islr__CheckpointInfo **items; // in the pool: id, run, what, epoch, step, sha256, size_bytes, time_ms
    size_t count;
    uint64_t bytes; // of artifacts that nothing else refers to
};

// as_user NULL: all users' runs.
int gc_find(struct store_reader *reader, const char *as_user, struct pool *pool, struct gc_found *out, struct error *e);

// Finds and removes them in one transaction. Their artifacts are collected after (artifact_row.h).
struct gc_run {
    struct store_op op;
    const char *as_user;
    // results, in the pool, which is the caller's to free
    struct pool pool;
    struct gc_found found;
};
void gc_run_prepare(struct gc_run *r);

#endif
