// Writing a run's metrics inside the writer's transaction: blocks, newest values, the run's step. Private to
// core/store.
#ifndef ISLR_STORE_METRIC_WRITE_H
#define ISLR_STORE_METRIC_WRITE_H

#include <stdint.h>

#include "core/store/db.h"
#include "core/store/metric_block.h"
#include "proto/control.pb-c.h"

// Collects the records of one message and writes them as one block.
struct metric_writer;
struct metric_writer *metric_writer_open(struct db *db, uint64_t run, uint32_t attempt);
int metric_writer_add(struct metric_writer *w, uint64_t seq, int64_t time_ms, const Islr__MetricPoint *m,
                      struct error *e);
// Frees w. write: puts down what was collected; *step is set to the newest one's, 0 when there is none.
int metric_writer_close(struct metric_writer *w, int write, uint64_t *step, struct error *e);

#endif
