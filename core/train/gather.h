// Brings together what the ranks keep in parts (core/train/shard.h). All are collective, and do nothing where every rank
// keeps all. learners: [LEARNERS].
#ifndef ISLR_TRAIN_GATHER_H
#define ISLR_TRAIN_GATHER_H

#include "core/train/learner.h"
#include "core/train/reduce.h"

// Between learner_measure() and learner_norm(): the partial sums of all gradients' squares.
int gather_squares(struct learner *learners, struct reducer *r, struct error *e);

// After the updates: all that forward and backward passes read. In fp32 that is everything.
int gather_weights(struct learner *learners, struct reducer *r, struct error *e);

// The rest: all fp32 weights, for those who save or look at them.
int gather_masters(struct learner *learners, struct reducer *r, struct error *e);

// One learner's moments, of which `own` are this rank's, or its gradients (own: NULL), whole into l->gradient.
int gather_moments(struct learner *l, const float *own, struct reducer *r, struct error *e);

#endif
