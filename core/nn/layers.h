// Between the files of the model: not for others.
#ifndef ISLR_NN_LAYERS_H
#define ISLR_NN_LAYERS_H

#include "core/nn/model.h"

// Layers for dropout's counters. The numbers are part of what makes a run reproducible: never renumber.
enum dropout_layer {
    DROPOUT_PART = 0, // + enum part
    DROPOUT_LANDMARK = 8,
    DROPOUT_RELATIVE = 16, // + 4*encoder, and so the three below
    DROPOUT_ATTENTION = 17,
    DROPOUT_ATTENDED = 18,
    DROPOUT_OUTPUT = 19
};

static inline struct dropout layer_dropout(const struct model *m, const struct forward_mode *mode, float p, int layer)
{
    return (struct dropout){mode->dropout ? p : 0, mode->seed, mode->scalars, m->id << 8 | (uint32_t)layer};
}

static inline struct mat mat_at(void *data, enum dtype type, int rows, int columns)
{
    return (struct mat){data, type, rows, columns, columns};
}

// mlp.c: clips of the view -> packed rows into `out`.
void mlp_plan(struct workspace *w, const struct model *m, struct arena *a, int clips);
void mlp_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                 const struct forward_mode *mode, struct mat out);
// dout: gradient of the packed rows. `a` is scratch.
void mlp_backward(const struct model *m, struct workspace *w, struct arena *a, struct stream *s, const struct view *v,
                  const struct forward_mode *mode, struct mat dout, float *gradient,
                  const struct gradient_watch *watch);
void mlp_backward_plan(const struct model *m, struct arena *a, int clips);

// encoder.c: encoder i over its space's x (rows behind the relative ones) into `y`.
void encoder_plan(struct workspace *w, const struct model *m, struct arena *a, int i, int clips);
void encoder_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                     const struct forward_mode *mode, int i, struct mat y);
// dy [rows, o] -> returns the gradient of the encoder's input [rows, h], in scratch taken from `a`.
struct mat encoder_backward(const struct model *m, struct workspace *w, struct arena *a, struct stream *s,
                            const struct view *v, const struct forward_mode *mode, int i, struct mat dy,
                            float *gradient, const struct gradient_watch *watch);
void encoder_backward_plan(const struct model *m, struct arena *a, int i, int clips);

static inline void gradients_ready(const struct gradient_watch *watch, const struct model *m, int first_tensor)
{
    if (watch)
        watch->ready(watch->context, m->layout.parameters[first_tensor].offset);
}

#endif
