// Operations that know which rows are which clip's: packing, manifold mixup, mean over frames (backend.h, "rows"). A
// thread takes eight elements of a row; where rows are packed it looks its clip up in the offsets.
#include "kernels/cuda/kernel.cuh"

__device__ static inline int held(const struct rows &rows, int clip)
{
    return rows.offset[clip + 1] - rows.offset[clip];
}

template <class T> __global__ void __launch_bounds__(THREADS) pack_rows_kernel(struct pack_rows a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.packed.columns);
    float x[SPAN] = {};
    if (!in_tail(a.rows, at.row)) {
        int clip = clip_of_row(a.rows, at.row), frame = at.row - a.rows.offset[clip];
        load_span<T>(x, a.padded, clip * a.rows.frames + frame, at.column);
    }
    store_span<T>(a.packed, at.row, at.column, x);
}

template <class T> __global__ void __launch_bounds__(THREADS) unpack_rows_kernel(struct unpack_rows a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.padded.columns);
    int clip = at.row / a.rows.frames, frame = at.row % a.rows.frames;
    float x[SPAN] = {};
    if (frame < held(a.rows, clip))
        load_span<T>(x, a.packed, a.rows.offset[clip] + frame, at.column);
    store_span<T>(a.padded, at.row, at.column, x);
}

// A row of `clip`, times c, plus the same frame of `other`, times d, as far as the other clip's rows reach.
template <class T>
__device__ static inline void blend(const struct rows &rows, const struct mat &x, const struct mat &y, span_place at,
                                    int clip, int other, float c, float d)
{
    int frame = at.row - rows.offset[clip];
    float own[SPAN], mixed[SPAN] = {};
    load_span<T>(own, x, at.row, at.column);
    if (frame < held(rows, other))
        load_span<T>(mixed, x, rows.offset[other] + frame, at.column);
    for (int i = 0; i < SPAN; i++)
        own[i] = c * own[i] + d * mixed[i];
    store_span<T>(y, at.row, at.column, own);
}

template <class T> __device__ static inline void store_zeros(const struct mat &m, span_place at)
{
    float zeros[SPAN] = {};
    store_span<T>(m, at.row, at.column, zeros);
}

template <class T> __global__ void __launch_bounds__(THREADS) mixup_forward_kernel(struct mixup_forward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.y.columns);
    if (in_tail(a.rows, at.row)) {
        store_zeros<T>(a.y, at);
        return;
    }
    int clip = clip_of_row(a.rows, at.row);
    float c = a.coefficient[clip];
    blend<T>(a.rows, a.x, a.y, at, clip, a.partner[clip], c, 1 - c);
}

template <class T>
__global__ void __launch_bounds__(THREADS) mixup_backward_kernel(struct mixup_backward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.dx.columns);
    if (in_tail(a.rows, at.row)) {
        store_zeros<T>(a.dx, at);
        return;
    }
    int clip = clip_of_row(a.rows, at.row), from = a.inverse[clip];
    blend<T>(a.rows, a.dy, a.dx, at, clip, from, a.coefficient[clip], 1 - a.coefficient[from]);
}

// A clip without real frames has the mean 0.
__device__ static inline float share_of(const struct rows &rows, int clip)
{
    int length = rows.length[clip];
    return length > 0 ? 1.0f / static_cast<float>(length) : 0;
}

template <class T> __global__ void __launch_bounds__(THREADS) mean_forward_kernel(struct mean_forward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.y.columns);
    int first = a.rows.offset[at.row], length = a.rows.length[at.row];
    float sum[SPAN] = {}, share = share_of(a.rows, at.row);
    for (int f = 0; f < length; f++) {
        float x[SPAN];
        load_span<T>(x, a.x, first + f, at.column);
        for (int i = 0; i < SPAN; i++)
            sum[i] += x[i];
    }
    for (int i = 0; i < SPAN; i++)
        sum[i] *= share;
    store_span<T>(a.y, at.row, at.column, sum);
}

template <class T> __global__ void __launch_bounds__(THREADS) mean_backward_kernel(struct mean_backward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.dx.columns);
    float g[SPAN] = {};
    if (!in_tail(a.rows, at.row)) {
        int clip = clip_of_row(a.rows, at.row);
        float share = share_of(a.rows, clip);
        if (at.row - a.rows.offset[clip] < a.rows.length[clip])
            load_span<T>(g, a.dy, clip, at.column);
        for (int i = 0; i < SPAN; i++)
            g[i] *= share;
    }
    store_span<T>(a.dx, at.row, at.column, g);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

void cuda_pack_rows(struct stream *s, const struct pack_rows *a)
{
    struct pack_rows all = *a;
    all.packed.rows = a->rows.count;
    size_t count = span_total(all.packed);
    with_type(run_type(a->padded.type, a->packed.type),
              [&](auto t) { LAUNCH(s, launch_over(count), pack_rows_kernel<decltype(t)>, all, count); });
}

void cuda_unpack_rows(struct stream *s, const struct unpack_rows *a)
{
    struct unpack_rows all = *a;
    all.padded.rows = a->rows.clips * a->rows.frames;
    size_t count = span_total(all.padded);
    with_type(run_type(a->packed.type, a->padded.type),
              [&](auto t) { LAUNCH(s, launch_over(count), unpack_rows_kernel<decltype(t)>, all, count); });
}

void cuda_mixup_forward(struct stream *s, const struct mixup_forward *a)
{
    struct mixup_forward all = *a;
    all.y.rows = a->rows.count;
    size_t count = span_total(all.y);
    with_type(run_type(a->x.type, a->y.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mixup_forward_kernel<decltype(t)>, all, count); });
}

void cuda_mixup_backward(struct stream *s, const struct mixup_backward *a)
{
    struct mixup_backward all = *a;
    all.dx.rows = a->rows.count;
    size_t count = span_total(all.dx);
    with_type(run_type(a->dy.type, a->dx.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mixup_backward_kernel<decltype(t)>, all, count); });
}

void cuda_mean_forward(struct stream *s, const struct mean_forward *a)
{
    struct mean_forward all = *a;
    all.y.rows = a->rows.clips;
    size_t count = span_total(all.y);
    with_type(run_type(a->x.type, a->y.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mean_forward_kernel<decltype(t)>, all, count); });
}

void cuda_mean_backward(struct stream *s, const struct mean_backward *a)
{
    struct mean_backward all = *a;
    all.dx.rows = a->rows.count;
    size_t count = span_total(all.dx);
    with_type(run_type(a->dy.type, a->dx.type),
              [&](auto t) { LAUNCH(s, launch_over(count), mean_backward_kernel<decltype(t)>, all, count); });
}
