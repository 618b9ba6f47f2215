// One of the three models of a run with what training it takes: activations, its view of the batch and - but for the
// teacher, which has no gradient - gradients and AdamW's moments.
#ifndef ISLR_TRAIN_LEARNER_H
#define ISLR_TRAIN_LEARNER_H

#include "core/nn/model.h"
#include "core/train/shard.h"
#include "proto/job.pb-c.h"

enum learner_role { STUDENT, TEACHER, DISTILLED, LEARNERS };
extern const char *const learner_names[LEARNERS]; // "student", "teacher", "distilled"

struct learner {
    enum learner_role role;
    struct model model;
    struct workspace space;
    struct view_buffer views;
    float *x; // device [clips, L, 100, 3]: this model's augmented view
    struct view view;
    struct forward_mode mode;
    struct shard shard; // which parameters this rank updates
    // Not for the teacher:
    float *gradient; // device, the parameters' layout
    float *m, *v;    // device [shard.own]: of the own parts
    float *whole[2]; // host, the parameters' layout: m and v of a resume point that all are to get (state.h), or NULL
    uint8_t *decay;  // device
    double *squares; // device: partial sums of the gradient's squares
    double *square_norm; // device [1]
    float *losses;       // device [groups, 3]
    struct mat dlogits;  // [clips, classes]
};

struct learner_options {
    struct backend *backend;
    const struct model_config *config;
    enum dtype type;
    int clips, group;                   // of this rank's part of a batch
    int ranks, rank;                    // that share the optimizer's state out; 1, 0: this one keeps all
    uint64_t seed;                      // of dropout
    const struct step_scalars *scalars; // device
};

int learner_create(struct learner *l, enum learner_role role, const struct learner_options *o, struct error *e);
void learner_destroy(struct learner *l); // a zeroed one is fine

// Forward over l->view.
void learner_forward(struct learner *l, struct stream *s);

// Losses against the teacher's logits, and the gradients of all parameters.
struct learner_targets {
    const int32_t *label;     // device [clips]
    const float *teacher;     // device [clips, classes] logits, or NULL
    int mixed;                // targets are mixed by view.partner and `coefficient`
    const float *coefficient; // device [clips]
    int ousm;
    float smoothing, group_weight; // 1 / groups over all ranks
};
void learner_backward(struct learner *l, struct backward_space *b, struct stream *s, const struct learner_targets *t,
                      const struct gradient_watch *watch);

// The gradient's square norm: the own parts' partial sums, and then all ranks' added up. Then clipping, AdamW and - for
// the student - the teacher's EMA, of the own parts; `ema` may be NULL.
void learner_measure(struct learner *l, struct stream *s);
void learner_norm(struct learner *l, struct stream *s);
void learner_update(struct learner *l, struct stream *s, const Islr__Train *train, struct learner *ema);

#endif
