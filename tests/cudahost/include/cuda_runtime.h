// Stands in for the toolkit's header of that name where kernels are compiled for the host model: what CUDA C++ adds to
// the language, as far as kernels/cuda uses it, over tests/cudahost/machine.h. Launches and shared memory are spelled
// differently on the host and go through kernels/cuda/kernel.cuh, which includes tests/cudahost/launch.h for them.
#ifndef ISLR_TESTS_CUDAHOST_CUDA_RUNTIME_H
#define ISLR_TESTS_CUDAHOST_CUDA_RUNTIME_H

#include <cstring>
#include <math.h>

#include "cuda_runtime_api.h"
#include "tests/cudahost/machine.h"

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

template <class T> static inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, T *)
{
    return cudahost_function_attributes(attributes);
}

// ---- barriers and warps -------------------------------------------------------------------------------------------

#define CUDAHOST_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(CUDAHOST_HERE)
{
    cudahost::block_barrier({"__syncthreads", file, line});
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, CUDAHOST_HERE)
{
    cudahost::warp_barrier(mask, {"__syncwarp", file, line});
}

template <class T> static inline T cudahost_shuffle(unsigned mask, T x, int from, const cudahost::site &where)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    const uint64_t *all = cudahost::warp_exchange(mask, bits, where);
    if (!(mask >> from & 1))
        cudahost::end_kernel("%s (line %d) reads lane %d, which is not in the mask %08x", where.operation, where.line,
                             from, mask);
    memcpy(&x, &all[from], sizeof x);
    return x;
}

static inline int cudahost_lane()
{
    return cudahost::now.thread % cudahost::WARP;
}

// A lane outside the segment of `width` gives the calling lane's own value.
template <class T> static inline T __shfl_sync(unsigned mask, T x, int lane, int width = 32, CUDAHOST_HERE)
{
    int first = cudahost_lane() / width * width;
    return cudahost_shuffle(mask, x, first + lane % width, {"__shfl_sync", file, line});
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T x, int lanes, int width = 32, CUDAHOST_HERE)
{
    int self = cudahost_lane(), from = self ^ lanes;
    from = from / width > self / width ? self : from;
    return cudahost_shuffle(mask, x, from, {"__shfl_xor_sync", file, line});
}

template <class T> static inline T __shfl_down_sync(unsigned mask, T x, int lanes, int width = 32, CUDAHOST_HERE)
{
    int self = cudahost_lane(), from = self + lanes;
    from = from / width > self / width ? self : from;
    return cudahost_shuffle(mask, x, from, {"__shfl_down_sync", file, line});
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDAHOST_HERE)
{
    const uint64_t *all = cudahost::warp_exchange(mask, predicate != 0, {"__ballot_sync", file, line});
    unsigned votes = 0;
    for (int i = 0; i < cudahost::WARP; i++)
        if (mask >> i & 1)
            votes |= static_cast<unsigned>(all[i]) << i;
    return votes;
}

static inline int __any_sync(unsigned mask, int predicate, CUDAHOST_HERE)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}

static inline int __all_sync(unsigned mask, int predicate, CUDAHOST_HERE)
{
    return __ballot_sync(mask, predicate, file, line) == mask;
}

// ---- atomics: of integers alone, since the order of float sums would show in the bits ------------------------------

template <class T> static inline T cudahost_exchange(T *p, T x)
{
    T old = *p;
    *p = x;
    return old;
}

static inline int atomicAdd(int *p, int x)
{
    return cudahost_exchange(p, *p + x);
}
static inline unsigned atomicAdd(unsigned *p, unsigned x)
{
    return cudahost_exchange(p, *p + x);
}
static inline int atomicMax(int *p, int x)
{
    return cudahost_exchange(p, *p > x ? *p : x);
}
static inline int atomicMin(int *p, int x)
{
    return cudahost_exchange(p, *p < x ? *p : x);
}
static inline unsigned atomicOr(unsigned *p, unsigned x)
{
    return cudahost_exchange(p, *p | x);
}
static inline int atomicCAS(int *p, int expected, int x)
{
    return cudahost_exchange(p, *p == expected ? x : *p);
}
float atomicAdd(float *p, float x) = delete;
double atomicAdd(double *p, double x) = delete;

// ---- arithmetic ---------------------------------------------------------------------------------------------------

static inline int min(int a, int b)
{
    return a < b ? a : b;
}
static inline int max(int a, int b)
{
    return a > b ? a : b;
}

// ---- bits ---------------------------------------------------------------------------------------------------------

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}

#endif
