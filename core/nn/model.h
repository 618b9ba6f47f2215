// The model on a device: weights, workspace, forward and backward pass (reference section 3), written over
// kernels/backend.h. Files: embed and part MLPs in mlp.c, one encoder in encoder.c, the whole in model.c.
#ifndef ISLR_NN_MODEL_H
#define ISLR_NN_MODEL_H

#include "core/base/pulse.h"
#include "core/nn/arena.h"
#include "core/nn/layout.h"
#include "core/nn/view.h"

struct model {
    struct model_config config;
    struct layout layout;
    struct backend *backend;
    enum dtype type; // of activations and of the work copy
    uint32_t id;     // tells the models of one run apart in dropout's counters
    float *weight;   // device [layout.size], fp32
    void *work;      // device, weights in `type`; is `weight` if that is fp32
    float *buffers;  // device [layout.buffer_size]: BatchNorm's running statistics
    int32_t *slot;   // device [2L-1]: relative position bucket of i-j, at [i-j+L-1]
};

// Allocates; weights are zero until model_set() or an initialisation.
int model_create(struct model *m, struct backend *backend, const struct model_config *c, enum dtype type, uint32_t id,
                 struct error *e);
void model_destroy(struct model *m); // a zeroed model is fine

// Fills in all but the memory: to ask how much that would be. There is nothing to destroy.
void model_sketch(struct model *m, struct backend *backend, const struct model_config *c, enum dtype type, uint32_t id);
size_t model_size(const struct model *m); // bytes that model_create() takes

// Copies from and to host memory in the layout's order; set also refreshes the work copy. get is complete on return.
void model_set(struct model *m, struct stream *s, const float *parameters, const float *buffers);
int model_get(const struct model *m, struct stream *s, float *parameters, float *buffers, struct error *e);

// Device pointers of a parameter: fp32, its work copy as a matrix or vector.
float *model_parameter(const struct model *m, int tensor);
struct mat model_weight(const struct model *m, int tensor);

// c(i,j) of DeBERTa's log buckets for r = i-j (reference section 3), 0..2L-1.
int relative_slot(int r, int max_len);

// How a forward pass runs.
struct forward_mode {
    int train;            // BatchNorm uses batch statistics and moves its buffers
    int dropout;          // dropout is on
    int constant_weights; // weights stay as they are between calls (prediction): see linear_forward.constant
    int group;            // clips that share batch statistics
    uint64_t seed;
    const struct step_scalars *scalars; // device; NULL without dropout
    struct pulse *pulse;                // a beat for every part of the model; NULL: nobody looks
};

// Activations of one model for batches of up to `clips` clips. Without `keep` nothing is kept for a backward pass and
// the encoders share their memory.
struct encoder_space {
    struct mat x;                             // [2L + rows, h]: relative rows, then the input
    struct mat premix;                        // [rows, h]: the input before mixup
    struct mat qkv;                           // [2L + rows, 3h]
    struct mat context, sum1, attended, z, u; // [rows, h]
    struct mat sum2;                          // [rows, o]
    float *row_max, *row_sum;                 // [rows, heads]
    float *rel_mean, *rel_rstd, *mean1, *rstd1, *mean2, *rstd2;
};
struct mlp_space {
    struct mat x, z, y; // input, pre-activation, output
    float *mean, *rstd; // [groups, columns]
};
struct workspace {
    struct backend *backend;
    void *memory;
    size_t size;
    int clips, keep;
    float *collapsed;
    struct mlp_space part[PARTS]; // y of lips, face, full is a part of concat
    struct mat concat;            // [clips*L, 4D]: full | hands | lips | face
    struct mlp_space landmark;
    struct encoder_space encoder[ENCODERS];
    struct mat last;   // [rows, o3]: output of the last encoder
    struct mat pooled; // [clips, o3]
    struct mat logits; // [clips, classes] fp32
};
int workspace_create(struct workspace *w, const struct model *m, int clips, int keep, struct error *e);
void workspace_destroy(struct workspace *w);
size_t workspace_size(const struct model *m, int clips, int keep); // bytes that workspace_create() takes

// Logits of a view into w->logits.
void model_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                   const struct forward_mode *mode);

// Memory of a backward pass; models that run one after the other on a stream may share one made for the largest.
struct backward_space {
    struct backend *backend;
    void *memory;
    size_t size;
};
size_t backward_space_size(const struct model *m, int clips);
int backward_space_create(struct backward_space *b, struct backend *backend, size_t size, struct error *e);
void backward_space_destroy(struct backward_space *b);

// Told as the backward pass goes that all gradients from `offset` of the flat buffer on are final.
struct gradient_watch {
    void (*ready)(void *context, size_t offset);
    void *context;
};

// Gradients of all parameters into `gradient` (device, the layout's order; gaps stay as they are) from the gradient of the logits,
// for the view and mode of the last model_forward() with a keeping workspace.
void model_backward(const struct model *m, struct workspace *w, struct backward_space *b, struct stream *s,
                    const struct view *v, const struct forward_mode *mode, struct mat dlogits, float *gradient,
                    const struct gradient_watch *watch);

#endif
