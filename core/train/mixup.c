// Draws of manifold mixup: see mixup.h.
#include "core/train/mixup.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/random.h"

// What a group's streams of draws are for: the `detail` of RNG_MIXUP. Never renumber.
enum draw { DRAW_MIX, DRAW_COEFFICIENTS, DRAW_PARTNERS, DRAW_LAYERS };

enum { ENCODERS = 3 };

void mixup_plan_create(struct mixup_plan *p, int clips)
{
    size_t n = (size_t)clips;
    *p = (struct mixup_plan){.clips = clips};
    p->partner = xcalloc(n, sizeof *p->partner);
    p->coefficient = xcalloc(n, sizeof *p->coefficient);
    for (int m = 0; m < MIXUP_MODELS; m++)
        p->layer[m] = xcalloc(n, sizeof *p->layer[m]);
}

void mixup_plan_destroy(struct mixup_plan *p)
{
    free(p->partner);
    free(p->coefficient);
    for (int m = 0; m < MIXUP_MODELS; m++)
        free(p->layer[m]);
    *p = (struct mixup_plan){0};
}

double mixup_probability(const Islr__Mixup *m, uint32_t epoch, uint32_t epochs)
{
    double t = epoch / (0.9 * epochs);
    double p = m->p * (m->ramp == ISLR__MIXUP__RAMP__RAMP_FALLING ? 1 - t : t);
    return fmin(1, fmax(0, p));
}

// Clips from `first` on stay as they are.
static void leave_group(struct mixup_plan *p, int first, int group)
{
    for (int b = first; b < first + group; b++) {
        p->partner[b] = b;
        p->coefficient[b] = 1;
        for (int m = 0; m < MIXUP_MODELS; m++)
            p->layer[m][b] = -1;
    }
}

static void mix_group(struct mixup_plan *p, double alpha, uint64_t seed, uint32_t step, uint32_t number, int first,
                      int group)
{
    struct rng coefficients = rng_make(seed, RNG_MIXUP, DRAW_COEFFICIENTS, number, step);
    struct rng partners = rng_make(seed, RNG_MIXUP, DRAW_PARTNERS, number, step);
    struct rng layers = rng_make(seed, RNG_MIXUP, DRAW_LAYERS, number, step);
    for (int b = first; b < first + group; b++) {
        p->partner[b] = b;
        p->coefficient[b] = (float)rng_beta(&coefficients, alpha, alpha);
    }
    rng_shuffle(&partners, (uint32_t *)p->partner + first, (size_t)group);
    for (int m = 0; m < MIXUP_MODELS; m++) {
        int layer = (int)rng_below(&layers, ENCODERS);
        for (int b = first; b < first + group; b++)
            p->layer[m][b] = layer;
    }
}

void mixup_draw(struct mixup_plan *p, const Islr__Mixup *m, uint64_t seed, uint32_t step, uint32_t epoch,
                uint32_t epochs, int first_group, int group)
{
    double probability = mixup_probability(m, epoch, epochs);
    p->any = 0;
    for (int g = 0; g < p->clips / group; g++) {
        uint32_t number = (uint32_t)(first_group + g);
        struct rng mix = rng_make(seed, RNG_MIXUP, DRAW_MIX, number, step);
        if (rng_uniform_double(&mix) < probability) {
            mix_group(p, m->alpha, seed, step, number, g * group, group);
            p->any = 1;
        } else {
            leave_group(p, g * group, group);
        }
    }
}
