// What the kernels of this directory share: types and 16-byte accesses, reductions, dropout, Mish, launches. Device
// code; compiled by nvcc for cards and by a host compiler for the host model (ISLR_CUDAHOST; tests/cudahost).
#ifndef ISLR_KERNELS_CUDA_KERNEL_CUH
#define ISLR_KERNELS_CUDA_KERNEL_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "core/base/philox.h"
#include "kernels/cuda/cuda.h"

// ---- shared memory and launches -----------------------------------------------------------------------------------
// SHARED(type, name, size): an array in a block's shared memory, aligned to 16 bytes. DYNAMIC_SHARED(type, name): what
// the launch asked for; one a kernel. shared<T> is a pointer into either. load4() and store4() move four floats at
// once.

#ifdef ISLR_CUDAHOST
#include "tests/cudahost/launch.h"
#else
template <class T> using shared = T *;

#define SHARED(type, name, size)                                                                                       \
    __shared__ __align__(16) type name##_memory[size];                                                                 \
    const shared<type> name = name##_memory

#define DYNAMIC_SHARED(type, name)                                                                                     \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];                                             \
    const shared<type> name = reinterpret_cast<type *>(dynamic_shared_memory)

__device__ inline float4 load4(shared<float> p)
{
    return *reinterpret_cast<const float4 *>(p);
}

__device__ inline void store4(shared<float> p, float4 x)
{
    *reinterpret_cast<float4 *>(p) = x;
}
#endif

struct launch_shape {
    dim3 grid, block;
    size_t shared_bytes; // dynamic
};

// LAUNCH(s, shape, kernel, arguments...): queues the kernel on the stream, unless something before it failed or the
// grid is empty.
#define LAUNCH(s, shape, ...) launch_kernel(s, #__VA_ARGS__, shape, __VA_ARGS__)

template <class... P, class... A>
void launch_kernel(struct stream *s, const char *text, const launch_shape &shape, void (*kernel)(P...), const A &...a)
{
    if (!cuda_ok(s) || shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0)
        return;
#ifdef ISLR_CUDAHOST
    cudahost::launch(cuda_stream_of(s), {text, shape.grid, shape.block, shape.shared_bytes}, [=] { kernel(a...); });
#else
    kernel<<<shape.grid, shape.block, shape.shared_bytes, cuda_stream_of(s)>>>(a...);
#endif
    cuda_check(s, cudaGetLastError(), text);
}

// SHARES(usual, small): a number that only decides into how many shares a sum or a pass is cut. Where the tests have
// everything cut up (tests/cudahost/meson.build), it is so small that small shapes are, too.
#ifdef ISLR_SMALL_SHARES
#define SHARES(usual, small) (small)
#else
#define SHARES(usual, small) (usual)
#endif

