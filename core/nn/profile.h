// Where a stream's time goes, operation by operation: puts a table of timing functions between the model and the device.
// Waits for the device after each operation, so the sum says what each costs alone, not how they overlap.
#ifndef ISLR_NN_PROFILE_H
#define ISLR_NN_PROFILE_H

#include "kernels/backend.h"

enum profile_stage {
    PROFILE_AUGMENT,
    PROFILE_EMBED,
    PROFILE_BATCHNORM,
    PROFILE_ROWS, // packing, mixup, maximum, mean
    PROFILE_LINEAR,
    PROFILE_ATTENTION,
    PROFILE_LAYERNORM,
    PROFILE_MISH,
    PROFILE_LOSS,
    PROFILE_OPTIMIZER,
    PROFILE_COPIES,
    PROFILE_STAGES
};
extern const char *const profile_names[PROFILE_STAGES];

struct profile {
    struct backend_ops ops; // first: a stream's op points here while it is watched
    const struct backend_ops *inner;
    double seconds[PROFILE_STAGES];
    double flops; // of the linear layers
};

void profile_begin(struct profile *p, struct stream *s);
void profile_end(struct profile *p, struct stream *s);

#endif
