// Dropout factors of a row, VLEN at a time, drawn as struct dropout (backend.h) says: 16 bits an element from
// philox4x32 (core/base/philox.h), VLEN blocks of 8 elements at once.
//
//     struct dropout_draw draw = dropout_begin(&a->dropout);       once an operation
//     struct dropout_row row; dropout_row_begin(&row, &draw, id[r], 0);   once a row
//     for (int c = 0; c < columns; c += VLEN)                      every column in order
//         x * dropout_next(&row, c)                                0 or 1/(1-p)
#ifndef ISLR_KERNELS_CPU_DROPOUT_H
#define ISLR_KERNELS_CPU_DROPOUT_H

#include "core/base/philox.h"
#include "kernels/cpu/vector.h"

enum { DROPOUT_SPAN = 8 * VLEN }; // elements drawn at once

struct dropout_draw {
    int on;
    uint32_t threshold; // kept where the 16 bits are not below it
    float scale;
    uint64_t seed;
    uint32_t step, purpose;
};

struct dropout_row {
    const struct dropout_draw *draw;
    uint32_t id;
    uint32_t first_block;
    uint16_t bits[DROPOUT_SPAN] __attribute__((aligned(64)));
};

VEC_INLINE struct dropout_draw dropout_begin(const struct dropout *d)
{
    struct dropout_draw draw = {0};
    if (d->p <= 0)
        return draw;
    assert(d->p < 1 && d->scalars);
    draw.on = 1;
    draw.threshold = (uint32_t)((double)d->p * 65536 + 0.5);
    draw.scale = 1 / (1 - d->p);
    draw.seed = d->seed;
    draw.step = d->scalars->step;
    draw.purpose = (uint32_t)RNG_DROPOUT << 24 | d->site;
    return draw;
}

// `first_column`: a multiple of 8; dropout_next counts from it.
VEC_INLINE void dropout_row_begin(struct dropout_row *row, const struct dropout_draw *draw, int32_t id,
                                  int first_column)
{
    row->draw = draw;
    row->id = (uint32_t)id;
    row->first_block = (uint32_t)first_column / 8;
}

// The 8 elements of each of VLEN blocks, one after the other: block[i] of the row id[i].
static __attribute__((noinline, unused)) void dropout_draw_blocks(const struct dropout_draw *d, vu block, vu id,
                                                                  uint16_t *bits)
{
    // Lane 4g+k draws block k*(VLEN/4)+g, so that a 4x4 transposition within each 16 bytes leaves the words of the
    // blocks in memory order.
    vi order;
    for (int i = 0; i < VLEN; i++)
        order[i] = i % 4 * (VLEN / 4) + i / 4;
    vu c0 = __builtin_shuffle(block, order), c1 = __builtin_shuffle(id, order);
    vu c2 = (vu){} + d->step, c3 = (vu){} + d->purpose;
    uint32_t k0 = (uint32_t)d->seed, k1 = (uint32_t)(d->seed >> 32);
    for (int round = 0; round < 10; round++) {
        vu high0, low0, high1, low1;
        vec_multiply_wide(0xD2511F53u, c0, &high0, &low0);
        vec_multiply_wide(0xCD9E8D57u, c2, &high1, &low1);
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
#if defined(__AVX512F__)
    __m512i a = _mm512_unpacklo_epi32((__m512i)c0, (__m512i)c1), b = _mm512_unpackhi_epi32((__m512i)c0, (__m512i)c1);
    __m512i c = _mm512_unpacklo_epi32((__m512i)c2, (__m512i)c3), e = _mm512_unpackhi_epi32((__m512i)c2, (__m512i)c3);
    _mm512_storeu_si512(bits, _mm512_unpacklo_epi64(a, c));
    _mm512_storeu_si512(bits + 32, _mm512_unpackhi_epi64(a, c));
    _mm512_storeu_si512(bits + 64, _mm512_unpacklo_epi64(b, e));
    _mm512_storeu_si512(bits + 96, _mm512_unpackhi_epi64(b, e));
#elif defined(__AVX2__)
    __m256i a = _mm256_unpacklo_epi32((__m256i)c0, (__m256i)c1), b = _mm256_unpackhi_epi32((__m256i)c0, (__m256i)c1);
    __m256i c = _mm256_unpacklo_epi32((__m256i)c2, (__m256i)c3), e = _mm256_unpackhi_epi32((__m256i)c2, (__m256i)c3);
    _mm256_storeu_si256((__m256i *)bits, _mm256_unpacklo_epi64(a, c));
    _mm256_storeu_si256((__m256i *)(bits + 16), _mm256_unpackhi_epi64(a, c));
    _mm256_storeu_si256((__m256i *)(bits + 32), _mm256_unpacklo_epi64(b, e));
    _mm256_storeu_si256((__m256i *)(bits + 48), _mm256_unpackhi_epi64(b, e));
#else
    const vi low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, low_pair = {0, 1, 4, 5}, high_pair = {2, 3, 6, 7};
    vu a = __builtin_shuffle(c0, c1, low), b = __builtin_shuffle(c0, c1, high);
    vu c = __builtin_shuffle(c2, c3, low), e = __builtin_shuffle(c2, c3, high);
    vu word[4] = {__builtin_shuffle(a, c, low_pair), __builtin_shuffle(a, c, high_pair),
                  __builtin_shuffle(b, e, low_pair), __builtin_shuffle(b, e, high_pair)};
    memcpy(bits, word, sizeof word);
#endif
}

// Elements `column`.. of the row, to row->bits.
static __attribute__((noinline, unused)) void dropout_refill(struct dropout_row *row, int column)
{
    vu block;
    for (int i = 0; i < VLEN; i++)
        block[i] = row->first_block + (uint32_t)column / 8 + (uint32_t)i;
    dropout_draw_blocks(row->draw, block, (vu){} + row->id, row->bits);
}

// Factors of VLEN elements from their bits.
VEC_INLINE vf dropout_factors(const struct dropout_draw *draw, const uint16_t *bits)
{
    vh h;
    memcpy(&h, bits, sizeof h);
    vi kept = (vi)(__builtin_convertvector(h, vu) >= draw->threshold);
    return (vf)(kept & (vi)vec_set(draw->scale));
}

// Factors of columns `column`.. (a multiple of VLEN, called in ascending order from 0): 0 or 1/(1-p); 1 without dropout.
VEC_INLINE vf dropout_next(struct dropout_row *row, int column)
{
    if (!row->draw->on)
        return vec_set(1);
    int within = column % DROPOUT_SPAN;
    if (within == 0)
        dropout_refill(row, column);
    return dropout_factors(row->draw, row->bits + within);
}

#endif
