// What works on the flat buffers of parameters: sum of squares, AdamW with EMA and work copies, packing, conversion.
// backend.h.
// A thread takes eight elements.
#include "kernels/cuda/kernel.cuh"

// How many of eight elements from `first` on are among `count`.
__device__ static inline int span_left(size_t first, size_t count)
{
    return first + SPAN <= count ? SPAN : first < count ? static_cast<int>(count - first) : 0;
}

// ---- sum of squares -----------------------------------------------------------------------------------------------
// A block adds up SQUARES_SPAN elements to partial[block]; then one block adds up these.

enum { FINISH_THREADS = 512 };

__global__ void __launch_bounds__(THREADS) sum_squares_kernel(struct sum_squares a)
{
    size_t first = static_cast<size_t>(blockIdx.x) * SQUARES_SPAN;
    double sum = 0;
    for (int i = threadIdx.x * SPAN; i < SQUARES_SPAN; i += THREADS * SPAN) {
        float x[SPAN];
        load_span(x, a.x + first + i, span_left(first + i, a.count));
        for (int k = 0; k < SPAN; k++)
            sum += static_cast<double>(x[k]) * x[k];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        a.partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(FINISH_THREADS) add_squares_kernel(struct add_squares a)
{
    double sum = 0;
    for (size_t i = threadIdx.x; i < a.count; i += FINISH_THREADS)
        sum += a.partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *a.out = sum;
}

void cuda_sum_squares(struct stream *s, const struct sum_squares *a)
{
    size_t chunks = (a->count + SQUARES_SPAN - 1) / SQUARES_SPAN;
    LAUNCH(s, (launch_shape{dim3(static_cast<unsigned>(chunks)), dim3(THREADS), 0}), sum_squares_kernel, *a);
}

void cuda_add_squares(struct stream *s, const struct add_squares *a)
{
    LAUNCH(s, (launch_shape{dim3(1), dim3(FINISH_THREADS), 0}), add_squares_kernel, *a);
}

// ---- AdamW --------------------------------------------------------------------------------------------------------

namespace
{
// The step's scalars, combined.
struct update {
    float gradient_scale; // clipping and loss scale
    float rate;           // lr / bias1
    float root_bias2;     // 1 / sqrt(bias2)
    float shrink;         // 1 - lr*weight_decay
    float ema;            // alpha
    int skip;             // the gradient is not finite
};
} // namespace

__device__ static inline struct update combine(const struct adamw &a)
{
    const struct step_scalars *t = a.scalars;
    double norm = sqrt(*a.square_norm) / t->loss_scale, clip = 1;
    if (a.clip > 0 && norm + 1e-6 > a.clip)
        clip = a.clip / (norm + 1e-6);
    return {static_cast<float>(clip / t->loss_scale),
            t->lr / t->bias1,
            1 / sqrtf(t->bias2),
            1 - t->lr * a.weight_decay,
            t->ema_alpha,
            !isfinite(norm)};
}

template <class T> __global__ void __launch_bounds__(THREADS) adamw_kernel(struct adamw a)
{
    SHARED(struct update, combined, 1);
    if (threadIdx.x == 0)
        combined[0] = combine(a);
    __syncthreads();
    const struct update u = combined[0];
    size_t at = item_index() * SPAN;
    if (at >= a.count || u.skip)
        return;
    float w[SPAN], g[SPAN], m[SPAN], v[SPAN], e[SPAN] = {};
    load_span(w, a.weight + at, SPAN);
    load_span(g, a.gradient + at, SPAN);
    load_span(m, a.m + at, SPAN);
    load_span(v, a.v + at, SPAN);
    if (a.ema)
        load_span(e, a.ema + at, SPAN);
    float shrink = a.decay[at / PARAMETER_ALIGN] ? u.shrink : 1;
    for (int i = 0; i < SPAN; i++) {
        float gradient = g[i] * u.gradient_scale;
        m[i] += (gradient - m[i]) * (1 - a.beta1);
        v[i] = v[i] * a.beta2 + gradient * gradient * (1 - a.beta2);
        w[i] = w[i] * shrink - u.rate * (m[i] / (sqrtf(v[i]) * u.root_bias2 + a.eps));
        e[i] = e[i] * u.ema + w[i] * (1 - u.ema);
    }
    store_span(a.m + at, SPAN, m);
    store_span(a.v + at, SPAN, v);
    store_span(a.weight + at, SPAN, w);
    if (a.work)
        store_span(static_cast<T *>(a.work) + at, SPAN, w);
    if (a.ema)
        store_span(a.ema + at, SPAN, e);
    if (a.ema && a.ema_work)
        store_span(static_cast<T *>(a.ema_work) + at, SPAN, e);
}

void cuda_adamw(struct stream *s, const struct adamw *a)
{
    assert(a->count % PARAMETER_ALIGN == 0);
    assert(a->work_type != DTYPE_F32 || (!a->work && !a->ema_work));
    with_type(a->work_type, [&](auto t) { LAUNCH(s, launch_over(a->count / SPAN), adamw_kernel<decltype(t)>, *a); });
}

// ---- packing ------------------------------------------------------------------------------------------------------

enum { SPANS_A_BLOCK = PARAMETER_ALIGN / SPAN };

// Copies block `from` of x to block `to` of y: this thread's eight elements of it.
__device__ static inline void copy_block(float *y, int32_t to, const float *x, int32_t from)
{
    size_t within = item_index() % SPANS_A_BLOCK * SPAN;
    float v[SPAN];
    load_span(v, x + static_cast<size_t>(from) * PARAMETER_ALIGN + within, SPAN);
    store_span(y + static_cast<size_t>(to) * PARAMETER_ALIGN + within, SPAN, v);
}

__global__ void __launch_bounds__(THREADS) pack_blocks_kernel(struct pack_blocks a)
{
    int32_t i = static_cast<int32_t>(item_index() / SPANS_A_BLOCK);
    if (i < a.count && a.block[i] >= 0)
        copy_block(a.packed, i, a.flat, a.block[i]);
}

__global__ void __launch_bounds__(THREADS) unpack_blocks_kernel(struct unpack_blocks a)
{
    int32_t i = static_cast<int32_t>(item_index() / SPANS_A_BLOCK);
    if (i < a.count && a.block[i] >= 0)
        copy_block(a.flat, a.block[i], a.packed, i);
}

void cuda_pack_blocks(struct stream *s, const struct pack_blocks *a)
{
    LAUNCH(s, launch_over(static_cast<size_t>(a->count) * SPANS_A_BLOCK), pack_blocks_kernel, *a);
}

void cuda_unpack_blocks(struct stream *s, const struct unpack_blocks *a)
{
    LAUNCH(s, launch_over(static_cast<size_t>(a->count) * SPANS_A_BLOCK), unpack_blocks_kernel, *a);
}

// ---- conversion ---------------------------------------------------------------------------------------------------

template <class From, class To>
__global__ void __launch_bounds__(THREADS) convert_kernel(const From *x, To *y, size_t count)
{
    size_t at = item_index() * SPAN;
    int left = span_left(at, count);
    float v[SPAN];
    load_span(v, x + at, left);
    store_span(y + at, left, v);
}

void cuda_convert(struct stream *s, const struct convert *a)
{
    size_t spans = (a->count + SPAN - 1) / SPAN;
    with_type(a->from, [&](auto from) {
        with_type(a->to, [&](auto to) {
            using From = decltype(from);
            using To = decltype(to);
            LAUNCH(s, launch_over(spans), convert_kernel<From, To>, static_cast<const From *>(a->x),
                   static_cast<To *>(a->y), a->count);
        });
    });
}
