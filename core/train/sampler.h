// Which clips a step trains on: the training clips in an order drawn anew for each epoch, the last partial batch left out.
#ifndef ISLR_TRAIN_SAMPLER_H
#define ISLR_TRAIN_SAMPLER_H

#include <stdint.h>

struct sampler {
    const uint32_t *clips; // not owned
    uint32_t count, batch;
    uint64_t seed;
    int shuffle;
    uint32_t epoch; // whose order is at hand; 0: none
    uint32_t *order;
};

void sampler_create(struct sampler *s, const uint32_t *clips, uint32_t count, uint32_t batch, uint64_t seed,
                    int shuffle);
void sampler_destroy(struct sampler *s);

// The batch at place `index` (from 0) of `epoch` (from 1); [batch] clip indices, valid until the next call. Depends on
// nothing but the arguments and the seed.
const uint32_t *sampler_batch(struct sampler *s, uint32_t epoch, uint32_t index);

#endif
