// The four conversions that kernels/cuda/kernel.cuh uses, on bits; once as the host model has them, once as the
// toolkit.
#ifndef ISLR_TESTS_CUDAHOST_HALF_H
#define ISLR_TESTS_CUDAHOST_HALF_H

#include <cstdint>

struct conversions {
    float (*bf16_to_float)(uint16_t bits);
    uint16_t (*bf16_of_float)(float x);
    float (*fp16_to_float)(uint16_t bits);
    uint16_t (*fp16_of_float)(float x);
};
extern const struct conversions model_conversions, toolkit_conversions;

#endif
