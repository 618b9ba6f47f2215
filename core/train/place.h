// A run's directory before the run begins: what an earlier one has left there, whether that has ended, and its removal.
// Of rank 0 alone.
#ifndef ISLR_TRAIN_PLACE_H
#define ISLR_TRAIN_PLACE_H

#include "core/base/error.h"
#include "core/base/hash.h"
#include "proto/job.pb-c.h"

// For commands, before anything is done for the job: whether it may use `dir`. ERR_INVALID: a run is there, and it is
// not to be gone on with (`resume`), or is of another job. *ended: it is this job's, it is done and its final files are
// whole; what a kill in its last moment has left in resume/ is removed then.
int place_check(const char *dir, const Islr__JobSpec *job, int resume, int *ended, struct error *e);

// Whether a run of this job has ended in `dir`, on the data of that hash (NULL: on whichever): its summary is there,
// and every file that the summary lists is as listed.
int place_ended(const char *dir, const Islr__JobSpec *job, const struct hash *set);

// Removes what a run leaves (interface.md), of one fold or of all, and nothing else. A crash within leaves no summary.
int place_clear(const char *dir, struct error *e);

#endif
