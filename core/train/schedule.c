// What changes from step to step: see schedule.h.
#include "core/train/schedule.h"

#include <math.h>

int schedule_make(struct schedule *s, const Islr__JobSpec *job, uint32_t clips, struct error *e)
{
    const Islr__Train *t = job->train;
    uint32_t per_epoch = clips / t->batch;
    if (!per_epoch)
        return error_set(e, ERR_INVALID, "train.batch is %u, but there are only %u clips to train on", t->batch, clips);
    uint64_t steps = t->steps ? t->steps : (uint64_t)t->epochs * per_epoch;
    if (steps > 1u << 30)
        return error_set(e, ERR_INVALID, "%llu steps are too many: lower train.epochs", (unsigned long long)steps);
    *s = (struct schedule){.steps = (uint32_t)steps,
                           .steps_per_epoch = per_epoch,
                           .epochs = (uint32_t)((steps + per_epoch - 1) / per_epoch),
                           .warmup = (uint32_t)(t->warmup * (double)steps),
                           .ramp = (uint32_t)(job->teacher->rampup * (double)steps),
                           .lr = t->lr,
                           .beta1 = t->betas[0],
                           .beta2 = t->betas[1],
                           .ema = job->teacher->ema,
                           .consistency = job->teacher->consistency};
    return 0;
}

uint32_t schedule_epoch(const struct schedule *s, uint32_t step)
{
    return step ? (step - 1) / s->steps_per_epoch + 1 : 1;
}

int schedule_ends_epoch(const struct schedule *s, uint32_t step)
{
    return step % s->steps_per_epoch == 0 || step == s->steps;
}

double schedule_lr(const struct schedule *s, uint32_t step)
{
    if (step - 1 < s->warmup)
        return s->lr * (step - 1) / s->warmup;
    return s->lr * (s->steps - step + 1) / (s->steps - s->warmup);
}

struct step_scalars schedule_scalars(const struct schedule *s, uint32_t step)
{
    double t = s->ramp ? fmin(1, (double)step / s->ramp) : 1;
    return (struct step_scalars){.step = step,
                                 .lr = (float)schedule_lr(s, step),
                                 .bias1 = (float)(1 - pow(s->beta1, step)),
                                 .bias2 = (float)(1 - pow(s->beta2, step)),
                                 .ema_alpha = (float)fmin(1 - 1.0 / (step + 1), s->ema),
                                 .consistency = (float)(s->consistency * exp(-5 * (1 - t) * (1 - t))),
                                 .loss_scale = 1};
}
