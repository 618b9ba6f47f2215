// A run small enough for the host model of a card, over the clips of small_set.h: its job, its steps, its state.
#ifndef ISLR_TESTS_TRAIN_SMALL_RUN_H
#define ISLR_TESTS_TRAIN_SMALL_RUN_H

#include "core/base/hash.h"
#include "core/spec/spec.h"
#include "core/train/step.h"

enum { SMALL_BATCH = 4 }; // two groups of two clips

struct small_run {
    struct dataset data;
    struct step_space step;
};

Islr__JobSpec *small_run_job(void); // resolved, 8 steps; spec_free() it

// Fails the test where it cannot be. Weights are the same each time. fed: the set is not resident.
void small_run_open(struct small_run *r, const Islr__JobSpec *job, const struct set *set, struct backend *b,
                    struct comm *c, enum dtype type, int fed);
void small_run_close(struct small_run *r);

// Steps first..last, each over its own clips; the last one's result.
struct step_result small_run_steps(struct small_run *r, uint32_t first, uint32_t last);

// Parameters, then buffers, of one model: [*count], free() them.
float *small_run_values(struct small_run *r, enum learner_role role, size_t *count);
// Of all models' parameters and buffers.
struct hash small_run_hash(struct small_run *r);

#endif
