// Mish with a residual: backend.h, struct mish_forward and mish_backward. A thread takes eight elements.
#include "kernels/cuda/kernel.cuh"

template <class T> __global__ void __launch_bounds__(THREADS) mish_forward_kernel(struct mish_forward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.z.columns);
    float z[SPAN], residual[SPAN] = {};
    load_span<T>(z, a.z, at.row, at.column);
    if (a.residual.data)
        load_span<T>(residual, a.residual, at.row, at.column);
    for (int i = 0; i < SPAN; i++)
        z[i] = mish_value(z[i]) + residual[i];
    store_span<T>(a.y, at.row, at.column, z);
}

template <class T> __global__ void __launch_bounds__(THREADS) mish_backward_kernel(struct mish_backward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.z.columns);
    float z[SPAN], dy[SPAN];
    load_span<T>(z, a.z, at.row, at.column);
    load_span<T>(dy, a.dy, at.row, at.column);
    for (int i = 0; i < SPAN; i++)
        z[i] = mish_slope(z[i]) * dy[i];
    store_span<T>(a.dz, at.row, at.column, z);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

void cuda_mish_forward(struct stream *s, const struct mish_forward *a)
{
    size_t count = span_total(a->z);
    with_type(run_type(a->z.type, a->residual.type, a->y.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mish_forward_kernel<decltype(t)>, *a, count); });
}

void cuda_mish_backward(struct stream *s, const struct mish_backward *a)
{
    size_t count = span_total(a->z);
    with_type(run_type(a->z.type, a->dy.type, a->dz.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mish_backward_kernel<decltype(t)>, *a, count); });
}
