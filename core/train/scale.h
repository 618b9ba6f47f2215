// Dynamic loss scaling of an fp16 run, with torch.amp.GradScaler's constants; what it does is in backend.h (struct
// loss_scaler), the whole of it on the device. What a step does whose gradients are not finite:
//  * A model's weights, moments and count of steps stay as they are, if its own gradient is not finite; the student's
//    EMA, the teacher, does with it: nothing was learnt that could be averaged.
//  * The learning rate's schedule stands still, as the published program's does; what goes by the step's number (data,
//    augmentation, the weight of the consistency, the EMA's alpha, evaluations, epochs) goes on.
//  * One scale serves all models, as one GradScaler does in the published program.
#ifndef ISLR_TRAIN_SCALE_H
#define ISLR_TRAIN_SCALE_H

#include "core/train/schedule.h"

#define LOSS_SCALE_START   65536.0f
#define LOSS_SCALE_GROWTH  2.0f
#define LOSS_SCALE_BACKOFF 0.5f
enum { LOSS_SCALE_INTERVAL = 2000 };
// Below this, the scale does not help: gradients are not finite for another reason.
#define LOSS_SCALE_LEAST 1.0f

struct loss_scaler *loss_scale_create(struct backend *b, struct error *e); // device

// As at the start of a run, or as after `step` steps of one that had none.
void loss_scale_reset(struct loss_scaler *scaler, struct stream *s, const struct schedule *schedule, uint32_t step);

// Queues that of the step that the scalars are of; scalars and squares as in struct update_scale.
void loss_scale_update(struct loss_scaler *scaler, struct stream *s, const struct schedule *schedule,
                       struct step_scalars *const scalars[SCALER_MODELS], const double *const squares[SCALER_MODELS]);

#endif
