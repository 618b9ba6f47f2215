// One training step of the three models (reference sections 4 and 5): views, forwards, losses, backwards, sums over the
// ranks, updates. Owns all that a step needs on the device.
#ifndef ISLR_TRAIN_STEP_H
#define ISLR_TRAIN_STEP_H

#include "core/comm/comm.h"
#include "core/train/augment.h"
#include "core/train/dataset.h"
#include "core/train/learner.h"
#include "core/train/mixup.h"
#include "core/train/recorder.h"
#include "core/train/reduce.h"
#include "core/train/scale.h"
#include "core/train/schedule.h"

struct step_space {
    const Islr__JobSpec *job;
    struct backend *backend;
    struct stream *stream;
    struct comm *comm;
    struct reducer reducer;
    struct recorder recorder;
    const struct dataset *data;
    struct schedule schedule;
    struct augmenter *augmenter;
    int clips, groups, first_clip; // this rank's part of every batch; first_clip: its place in the whole batch
    int total_groups;
    int distills; // the job has a distilled model
    int frozen;   // the distilled model stays in evaluation mode (distill.eval_mode_from)
    struct learner learner[LEARNERS];
    struct backward_space backward;
    struct step_scalars *scalars; // device [LEARNERS]
    struct loss_scaler *scaler;   // device; NULL but for fp16
    int32_t *label;               // device [clips]
    float *coefficient;           // device [clips]: of the targets
    struct augment_plan *plans;   // device [clips]
    struct feed feed;             // where the frames of the planned step's clips are
    uint32_t planned;             // the step that host_plans are of; 0: none
    // host
    struct augment_plan *host_plans; // [LEARNERS, clips]
    int32_t *host_label, *length;    // [clips]
    struct mixup_plan mixup;
    struct step_shape shape; // of the step under way
};

struct step_losses {
    double loss, ce, consistency, grad_norm; // grad_norm: before clipping
};
struct step_result {
    struct step_losses learner[LEARNERS]; // the teacher's are zero
    double lr;
    int finite;        // 0: the run cannot go on
    double loss_scale; // fp16: what this step's gradients were scaled by; else 0
    uint32_t skipped;  // fp16: steps so far, this one included, whose gradients were not finite
};

struct step_options {
    const Islr__JobSpec *job; // resolved
    struct backend *backend;
    struct comm *comm;
    const struct dataset *data;
    enum dtype type;
};

// Whether so many ranks can share the groups of the job's batch; ERR_INVALID says what cannot be shared.
int step_check_ranks(const Islr__JobSpec *job, int ranks, struct error *e);

// The ranks must divide the batch's groups. Collective.
int step_create(struct step_space *t, const struct step_options *o, struct error *e);
void step_destroy(struct step_space *t);

// Step `step` over the whole batch's clips [train.batch]; every rank calls with the same ones. A result that is not
// finite leaves the weights as they were; in fp16 that is part of the way, until the loss scale is as low as can be.
// `next`: the clips of step + 1, which are fetched meanwhile where the dataset is fed; or NULL.
int step_run(struct step_space *t, uint32_t step, const uint32_t *batch, const uint32_t *next, struct step_result *out,
             struct error *e);

// All fp32 weights, whole, where a rank keeps but a part of them up to date (shard.h): before they are saved. Collective.
int step_gather_weights(struct step_space *t, struct error *e);

// Names, on all ranks, what is not finite after such a step: a parameter or a gradient ("gradient of dense.weight of the student").
int step_find_not_finite(struct step_space *t, char *text, size_t size, struct error *e);

#endif
