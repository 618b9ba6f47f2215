// Sums of gradients over the ranks that run beside the backward pass: gradients become final from the end of the flat
// buffer on, and go out in buckets.
#ifndef ISLR_TRAIN_REDUCE_H
#define ISLR_TRAIN_REDUCE_H

#include "core/comm/comm.h"
#include "core/nn/model.h"

enum { REDUCE_BUCKET_BYTES = 16 << 20 };

struct reducer {
    struct comm *comm;
    float *gradient; // memory that the host reaches
    size_t end;      // gradients from here on are under way or done
};

// For one backward pass over `count` gradients; the watch is to be given to model_backward().
struct gradient_watch reducer_begin(struct reducer *r, struct comm *comm, float *gradient, size_t count);

#endif
