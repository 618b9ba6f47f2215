// The arithmetic of update_scale (backend.h), the same on every device. Included by the backends alone.
#ifndef ISLR_KERNELS_LOSS_SCALE_H
#define ISLR_KERNELS_LOSS_SCALE_H

#include <math.h>

#include "kernels/backend.h"

#if defined(__CUDACC__)
#define SCALE_FUNCTION static inline __host__ __device__
#else
#define SCALE_FUNCTION static inline
#endif

// The schedule at its step t = 1.. (reference section 4, "Counting").
SCALE_FUNCTION double scale_schedule_lr(const struct update_scale *a, uint32_t t)
{
    if (t - 1 < a->warmup)
        return a->lr * (t - 1) / a->warmup;
    return a->lr * (a->steps - t + 1) / (a->steps - a->warmup);
}

// A model's scalars, and its count if it is updated. Returns 1 where its gradient is finite.
SCALE_FUNCTION int scale_model(const struct update_scale *a, int model, double lr)
{
    struct loss_scaler *s = a->scaler;
    struct step_scalars *t = a->scalars[model];
    t->lr = (float)lr;
    if (!isfinite(*a->square_norm[model]))
        return 0;
    s->taken[model]++;
    s->power1[model] *= a->beta1;
    s->power2[model] *= a->beta2;
    t->bias1 = (float)(1 - s->power1[model]);
    t->bias2 = (float)(1 - s->power2[model]);
    return 1;
}

// torch.amp.GradScaler.update().
SCALE_FUNCTION void scale_step(const struct update_scale *a)
{
    struct loss_scaler *s = a->scaler;
    double lr = scale_schedule_lr(a, a->scalars[0]->step - s->skipped);
    int finite = 1;
    for (int m = 0; m < SCALER_MODELS; m++)
        if (a->scalars[m])
            finite &= scale_model(a, m, lr);
    if (!finite) {
        s->scale *= a->backoff;
        s->good = 0;
        s->skipped++;
    } else if (++s->good == a->interval) {
        if (isfinite(s->scale * a->growth))
            s->scale *= a->growth;
        s->good = 0;
    }
}

#endif
