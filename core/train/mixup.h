// Manifold mixup: which groups of a step mix, who with whom, how much, before which encoder of each model (reference
// section 5). Depends on (seed, step, a group's place in the whole batch) alone, so all ranks agree.
#ifndef ISLR_TRAIN_MIXUP_H
#define ISLR_TRAIN_MIXUP_H

#include <stdint.h>

#include "proto/job.pb-c.h"

enum { MIXUP_MODELS = 3 };

// Of this rank's part of a batch; all arrays [clips], host memory.
struct mixup_plan {
    int clips;
    int any;            // at least one group mixes
    int32_t *partner;   // a permutation within each group, as indices in this part; itself where the group does not mix
    float *coefficient; // own share c of (c, 1-c); 1 where the group does not mix
    int32_t *layer[MIXUP_MODELS]; // 0..2: before that encoder; -1 where the group does not mix
};

void mixup_plan_create(struct mixup_plan *p, int clips);
void mixup_plan_destroy(struct mixup_plan *p);

// Probability that a group mixes in `epoch` (from 1) of `epochs`.
double mixup_probability(const Islr__Mixup *m, uint32_t epoch, uint32_t epochs);

// Draws for groups first_group .. of `group` clips each, p->clips/group of them.
void mixup_draw(struct mixup_plan *p, const Islr__Mixup *m, uint64_t seed, uint32_t step, uint32_t epoch,
                uint32_t epochs, int first_group, int group);

#endif
