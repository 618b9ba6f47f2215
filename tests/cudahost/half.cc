// Compiled twice, with the host model's headers and with the toolkit's: see half.h.
#include "tests/cudahost/half.h"

#include <cstring>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <class T> static T of_bits(uint16_t bits)
{
    T x;
    static_assert(sizeof x == sizeof bits, "");
    memcpy(static_cast<void *>(&x), &bits, sizeof x);
    return x;
}

template <class T> static uint16_t bits_of(T x)
{
    uint16_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

const struct conversions HALF_CONVERSIONS = {
    [](uint16_t bits) { return __bfloat162float(of_bits<__nv_bfloat16>(bits)); },
    [](float x) { return bits_of(__float2bfloat16_rn(x)); },
    [](uint16_t bits) { return __half2float(of_bits<__half>(bits)); },
    [](float x) { return bits_of(__float2half_rn(x)); },
};
