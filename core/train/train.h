// A training run from its job to its final files (interface.md, "What a training run leaves"): alone or data-parallel over
// the ranks of a communicator.
#ifndef ISLR_TRAIN_TRAIN_H
#define ISLR_TRAIN_TRAIN_H

#include "core/comm/comm.h"
#include "core/train/sink.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

struct train_options {
    const Islr__JobSpec *job; // complete and valid (core/spec), kind train
    struct comm *comm;
    struct backend *backend; // of this rank
    const struct run_sink *sink;
    const char *dir; // of the run's files; used on rank 0 alone
    int threads;     // for preparation; 0: all cores
    // Go on from the newest resume point in dir, if there is one. Else what an earlier run has left there is removed,
    // once data and world have been found to do (place.h).
    int resume;
    int join; // data.fold "all": the folds have been trained, and what they left is in dir/fold-N: only join it
};

// Collective. 0: done. ERR_INTERRUPTED: sink->should_stop() said so on some rank, and a resume point was saved.
// ERR_INVALID: the job does not fit the data or the world, ERR_FAILED: among others a loss that is not finite
// (which lasts: error_lasts()).
// data.fold "all" trains every fold in DIR/fold-N and joins their predictions: predictions.npy, predictions.csv and
// summary.json in DIR, and the figures accuracy/cv (over all clips, each predicted by the fold that did not see it),
// accuracy/fold-N and accuracy/mean (over the folds).
int train_run(const struct train_options *o, struct error *e);

#endif
