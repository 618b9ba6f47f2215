// A run's row inside the writer's transaction: reading it, changing its state. Private to core/store.
#ifndef ISLR_STORE_RUN_ROW_H
#define ISLR_STORE_RUN_ROW_H

#include "core/store/db.h"
#include "core/store/run.h"

// ERR_NOT_FOUND when there is none.
int run_row_load(struct db *db, uint64_t run, struct run_now *out, struct error *e);

// When something happens to a run: `time_ms`, but never before its last change. The clock of a server may be set back,
// also between two starts.
int64_t run_row_time(const struct run_now *row, int64_t time_ms);

// Changes the state: the row, an event, and a record with the run's next sequence number. Updates *row. A change that
// state.h does not allow is a refusal, "run 7 is running: ...". The group that it belongs to (row->parent) is settled.
int run_row_change(struct db *db, struct run_now *row, Islr__RunState to, const char *reason, int64_t time_ms,
                   struct error *e);

// The same whatever state.h says: for groups, whose states follow from their members'.
int run_row_put(struct db *db, struct run_now *row, Islr__RunState to, const char *reason, int64_t time_ms,
                struct error *e);

// Only an event ("priority 5 set by ann"), no record.
int run_row_event(struct db *db, const struct run_now *row, const char *text, int64_t time_ms, struct error *e);

#endif
