// Elementwise maximum: backend.h, struct maximum_forward and maximum_backward. A thread takes eight elements.
#include "kernels/cuda/kernel.cuh"

// A NaN in either operand comes through.
template <class T>
__global__ void __launch_bounds__(THREADS) maximum_forward_kernel(struct maximum_forward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.y.columns);
    float left[SPAN], right[SPAN];
    load_span<T>(left, a.a, at.row, at.column);
    load_span<T>(right, a.b, at.row, at.column);
    for (int i = 0; i < SPAN; i++)
        left[i] = left[i] > right[i] || left[i] != left[i] ? left[i] : right[i];
    store_span<T>(a.y, at.row, at.column, left);
}

template <class T>
__global__ void __launch_bounds__(THREADS) maximum_backward_kernel(struct maximum_backward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.dy.columns);
    float left[SPAN], right[SPAN], dy[SPAN];
    load_span<T>(left, a.a, at.row, at.column);
    load_span<T>(right, a.b, at.row, at.column);
    load_span<T>(dy, a.dy, at.row, at.column);
    for (int i = 0; i < SPAN; i++) {
        float l = left[i], r = right[i], half = l == r ? 0.5f * dy[i] : 0;
        left[i] = l > r ? dy[i] : half;
        right[i] = l < r ? dy[i] : half;
    }
    store_span<T>(a.da, at.row, at.column, left);
    store_span<T>(a.db, at.row, at.column, right);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

void cuda_maximum_forward(struct stream *s, const struct maximum_forward *a)
{
    size_t count = span_total(a->y);
    with_type(run_type(a->a.type, a->b.type, a->y.type),
              [&](auto t) { LAUNCH(s, launch_over(count), maximum_forward_kernel<decltype(t)>, *a, count); });
}

void cuda_maximum_backward(struct stream *s, const struct maximum_backward *a)
{
    size_t count = span_total(a->dy);
    with_type(run_type(a->a.type, a->dy.type, a->da.type, a->db.type),
              [&](auto t) { LAUNCH(s, launch_over(count), maximum_backward_kernel<decltype(t)>, *a, count); });
}
