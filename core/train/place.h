// A run's directory before the run begins: what an earlier one has left there, whether it has ended, and its removal. Of
// rank 0 alone. Calls nothing a run's that no run would have written there.
#ifndef ISLR_TRAIN_PLACE_H
#define ISLR_TRAIN_PLACE_H

#include "core/base/error.h"
#include "proto/job.pb-c.h"

// For commands, before anything is done for the job: whether it may use `dir`. ERR_INVALID: `dir` holds a run, and none of
// this job's settings, or it is not to be gone on with (`resume`). *ended: it is this job's, done, and its final files are
// whole; what a kill in its last moment has left of resume/ is gone then.
int place_check(const char *dir, const Islr__JobSpec *job, int resume, int *ended, struct error *e);

// Whether a run of this job has ended in `dir`: its summary is there, and every file that the summary lists is as listed.
int place_ended(const char *dir, const Islr__JobSpec *job);

// Removes what a run leaves (interface.md), of one fold or of all, and nothing else. A crash within leaves no summary.
int place_clear(const char *dir, struct error *e);

#endif
