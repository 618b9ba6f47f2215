// Stands in for the toolkit's header of that name in the host model: the type and the two conversions that
// kernels/cuda/kernel.cuh uses. test_types.cc holds them against the toolkit's own, where there is a toolkit.
#ifndef ISLR_TESTS_CUDAHOST_CUDA_FP16_H
#define ISLR_TESTS_CUDAHOST_CUDA_FP16_H

#ifdef __aarch64__
typedef __fp16 cudahost_fp16; // g++ knows _Float16 there from 13 on
#else
typedef _Float16 cudahost_fp16;
#endif

struct __half {
    cudahost_fp16 value;
};

static inline float __half2float(__half x)
{
    return static_cast<float>(x.value);
}

static inline __half __float2half_rn(float x)
{
    return {static_cast<cudahost_fp16>(x)};
}

#endif
