// Predictions of one or several models over clips: with several, the mean of their softmax (reference section 4, "Ensemble").
#ifndef ISLR_TRAIN_PREDICTOR_H
#define ISLR_TRAIN_PREDICTOR_H

#include "core/base/pulse.h"
#include "core/nn/model.h"
#include "core/train/checkpoint.h"
#include "core/train/sources.h"

struct predictor;

enum { PREDICTOR_MODELS_MAX = 64 };

struct predictor_options {
    struct backend *backend;
    const char *const *models; // checkpoint files
    size_t model_count;
    int heads;           // of checkpoints that do not say
    enum dtype type;     // of the computation
    int clips;           // at a time
    int threads;         // that read recordings; 0: all cores
    struct pulse *pulse; // a beat for every batch; NULL: nobody looks
};

// Models of different sizes and frame limits go together; their signs must be the same.
struct predictor *predictor_create(const struct predictor_options *o, struct error *e);
void predictor_destroy(struct predictor *p); // NULL is fine

int predictor_classes(const struct predictor *p);
const char *predictor_sign(const struct predictor *p, int i); // NULL: the checkpoints do not say

// All sources, in order, into out [count, classes]: probabilities, or with logits != 0 (one model only) its logits.
// Stops at the first clip that cannot be read, or that a model gives no finite logits for (ERR_FAILED), naming it.
int predictor_run(struct predictor *p, const struct sources *s, int logits, float *out, struct error *e);

#endif
