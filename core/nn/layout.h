// Where every tensor of a model lies. The parameters are one flat fp32 buffer, in the order of the forward pass, so that
// during the backward pass the gradients are finished from the end of the buffer to its beginning; BatchNorm's
// running statistics are another. Gradients, moments, EMA and work copies have the parameters' layout. Names are the
// published ones.
#ifndef ISLR_NN_LAYOUT_H
#define ISLR_NN_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "core/nn/config.h"

// PyTorch's default initialisations.
enum tensor_init {
    INIT_UNIFORM, // U(-bound, bound)
    INIT_NORMAL,  // N(0, 1)
    INIT_PADDED,  // N(0, 1), row 0 zero: the padding row of an embedding
    INIT_ONE,
    INIT_ZERO
};

struct layout_entry {
    char name[80];
    int dims;
    int shape[3];
    size_t offset, count; // in floats, in its flat buffer; offset is a multiple of PARAMETER_ALIGN
    uint8_t decay;        // weight decay applies
    uint8_t exact;        // the passes read it in fp32, whatever the run's type
    enum tensor_init init;
    float bound;
};

enum { MAX_TENSORS = 128 };

// [0] Linear and [1] BatchNorm1d of an MLP: indices of tensors.
struct mlp_tensors {
    int weight, bias, norm_weight, norm_bias;
    int mean, var; // running statistics, in the buffers
};

// query, key and value follow one another without gaps: as one [3h, h] weight and one [3h] bias.
struct encoder_tensors {
    int rel, rel_norm_weight, rel_norm_bias;
    int query_weight, key_weight, value_weight, query_bias, key_bias, value_bias;
    int attention_weight, attention_bias, attention_norm_weight, attention_norm_bias;
    int intermediate_weight, intermediate_bias;
    int output_weight, output_bias, output_norm_weight, output_norm_bias;
};

enum part { PART_LEFT, PART_RIGHT, PART_LIPS, PART_FACE, PART_FULL, PARTS };

struct layout {
    struct layout_entry parameters[MAX_TENSORS];
    int parameter_count;
    size_t size;         // floats of the flat parameter buffer, gaps for alignment included
    size_t scalar_count; // parameters in the published sense: without the gaps
    struct layout_entry buffers[2 * (PARTS + 1)];
    int buffer_count;
    size_t buffer_size; // floats

    int type_embed, type_norm_weight, type_norm_bias;
    int landmark_embed, landmark_norm_weight, landmark_norm_bias;
    int conv0, conv1, pos_dense_weight, pos_dense_bias, dense_weight, dense_bias;
    struct mlp_tensors part[PARTS];
    struct mlp_tensors landmark;
    struct encoder_tensors encoder[ENCODERS];
    int logits_weight, logits_bias;
};

// Fills `l` for a checked config.
void layout_make(struct layout *l, const struct model_config *c);

// The tensor of that name among parameters and buffers, or NULL; *is_buffer says which.
const struct layout_entry *layout_find(const struct layout *l, const char *name, int *is_buffer);

// Fresh weights as PyTorch's defaults draw them, into host memory: parameters [l->size], buffers [l->buffer_size].
// `stream` tells models of one run apart.
void layout_initialise(const struct layout *l, uint64_t seed, uint32_t stream, float *parameters, float *buffers);

// 1 for every block of PARAMETER_ALIGN elements that decays, into host memory [l->size/PARAMETER_ALIGN].
void layout_decay(const struct layout *l, uint8_t *decay);

#endif
