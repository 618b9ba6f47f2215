// Which clips a step trains on: see sampler.h.
#include "core/train/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"

void sampler_create(struct sampler *s, const uint32_t *clips, uint32_t count, uint32_t batch, uint64_t seed,
                    int shuffle)
{
    *s = (struct sampler){.clips = clips, .count = count, .batch = batch, .seed = seed, .shuffle = shuffle};
    s->order = xcalloc(count, sizeof *s->order);
}

void sampler_destroy(struct sampler *s)
{
    free(s->order);
    s->order = NULL;
}

const uint32_t *sampler_batch(struct sampler *s, uint32_t epoch, uint32_t index)
{
    if (s->epoch != epoch) {
        memcpy(s->order, s->clips, s->count * sizeof *s->order);
        if (s->shuffle) {
            struct rng r = rng_make(s->seed, RNG_SHUFFLE, 0, epoch, 0);
            rng_shuffle(&r, s->order, s->count);
        }
        s->epoch = epoch;
    }
    return s->order + (size_t)index * s->batch;
}
