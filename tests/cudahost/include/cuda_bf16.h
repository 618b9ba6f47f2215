// Stands in for the toolkit's header of that name in the host model: the type and the two conversions that
// kernels/cuda/kernel.cuh uses. test_types.cc holds them against the toolkit's own, where there is a toolkit.
#ifndef ISLR_TESTS_CUDAHOST_CUDA_BF16_H
#define ISLR_TESTS_CUDAHOST_CUDA_BF16_H

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline float __bfloat162float(__nv_bfloat16 x)
{
    uint32_t u = static_cast<uint32_t>(x.bits) << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

// To nearest, ties to even; any NaN becomes the one NaN.
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (x != x)
        return {0x7fff};
    return {static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}

#endif
