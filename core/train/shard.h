// Which rank keeps the optimizer's state of which parameters. Usually each keeps all of it and makes the same updates;
// with `resources.shard_optimizer` each has a part (core/comm/comm.h) of every bucket in which gradients travel
// (core/train/reduce.h): it gets the sums of that part's gradients alone, keeps the part's moments alone, and updates the
// part's weights and the teacher's. What is not its own comes from the others (core/train/gather.h).
//
// Parts are whole spans of SQUARES_SPAN elements, so that the gradient's norm is added up from the same partial sums in
// the same order, whoever made them: all results are those of ranks that keep everything, to the bit.
#ifndef ISLR_TRAIN_SHARD_H
#define ISLR_TRAIN_SHARD_H

#include "core/nn/model.h"

struct shard {
    int ranks, rank;     // 1 and 0: this rank has all
    size_t size, bucket; // elements of the parameters, and of a bucket (the last one may be shorter)
    size_t own;          // elements of this rank's parts
    // Of several ranks with a type of 16 bits: the blocks of PARAMETER_ALIGN weights that the passes read in fp32, by the
    // ranks that have them, each with room for as many.
    struct backend *backend;
    int blocks;     // of one rank
    int32_t *block; // device [ranks, blocks]: number in the flat buffer, -1 behind the last
    float *packed;  // device [ranks, blocks, PARAMETER_ALIGN]
};

// Arithmetic alone; there is nothing to destroy.
void shard_plan(struct shard *s, size_t size, int ranks, int rank);

// For a model on its device.
int shard_create(struct shard *s, const struct model *m, int ranks, int rank, struct error *e);
void shard_destroy(struct shard *s); // a zeroed one is fine

// Bytes that shard_create() takes.
size_t shard_size(const struct model *m, int ranks);

int shard_buckets(const struct shard *s);

// This rank's part of a bucket.
struct shard_part {
    size_t start, count; // in the flat buffers
    size_t at;           // in buffers of the own parts, one behind the other
};
struct shard_part shard_part(const struct shard *s, int bucket);

#endif
