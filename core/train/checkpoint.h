// A model's weights as a safetensors file: published tensor names, fp32, what the model is in the metadata.
#ifndef ISLR_TRAIN_CHECKPOINT_H
#define ISLR_TRAIN_CHECKPOINT_H

#include "core/nn/layout.h"

// In host memory. Metadata that a file may lack is NULL or 0.
struct checkpoint {
    struct model_config config; // dropouts are 0
    struct layout layout;
    float *parameters; // [layout.size]
    float *buffers;    // [layout.buffer_size]
    char **signs;      // [config.classes] names, or NULL
    char *origin;      // JSON object: where the weights come from
    char *job_hash;    // hex SHA-256 of the job that trained it
};

// Weights are zero.
void checkpoint_create(struct checkpoint *c, const struct model_config *config);
void checkpoint_destroy(struct checkpoint *c); // a zeroed one is fine

// Atomic; the same content gives the same bytes.
int checkpoint_write(const struct checkpoint *c, const char *path, struct error *e);

// Reads a checkpoint of ours or a state dict saved from PyTorch. Sizes follow from the shapes; heads from the metadata,
// else `heads`. ERR_DAMAGED names the tensor that is missing, unknown, of the wrong shape or not finite, or the size that
// no model has; ERR_INVALID: the caller's heads do not fit.
int checkpoint_read(struct checkpoint *c, const char *path, int heads, struct error *e);

// Names of the signs, copied; `name(context, i)` for i in 0..classes-1.
void checkpoint_set_signs(struct checkpoint *c, const char *(*name)(const void *context, int i), const void *context);

// 0 if both are of one architecture and (where both know them) the same signs; `a` and `b` are the files' names.
int checkpoint_compatible(const struct checkpoint *x, const struct checkpoint *y, const char *a, const char *b,
                          struct error *e);

#endif