// A thread for each of `count` items.
enum { THREADS = 256 };
static inline launch_shape launch_over(size_t count)
{
    return {dim3(static_cast<unsigned>((count + THREADS - 1) / THREADS)), dim3(THREADS), 0};
}
__device__ inline size_t item_index()
{
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// ---- types --------------------------------------------------------------------------------------------------------

typedef __nv_bfloat16 bf16;
typedef __half fp16;

__device__ inline float to_float(float x)
{
    return x;
}
__device__ inline float to_float(bf16 x)
{
    return __bfloat162float(x);
}
__device__ inline float to_float(fp16 x)
{
    return __half2float(x);
}

template <class T> __device__ T from_float(float x);
template <> __device__ inline float from_float<float>(float x)
{
    return x;
}
template <> __device__ inline bf16 from_float<bf16>(float x)
{
    return __float2bfloat16_rn(x);
}
template <> __device__ inline fp16 from_float<fp16>(float x)
{
    return __float2half_rn(x);
}

// Calls f with a value of the C++ type that belongs to a dtype.
template <class F> void with_type(enum dtype type, F f)
{
    if (type == DTYPE_F32)
        f(float());
    else if (type == DTYPE_BF16)
        f(bf16());
    else
        f(fp16());
}

// The run's type among matrices each of which may be fp32 instead.
static inline enum dtype run_type(enum dtype a, enum dtype b = DTYPE_F32, enum dtype c = DTYPE_F32,
                                  enum dtype d = DTYPE_F32)
{
    return a != DTYPE_F32 ? a : b != DTYPE_F32 ? b : c != DTYPE_F32 ? c : d;
}

// ---- eight elements of a row --------------------------------------------------------------------------------------
// The unit of almost all memory traffic: 16 bytes of a 16-bit type, or twice that; and one draw of dropout.

enum { SPAN = 8 };

__host__ __device__ static inline int span_count(int columns)
{
    return (columns + SPAN - 1) / SPAN;
}

static inline size_t span_total(const struct mat &m)
{
    return static_cast<size_t>(m.rows) * span_count(m.columns);
}

// Elements p[0..left) of up to eight; the others become zero.
template <class T> __device__ inline void load_span(float v[SPAN], const T *p, int left)
{
    union {
        uint4 words[SPAN * sizeof(T) / 16];
        T x[SPAN];
    } u;
    if (left >= SPAN && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
#pragma unroll
        for (int i = 0; i < static_cast<int>(SPAN * sizeof(T) / 16); i++)
            u.words[i] = reinterpret_cast<const uint4 *>(p)[i];
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            v[i] = to_float(u.x[i]);
    } else {
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            v[i] = i < left ? to_float(p[i]) : 0;
    }
}

template <class T> __device__ inline void store_span(T *p, int left, const float v[SPAN])
{
    union {
        uint4 words[SPAN * sizeof(T) / 16];
        T x[SPAN];
    } u;
    if (left >= SPAN && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            u.x[i] = from_float<T>(v[i]);
#pragma unroll
        for (int i = 0; i < static_cast<int>(SPAN * sizeof(T) / 16); i++)
            reinterpret_cast<uint4 *>(p)[i] = u.words[i];
    } else {
#pragma unroll
        for (int i = 0; i < SPAN; i++)
            if (i < left)
                p[i] = from_float<T>(v[i]);
    }
}

template <class T> __device__ inline T *mat_at(const struct mat &m, int row, int column)
{
    return static_cast<T *>(m.data) + static_cast<size_t>(row) * m.stride + column;
}

// Of a matrix that is of type T or fp32.
template <class T> __device__ inline void load_span(float v[SPAN], const struct mat &m, int row, int column)
{
    if (m.type == DTYPE_F32)
        load_span(v, mat_at<const float>(m, row, column), m.columns - column);
    else
        load_span(v, mat_at<const T>(m, row, column), m.columns - column);
}

template <class T> __device__ inline void store_span(const struct mat &m, int row, int column, const float v[SPAN])
{
    if (m.type == DTYPE_F32)
        store_span(mat_at<float>(m, row, column), m.columns - column, v);
    else
        store_span(mat_at<T>(m, row, column), m.columns - column, v);
}

// Item i of the spans of a matrix, row by row.
struct span_place {
    int row, column;
};
__device__ inline span_place span_place_of(size_t item, int columns)
{
    int across = (columns + SPAN - 1) / SPAN;
    return {static_cast<int>(item / across), static_cast<int>(item % across) * SPAN};
}

// ---- reductions: the order is that of the threads -----------------------------------------------------------------

enum { WARP_SIZE = 32 };
constexpr unsigned ALL_LANES = 0xffffffff;

__device__ inline int lane_index()
{
    return threadIdx.x % WARP_SIZE;
}

__device__ inline int warp_index()
{
    return threadIdx.x / WARP_SIZE;
}

// Every lane gets the sum over its segment of `width` lanes.
template <class T> __device__ inline T warp_sum(T x, int width = WARP_SIZE)
{
    for (int step = width / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

__device__ inline float warp_max(float x, int width = WARP_SIZE)
{
    for (int step = width / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

// Over a block of one dimension, a whole number of warps; every thread gets the sum. A barrier for the block.
template <class T> __device__ inline T block_sum(T x)
{
    SHARED(T, partial, WARP_SIZE);
    int warps = blockDim.x / WARP_SIZE;
    x = warp_sum(x);
    if (warps == 1)
        return x;
    __syncthreads(); // nobody reads an earlier call's
    if (lane_index() == 0)
        partial[warp_index()] = x;
    __syncthreads();
    return warp_sum(lane_index() < warps ? static_cast<T>(partial[lane_index()]) : static_cast<T>(0));
}

__device__ inline float block_max(float x)
{
    SHARED(float, partial, WARP_SIZE);
    int warps = blockDim.x / WARP_SIZE;
    x = warp_max(x);
    if (warps == 1)
        return x;
    __syncthreads();
    if (lane_index() == 0)
        partial[warp_index()] = x;
    __syncthreads();
    return warp_max(lane_index() < warps ? static_cast<float>(partial[lane_index()]) : -INFINITY);
}

// ---- dropout: struct dropout of backend.h -------------------------------------------------------------------------

struct dropout_draw {
    bool on;
    uint32_t threshold; // kept where the 16 bits are not below it
    float scale;
    uint64_t seed;
    uint32_t step, purpose;
};

__device__ inline dropout_draw dropout_begin(const struct dropout &d)
{
    dropout_draw draw = {};
    if (d.p <= 0)
        return draw;
    draw.on = true;
    draw.threshold = static_cast<uint32_t>(d.p * 65536.0f + 0.5f);
    draw.scale = 1 / (1 - d.p);
    draw.seed = d.seed;
    draw.step = d.scalars->step;
    draw.purpose = static_cast<uint32_t>(RNG_DROPOUT) << 24 | d.site;
    return draw;
}

// Bit i of the result: element column + i of the row is kept. column is a multiple of eight.
__device__ inline unsigned dropout_kept(const dropout_draw &draw, uint32_t row_id, int column)
{
    struct philox_block block = philox4x32(draw.seed, column / SPAN, row_id, draw.step, draw.purpose);
    unsigned kept = 0;
#pragma unroll
    for (int i = 0; i < SPAN; i++)
        kept |= static_cast<unsigned>((block.v[i / 2] >> (i % 2 * 16) & 0xffff) >= draw.threshold) << i;
    return kept;
}

// Factors of eight elements: 0 or 1/(1-p); 1 without dropout.
__device__ inline void dropout_factors(const dropout_draw &draw, uint32_t row_id, int column, float factor[SPAN])
{
    unsigned kept = draw.on ? dropout_kept(draw, row_id, column) : ~0u;
    float scale = draw.on ? draw.scale : 1;
#pragma unroll
    for (int i = 0; i < SPAN; i++)
        factor[i] = kept >> i & 1 ? scale : 0;
}

// ---- Mish ---------------------------------------------------------------------------------------------------------
// mish(x) = x*tanh(softplus(x)), without tanh or logarithm: with e = e^x and n = e(e+2), tanh(ln(1+e)) = n/(n+2). From
// 20 on that is 1 to the last bit, and e^2 must not overflow.

__device__ inline float mish_value(float x)
{
    float e = expf(x > 20 ? 20 : x), n = e * (e + 2);
    return x * (n / (n + 2));
}

// tanh(softplus) + x * (1 - tanh^2) * sigmoid(x), where (1 - tanh^2) = 4(1+e)^2/(n+2)^2 and sigmoid = e/(1+e).
__device__ inline float mish_slope(float x)
{
    x = x > 20 ? 20 : x;
    float e = expf(x), n = e * (e + 2), r = 1 / (n + 2);
    return (n + x * (4 * r) * (e * (e + 1))) * r;
}

// ---- rows of clips ------------------------------------------------------------------------------------------------

// The clip whose packed rows `row` is among, which must not be in the tail: the last whose offset is not above it.
__device__ inline int clip_of_row(const struct rows &rows, int row)
{
    int low = 0, high = rows.clips - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (rows.offset[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

__device__ inline bool in_tail(const struct rows &rows, int row)
{
    return row >= rows.offset[rows.clips];
}

#endif
