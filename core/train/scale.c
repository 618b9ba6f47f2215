// Dynamic loss scaling of an fp16 run: see scale.h.
#include "core/train/scale.h"

#include <math.h>

struct loss_scaler *loss_scale_create(struct backend *b, struct error *e)
{
    return b->op->allocate(b, sizeof(struct loss_scaler), e);
}

void loss_scale_reset(struct loss_scaler *scaler, struct stream *s, const struct schedule *schedule, uint32_t step)
{
    struct loss_scaler fresh = {.scale = LOSS_SCALE_START};
    for (int m = 0; m < SCALER_MODELS; m++) {
        fresh.taken[m] = step;
        fresh.power1[m] = pow(schedule->beta1, step);
        fresh.power2[m] = pow(schedule->beta2, step);
    }
    s->op->upload(s, scaler, &fresh, sizeof fresh);
}

void loss_scale_update(struct loss_scaler *scaler, struct stream *s, const struct schedule *schedule,
                       struct step_scalars *const scalars[SCALER_MODELS], const double *const squares[SCALER_MODELS])
{
    queue(s, update_scale, .scaler = scaler, .scalars = {scalars[0], scalars[1]},
          .square_norm = {squares[0], squares[1]}, .growth = LOSS_SCALE_GROWTH, .backoff = LOSS_SCALE_BACKOFF,
          .interval = LOSS_SCALE_INTERVAL, .beta1 = schedule->beta1, .beta2 = schedule->beta2, .lr = schedule->lr,
          .warmup = schedule->warmup, .steps = schedule->steps);
}
