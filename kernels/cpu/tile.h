// Products and transposition of small fp32 matrices that lie in the first caches, for attention. Rows are padded to a
// whole number of vectors, so there are no tails in this file.
#ifndef ISLR_KERNELS_CPU_TILE_H
#define ISLR_KERNELS_CPU_TILE_H

#include <stddef.h>

#include "kernels/cpu/vector.h"

// A block of results that stays in registers: rows x vectors.
#if defined(__AVX512F__)
enum { TILE_ROWS = 8 };
#else
enum { TILE_ROWS = 4 };
#endif
enum { TILE_VECTORS = 3 };

// c [rows, vectors*VLEN] (+ c if accumulate) = a [rows, depth] b [depth, vectors*VLEN]. Element (r, k) of a is at
// a[r*a_row + k*a_k], row k of b at b + k*b_k, row r of c at c + r*c_row. (Handed on by address: as arguments these would
// be put together on the stack in pieces, and reading them back in larger pieces waits for all stores before.)
struct tile {
    int rows, vectors, depth, accumulate;
    float *c;
    ptrdiff_t c_row;
    const float *a;
    ptrdiff_t a_row, a_k;
    const float *b;
    ptrdiff_t b_k;
};

// The first `vectors` vectors from vector `first` on; rows and vectors are constants of the caller.
VEC_INLINE void tile_registers(const struct tile *t, int rows, int first, int vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    float *c = t->c + first * VLEN;
    const float *x = t->a, *y = t->b + first * VLEN;
    ptrdiff_t c_row = t->c_row, a_row = t->a_row, a_k = t->a_k, b_k = t->b_k;
    int accumulate = t->accumulate;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[r][v] = accumulate ? vec_loadu(c + r * c_row + v * VLEN) : vec_set(0);
    for (int k = t->depth; k > 0; k--) {
        vf column[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            column[v] = vec_loadu(y + v * VLEN);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++)
                sum[r][v] += x[r * a_row] * column[v];
        x += a_k;
        y += b_k;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            vec_storeu(c + r * c_row + v * VLEN, sum[r][v]);
}

// A product of at most TILE_ROWS rows.
static __attribute__((unused)) void tile_rows(const struct tile *t)
{
    for (int first = 0; first < t->vectors;) {
        // 4 vectors are better halved than split into 3 and 1.
        int left = t->vectors - first, width = left == 4 ? 2 : left < TILE_VECTORS ? left : TILE_VECTORS;
        switch (t->rows * 4 + width) {
#define TILE_CASE(r, v)                                                                                                \
    case (r)*4 + (v):                                                                                                  \
        tile_registers(t, r, first, v);                                                                                \
        break;
#define TILE_CASES(r) TILE_CASE(r, 1) TILE_CASE(r, 2) TILE_CASE(r, 3)
            TILE_CASES(1)
            TILE_CASES(2)
            TILE_CASES(3)
            TILE_CASES(4)
#if defined(__AVX512F__)
            TILE_CASES(5)
            TILE_CASES(6)
            TILE_CASES(7)
            TILE_CASES(8)
#endif
#undef TILE_CASES
#undef TILE_CASE
        default:
            assert(0);
        }
        first += width;
    }
}

// Rows [0, rows) in blocks of nearly equal size, at most TILE_ROWS: block i of n begins at row tile_block_first.
VEC_INLINE int tile_block_count(int rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
}
VEC_INLINE int tile_block_first(int rows, int blocks, int i)
{
    return rows * i / blocks;
}

// A product of any number of rows.
static __attribute__((unused)) void tile_product(const struct tile *t)
{
    int blocks = tile_block_count(t->rows);
    struct tile part = *t;
    for (int i = 0; i < blocks; i++) {
        int first = tile_block_first(t->rows, blocks, i);
        part.rows = tile_block_first(t->rows, blocks, i + 1) - first;
        part.c = t->c + first * t->c_row;
        part.a = t->a + first * t->a_row;
        tile_rows(&part);
    }
}

// ---- transposition ------------------------------------------------------------------------------------------------

// Exchanges, step by step, the off-diagonal halves of blocks of 2*half lanes.
VEC_INLINE void transpose_step(vf row[VLEN], int half)
{
    vi low, high;
    for (int i = 0; i < VLEN; i++) {
        low[i] = i & half ? VLEN + i - half : i;
        high[i] = i & half ? VLEN + i : i + half;
    }
#pragma GCC unroll 16
    for (int r = 0; r < VLEN; r++)
        if (!(r & half)) {
            vf a = row[r], b = row[r + half];
            row[r] = __builtin_shuffle(a, b, low);
            row[r + half] = __builtin_shuffle(a, b, high);
        }
}

VEC_INLINE void transpose_vectors(vf row[VLEN])
{
    transpose_step(row, 1);
    transpose_step(row, 2);
#if defined(__AVX2__)
    transpose_step(row, 4);
#endif
#if defined(__AVX512F__)
    transpose_step(row, 8);
#endif
}

// to [columns, rows] = from [rows, columns] transposed (+ to), both rounded up to multiples of VLEN.
static __attribute__((unused)) void tile_transpose(float *to, ptrdiff_t to_step, const float *from, ptrdiff_t from_step,
                                                   int rows, int columns, int accumulate)
{
    for (int r = 0; r < rows; r += VLEN)
        for (int c = 0; c < columns; c += VLEN) {
            vf v[VLEN];
#pragma GCC unroll 16
            for (int i = 0; i < VLEN; i++)
                v[i] = vec_loadu(from + (r + i) * from_step + c);
            transpose_vectors(v);
            float *out = to + c * to_step + r;
#pragma GCC unroll 16
            for (int i = 0; i < VLEN; i++)
                vec_storeu(out + i * to_step, accumulate ? vec_loadu(out + i * to_step) + v[i] : v[i]);
        }
}

#endif
