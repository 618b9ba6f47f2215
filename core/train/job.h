// Jobs of every kind, for `islrd run` and `islrd work` alike.
#ifndef ISLR_TRAIN_JOB_H
#define ISLR_TRAIN_JOB_H

#include "core/train/train.h"

// Runs a complete and valid job. Collective, with the errors of train_run(); the kinds other than train do their work on
// rank 0 (but for preparation, which all ranks share) and leave in dir:
//   prepare: set.islr    evaluate: evaluation.json    soup: final/soup.safetensors
int job_run(const struct train_options *o, struct error *e);

#endif
