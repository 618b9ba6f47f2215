// Sums of what several ranks computed: struct sum_ranks of backend.h. A thread takes eight elements.
#include "kernels/cuda/kernel.cuh"

__global__ void __launch_bounds__(THREADS) sum_ranks_kernel(struct sum_ranks a)
{
    size_t at = item_index() * SPAN;
    if (at >= a.count)
        return;
    int left = a.count - at < SPAN ? static_cast<int>(a.count - at) : static_cast<int>(SPAN);
    double sum[SPAN] = {};
    float v[SPAN];
    for (int r = 0; r < a.ranks; r++) {
        load_span(v, a.parts + static_cast<size_t>(r) * a.stride + at, left);
        for (int i = 0; i < SPAN; i++)
            sum[i] += static_cast<double>(v[i]);
    }
    for (int i = 0; i < SPAN; i++)
        v[i] = static_cast<float>(sum[i]) / a.divisor;
    store_span(a.out + at, left, v);
}

void cuda_sum_ranks(struct stream *s, const struct sum_ranks *a)
{
    LAUNCH(s, launch_over((a->count + SPAN - 1) / SPAN), sum_ranks_kernel, *a);
}
