// The last step of sums over rows: adding up what the blocks found.
#ifndef ISLR_KERNELS_CUDA_PARTIALS_H
#define ISLR_KERNELS_CUDA_PARTIALS_H

#include "kernels/cuda/cuda.h"

// partial [count, columns]: out[c] = the column's sum, in an order that `count` decides. With a second output partial
// is [count, 2, columns].
void add_partials(struct stream *s, const float *partial, int count, int columns, float *out, float *second);

#endif
