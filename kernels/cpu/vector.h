// Vectors of the instruction set that the file is compiled for, in GCC's vector extension: `vf` is VLEN floats, `vi` and
// `vu` as many 32-bit integers; + - * / and comparisons work lane by lane (a comparison gives -1 or 0 in vi).
#ifndef ISLR_KERNELS_CPU_VECTOR_H
#define ISLR_KERNELS_CPU_VECTOR_H

#include <assert.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/backend.h"

#if defined(__AVX512F__)
enum { VLEN = 16 };
#elif defined(__AVX2__)
enum { VLEN = 8 };
#else
enum { VLEN = 4 };
#endif

typedef float vf __attribute__((vector_size(VLEN * 4)));
typedef int32_t vi __attribute__((vector_size(VLEN * 4)));
typedef uint32_t vu __attribute__((vector_size(VLEN * 4)));
typedef uint16_t vh __attribute__((vector_size(VLEN * 2)));

#define VEC_INLINE static inline __attribute__((always_inline))

// ---- scalars of bf16 ----------------------------------------------------------------------------------------------

VEC_INLINE float bf16_to_float(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

// To nearest, ties to even; a NaN stays one.
VEC_INLINE uint16_t bf16_of_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if (f != f)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// ---- lanes --------------------------------------------------------------------------------------------------------

VEC_INLINE vf vec_set(float x)
{
    return (vf){} + x;
}

VEC_INLINE vf vec_select(vi mask, vf yes, vf no) // mask: -1 or 0 in each lane
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

VEC_INLINE vf vec_min(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#endif
}

VEC_INLINE vf vec_max(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#endif
}

// Sum of the lanes, always in the same order.
VEC_INLINE float vec_sum(vf x)
{
    float v[VLEN];
    memcpy(v, &x, sizeof v);
    for (int width = VLEN / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            v[i] += v[i + width];
    return v[0];
}

VEC_INLINE float vec_highest(vf x)
{
    float v[VLEN];
    memcpy(v, &x, sizeof v);
    for (int width = VLEN / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            v[i] = v[i] > v[i + width] ? v[i] : v[i + width];
    return v[0];
}

// ---- memory: rows of fp32 or bf16 ---------------------------------------------------------------------------------

VEC_INLINE vf vec_of_bf16(vh x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
#elif defined(__AVX2__)
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)x), 16);
#else
    return (vf)(__builtin_convertvector(x, vu) << 16);
#endif
}

VEC_INLINE vh vec_to_bf16(vf x)
{
#if defined(__AVX512BF16__)
    return (vh)_mm512_cvtneps_pbh((__m512)x); // takes denormal numbers for zero; the others keep them
#else
    vu u = (vu)x;
    vu rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    vu number = (vu)(x == x);
    return __builtin_convertvector((rounded & number) | ((u >> 16 | 0x40) & ~number), vh);
#endif
}

// The tail of a row: `left` < VLEN elements at p; the other lanes are zero.
VEC_INLINE vf vec_load_tail_f32(const float *p, int left)
{
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << left) - 1), p);
#else
    vf x = {};
    for (int i = 0; i < left; i++)
        x[i] = p[i];
    return x;
#endif
}

VEC_INLINE vh vec_load_tail_16(const uint16_t *p, int left)
{
#if defined(__AVX512F__)
    return (vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << left) - 1), p);
#else
    vh x = {};
    for (int i = 0; i < left; i++)
        x[i] = p[i];
    return x;
#endif
}

VEC_INLINE void vec_store_tail_f32(float *p, int left, vf x)
{
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << left) - 1), (__m512)x);
#else
    for (int i = 0; i < left; i++)
        p[i] = x[i];
#endif
}

VEC_INLINE void vec_store_tail_16(uint16_t *p, int left, vh x)
{
#if defined(__AVX512F__)
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << left) - 1), (__m256i)x);
#else
    for (int i = 0; i < left; i++)
        p[i] = x[i];
#endif
}

// VLEN elements at row[column..], unaligned; `left` = columns of the row - column. Lanes from `left` on are zero.
VEC_INLINE vf vec_load(const void *row, enum dtype type, int column, int left)
{
    if (type == DTYPE_F32) {
        const float *p = (const float *)row + column;
        vf x;
        if (__builtin_expect(left < VLEN, 0))
            return vec_load_tail_f32(p, left);
        memcpy(&x, p, sizeof x);
        return x;
    }
    assert(type == DTYPE_BF16);
    const uint16_t *p = (const uint16_t *)row + column;
    vh x;
    if (__builtin_expect(left < VLEN, 0))
        return vec_of_bf16(vec_load_tail_16(p, left));
    memcpy(&x, p, sizeof x);
    return vec_of_bf16(x);
}

VEC_INLINE void vec_store(void *row, enum dtype type, int column, int left, vf x)
{
    if (type == DTYPE_F32) {
        float *p = (float *)row + column;
        if (__builtin_expect(left < VLEN, 0))
            vec_store_tail_f32(p, left, x);
        else
            memcpy(p, &x, sizeof x);
        return;
    }
    assert(type == DTYPE_BF16);
    uint16_t *p = (uint16_t *)row + column;
    vh h = vec_to_bf16(x);
    if (__builtin_expect(left < VLEN, 0))
        vec_store_tail_16(p, left, h);
    else
        memcpy(p, &h, sizeof h);
}

// Full vectors of fp32, unaligned.
VEC_INLINE vf vec_loadu(const float *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}

VEC_INLINE void vec_storeu(float *p, vf x)
{
    memcpy(p, &x, sizeof x);
}

// ---- functions ----------------------------------------------------------------------------------------------------

// e^x, relative error below 2e-7; x is limited to [-87, 88]. Range reduction by ln 2 in two parts, then Cephes' polynomial.
VEC_INLINE vf vec_exp(vf x)
{
    x = vec_max(vec_min(x, vec_set(88.0f)), vec_set(-87.0f));
    const float shift = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    vf t = x * 1.44269504088896341f + shift;
    vu n = (vu)t << 23; // 2^n's exponent, less the bias
    t -= shift;
    vf r = x - t * 0.693359375f;
    r = r + t * 2.12194440e-4f;
    vf p = vec_set(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (vf)((vu)p + n);
}

#endif
