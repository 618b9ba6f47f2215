// DIR/metrics.jsonl: one JSON object a line for each step and each evaluation (interface.md).
#ifndef ISLR_TRAIN_JOURNAL_H
#define ISLR_TRAIN_JOURNAL_H

#include <stdio.h>

#include "core/base/error.h"
#include "core/train/sink.h"

struct journal {
    FILE *stream;
    char *path;
};

// Goes on with the file after `step` (0: begins anew): what it says of later steps is of a run that was cut off, and is
// dropped.
int journal_open(struct journal *j, const char *path, uint64_t step, struct error *e);
// A figure that is not finite, or not there (the gradient of a step that fp16 skipped), is null.
void journal_write(struct journal *j, const struct sink_metrics *m);
int journal_flush(struct journal *j, struct error *e); // to the file system; also reports failed writes
void journal_close(struct journal *j);

#endif
