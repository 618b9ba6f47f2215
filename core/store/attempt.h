// The end of an attempt inside the writer's transaction. Private to core/store.
#ifndef ISLR_STORE_ATTEMPT_H
#define ISLR_STORE_ATTEMPT_H

#include "core/store/db.h"
#include "core/store/run.h"

// Ends the current attempt of a run that is under way and moves the run on as run_state_after_attempt() says; of a run
// that has succeeded the resume points go. Updates *row.
int attempt_close(struct db *db, struct run_now *row, enum attempt_outcome outcome, int retryable, const char *reason,
                  int64_t time_ms, struct error *e);

#endif
