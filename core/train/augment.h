// What happens to each view of each clip: draws the plans that the backend's augment operation carries out (reference
// section 5, in the table's order). A plan depends on (seed, epoch, clip, view) alone.
#ifndef ISLR_TRAIN_AUGMENT_H
#define ISLR_TRAIN_AUGMENT_H

#include "core/data/set.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

struct augmenter;

// For training on `clips` [count] (indices in the set): faces come from these alone. The set and the clips are read
// here only; `a` must have all fields (a resolved job's).
struct augmenter *augmenter_create(const struct set *set, const uint32_t *clips, uint32_t count, const Islr__Augment *a,
                                   uint64_t seed, uint32_t epochs);
void augmenter_destroy(struct augmenter *a); // NULL is fine

// clip: index in the set; view: 0 student, 1 teacher, 2 distilled; epoch from 1.
struct augment_plan augmenter_draw(const struct augmenter *a, uint32_t clip, uint32_t view, uint32_t epoch);

// Epochs 1..last are the "first half" for a setting `until` (reference section 5): min(100*until, floor(until*epochs)) - 1.
uint32_t augment_first_half(double until, uint32_t epochs);

#endif
