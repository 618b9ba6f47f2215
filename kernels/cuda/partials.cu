// Sums of partial sums: see partials.h.
#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/partials.h"

enum { LANES = 32, PARTS = SHARES(16, 2) }; // columns of a block, and threads that share a column

namespace
{
struct sums {
    const float *partial;
    int count, columns, stride;
    float *out, *second;
};
} // namespace

__global__ void __launch_bounds__(LANES *PARTS) add_partials_kernel(struct sums a)
{
    SHARED(float, part, PARTS *LANES);
    int column = blockIdx.x * LANES + threadIdx.x;
    float sum = 0;
    for (int p = threadIdx.y; p < a.count && column < a.stride; p += PARTS)
        sum += a.partial[static_cast<size_t>(p) * a.stride + column];
    part[threadIdx.y * LANES + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || column >= a.stride)
        return;
    sum = 0;
    for (int p = 0; p < PARTS; p++)
        sum += part[p * LANES + threadIdx.x];
    (column < a.columns ? a.out : a.second - a.columns)[column] = sum;
}

void add_partials(struct stream *s, const float *partial, int count, int columns, float *out, float *second)
{
    struct sums a = {partial, count, columns, second ? 2 * columns : columns, out, second};
    launch_shape shape = {dim3(static_cast<unsigned>((a.stride + LANES - 1) / LANES)), dim3(LANES, PARTS), 0};
    LAUNCH(s, shape, add_partials_kernel, a);
}
