// What a model makes of clips: logits, and the figures over them. Clips are spread over the ranks.
#ifndef ISLR_TRAIN_EVALUATE_H
#define ISLR_TRAIN_EVALUATE_H

#include "core/comm/comm.h"
#include "core/nn/model.h"
#include "core/train/dataset.h"

// What evaluation works with; a learner's workspace and views serve (training's content is lost).
struct evaluator {
    struct comm *comm;
    struct stream *stream;
    const struct dataset *data;
    const struct model *model;
    struct workspace *space; // of at least `clips` clips
    struct view_buffer *views;
    float *x;             // device [clips, L, 100, 3]
    int clips;            // at a time
    int constant_weights; // see struct linear_forward
};

// Logits of `count` clips (indices in the set) in that order: [count, classes], malloc'ed, on rank 0; NULL on the others.
// Collective.
int evaluate_logits(const struct evaluator *v, const uint32_t *clips, uint32_t count, float **logits, struct error *e);

struct figures {
    double accuracy, top5, loss; // loss: cross-entropy against the label, without smoothing
};

// Softmax in place over rows of [count, classes].
void softmax_rows(float *v, size_t count, int classes);

// Over logits; labels by `clips` from the set. A clip whose label's logit is NaN counts as wrong; the loss is NaN where
// one of its logits is.
struct figures evaluate_figures(const struct set *set, const uint32_t *clips, uint32_t count, const float *logits,
                                int classes);

// Both, on all ranks the same. logits (NULL: not wanted) as above.
int evaluate_model(const struct evaluator *v, const uint32_t *clips, uint32_t count, struct figures *out,
                   float **logits, struct error *e);

#endif
