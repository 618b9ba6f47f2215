// 16-bit floating-point formats to fp32, exactly.
#ifndef ISLR_CKPT_HALF_H
#define ISLR_CKPT_HALF_H

#include <stdint.h>
#include <string.h>

// bfloat16: the upper half of an fp32.
static inline float half_from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}

// IEEE 754 binary16, subnormals, infinities and NaNs included.
static inline float half_from_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF, wide;
    if (exponent == 0x1F) {
        wide = sign | 0x7F800000u | fraction << 13;
    } else if (exponent) {
        wide = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}

#endif
