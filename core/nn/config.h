// Sizes of one model (reference section 3).
#ifndef ISLR_NN_CONFIG_H
#define ISLR_NN_CONFIG_H

#include "core/base/error.h"
#include "kernels/backend.h"

enum { ENCODERS = 3 };

struct model_config {
    int dense_dim;            // D: outputs of the five part MLPs
    int widths[ENCODERS + 1]; // encoder i goes from widths[i] to widths[i+1]; widths[0]: output of the landmark MLP
                              // (core/spec, spec_widths(): those of the published family)
    int heads;
    int max_len; // L: frames of a clip
    int classes;
    float dropout_mlp, dropout_landmark, dropout_encoders[ENCODERS];
};

// Refuses sizes that the model or the kernels cannot have, with a sentence.
int model_config_check(const struct model_config *c, struct error *e);

#endif
