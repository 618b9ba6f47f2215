// Vectors of the instruction set that the file is compiled for, in GCC's vector extension: `vf` is VLEN floats, `vi` and
// `vu` as many 32-bit integers; + - * / and comparisons work lane by lane (a comparison gives -1 or 0 in vi).
//
// What the extension has no operator for has a branch of intrinsics for x86-64's instruction sets, and one for all other
// machines that GCC makes good NEON of (fcmgt and bif, fsqrt, umull). Both give the same bits.
//
// The compiler may contract a * b + c to one rounding: v3, v4 and NEON have such an instruction, v2 and generic have none.
// So floats differ by roundings between instruction sets, as they do by the order of sums, which follows VLEN; the tests'
// tolerances hold for all of them. What is drawn (dropout.h) is integers, the same everywhere.
#ifndef ISLR_KERNELS_CPU_VECTOR_H
#define ISLR_KERNELS_CPU_VECTOR_H

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE4_1__
#include <immintrin.h>
#endif

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

// The lesser lanes; b where one of the two is NaN.
VEC_INLINE vf vec_min(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE4_1__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vec_select(a < b, a, b);
#endif
}

// The greater lanes; b where one of the two is NaN.
VEC_INLINE vf vec_max(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE4_1__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vec_select(a > b, a, b);
#endif
}

VEC_INLINE vf vec_sqrt(vf x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE4_1__)
    return (vf)_mm_sqrt_ps((__m128)x);
#else
    vf root;
    for (int i = 0; i < VLEN; i++)
        root[i] = sqrtf(x[i]);
    return root;
#endif
}

// High and low halves of m * x.
VEC_INLINE void vec_multiply_wide(uint32_t m, vu x, vu *high, vu *low)
{
#if defined(__AVX512F__)
    __m512i factor = _mm512_set1_epi32((int)m), even = _mm512_mul_epu32((__m512i)x, factor);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)x, 32), factor);
    *high = (vu)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    *low = (vu)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
#elif defined(__AVX2__)
    __m256i factor = _mm256_set1_epi32((int)m), even = _mm256_mul_epu32((__m256i)x, factor);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)x, 32), factor);
    *high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *low = (vu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
#elif defined(__SSE4_1__)
    __m128i factor = _mm_set1_epi32((int)m), even = _mm_mul_epu32((__m128i)x, factor);
    __m128i odd = _mm_mul_epu32(_mm_srli_epi64((__m128i)x, 32), factor);
    *high = (vu)_mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xCC);
    *low = (vu)_mm_blend_epi16(even, _mm_slli_epi64(odd, 32), 0xCC);
#else
    *low = x * m;
    for (int i = 0; i < VLEN; i++)
        (*high)[i] = (uint32_t)((uint64_t)x[i] * m >> 32);
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
