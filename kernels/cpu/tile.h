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

// An operand's element (row, k) is data[row*row_step + k*k_step].
struct tile_a {
    const float *data;
    ptrdiff_t row_step, k_step;
};
// Row k begins at data + k*k_step; a result's row r likewise.
struct tile_b {
    const float *data;
    ptrdiff_t k_step;
};
struct tile_c {
    float *data;
    ptrdiff_t row_step;
};

// c [rows, vectors*VLEN] (+)= a [rows, depth] b [depth, vectors*VLEN]; rows and vectors are constants of the caller.
VEC_INLINE void tile_registers(int rows, int vectors, struct tile_c c, struct tile_a a, struct tile_b b, int depth,
                               int accumulate)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[r][v] = accumulate ? vec_loadu(c.data + r * c.row_step + v * VLEN) : vec_set(0);
    for (int k = 0; k < depth; k++) {
        const float *x = a.data + k * a.k_step, *y = b.data + k * b.k_step;
        vf column[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            column[v] = vec_loadu(y + v * VLEN);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++)
                sum[r][v] += x[r * a.row_step] * column[v];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            vec_storeu(c.data + r * c.row_step + v * VLEN, sum[r][v]);
}

// The same for at most TILE_ROWS rows and any number of vectors.
static __attribute__((unused)) void tile_rows(int rows, int vectors, struct tile_c c, struct tile_a a, struct tile_b b,
                                              int depth, int accumulate)
{
    while (vectors > 0) {
        // 4 vectors are better halved than split into 3 and 1.
        int width = vectors == 4 ? 2 : vectors < TILE_VECTORS ? vectors : TILE_VECTORS;
        switch (rows * 4 + width) {
#define TILE_CASE(r, v)                                                                                                \
    case (r)*4 + (v):                                                                                                  \
        tile_registers(r, v, c, a, b, depth, accumulate);                                                              \
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
        c.data += width * VLEN;
        b.data += width * VLEN;
        vectors -= width;
    }
}

// Rows [0, rows) in blocks of nearly equal size, at most TILE_ROWS: the first row of block i of n.
VEC_INLINE int tile_block_count(int rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
}
VEC_INLINE int tile_block_first(int rows, int blocks, int i)
{
    return rows * i / blocks;
}

// c [rows, vectors*VLEN] (+)= a b.
static __attribute__((unused)) void tile_product(int rows, int vectors, struct tile_c c, struct tile_a a,
                                                 struct tile_b b, int depth, int accumulate)
{
    int blocks = tile_block_count(rows);
    for (int i = 0; i < blocks; i++) {
        int first = tile_block_first(rows, blocks, i), end = tile_block_first(rows, blocks, i + 1);
        tile_rows(end - first, vectors, (struct tile_c){c.data + first * c.row_step, c.row_step},
                  (struct tile_a){a.data + first * a.row_step, a.row_step, a.k_step}, b, depth, accumulate);
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
