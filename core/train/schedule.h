// What changes from step to step (reference section 4, "Counting").
#ifndef ISLR_TRAIN_SCHEDULE_H
#define ISLR_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "core/base/error.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

struct schedule {
    uint32_t steps, steps_per_epoch, epochs;
    uint32_t warmup, ramp; // W and R, in steps
    double lr, beta1, beta2, ema, consistency;
};

// For a resolved job that trains on `clips` clips; fails where they do not fill one batch.
int schedule_make(struct schedule *s, const Islr__JobSpec *job, uint32_t clips, struct error *e);

uint32_t schedule_epoch(const struct schedule *s, uint32_t step); // of step 1..steps, from 1; of 0: the first
double schedule_lr(const struct schedule *s, uint32_t step);
struct step_scalars schedule_scalars(const struct schedule *s, uint32_t step);

// The last step of an epoch (the last epoch of a run given in steps may be short).
int schedule_ends_epoch(const struct schedule *s, uint32_t step);

#endif
