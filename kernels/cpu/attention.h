// What forward and backward of attention share. A task is one head and some clips; a tile is one head of one clip, held
// in fp32 in the first caches (n <= L frames, head size s):
//
//     scores[i,j] = (q_i.k_j + q_i.Kr[c(i,j)] + k_j.Qr[c(i,j)]) / scale         i query, j key
//
// c depends on i-j alone, so the relative rows are laid out by distance: key_rel row e belongs to i-j = L-1-e,
// query_rel row f to i-j = f-(L-1). Then q_i.Kr for all keys of query i is a run of consecutive columns of
// q_i . key_rel^T, which begins one column earlier for the next i: a band. A block of TILE_ROWS queries needs n+TILE_ROWS-1
// columns of it. The same holds for k_j.Qr over the queries, which is computed transposed.
#ifndef ISLR_KERNELS_CPU_ATTENTION_H
#define ISLR_KERNELS_CPU_ATTENTION_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/tile.h"

// Distances between rows in the matrices below, in floats.
struct attention_sizes {
    int frames, size;  // L, s
    int size_step;     // s rounded up to vectors
    int key_step;      // L likewise
    int distance_step; // 2L-1 likewise, and room for a band's last vector
    int score_step;    // key_step and a border of TILE_ROWS on both sides
};

struct attention_head {
    const float *key_rel, *query_rel;     // [2L-1, s] by distance, step size_step
    const float *key_rel_t, *query_rel_t; // [s, 2L-1], step distance_step
};

// One thread's memory for scores and what leads to them.
struct attention_scores {
    float *q, *k;                   // [n, s], step size_step; rows up to a whole number of vectors are zero
    float *k_t;                     // [s, n], step key_step
    float *band;                    // [TILE_ROWS, n+TILE_ROWS-1], step distance_step
    float *by_key;                  // [n keys, n queries], step key_step: k_j.Qr
    float *scores;                  // [n, n], step score_step, within a border of TILE_ROWS rows and columns
    uint32_t *pair_block, *pair_id; // for drawing dropout
    uint16_t *bits;
};

VEC_INLINE int round_to_vectors(int n)
{
    return (n + VLEN - 1) / VLEN * VLEN;
}

struct attention_sizes CPU_NAME(attention_sizes)(int frames, int size);

// Memory of a thread, carved twice: first without a base, to learn how much it takes.
struct carving {
    float *base;
    size_t used;
};
static inline float *carve(struct carving *c, size_t floats)
{
    float *p = c->base ? c->base + c->used : NULL;
    c->used += (floats + 15) / 16 * 16;
    return p;
}

// [rows, rows] within its border, the address of the first element.
static inline float *carve_scores(struct carving *c, const struct attention_sizes *z)
{
    float *p = carve(c, (size_t)((z->key_step + 2 * TILE_ROWS) * z->score_step));
    return p ? p + TILE_ROWS * z->score_step + TILE_ROWS : NULL;
}

struct attention_scores CPU_NAME(attention_scores_carve)(const struct attention_sizes *z, struct carving *c);
size_t CPU_NAME(attention_head_floats)(const struct attention_sizes *z);

// Rows first.. of columns column..column+size of m in fp32, and zero rows up to a whole number of vectors.
void CPU_NAME(attention_load)(const struct attention_sizes *z, float *to, const struct mat *m, int first, int rows,
                              int column);

// The relative rows of one head, to memory of attention_head_floats().
struct attention_head CPU_NAME(attention_load_head)(const struct attention_sizes *z, float *memory,
                                                    const struct mat *rel, const int32_t *slot, int head);

// Loads queries and keys of rows [first, first+n) and computes the scores, times `factor`. Lanes from n on are undefined.
void CPU_NAME(attention_score)(const struct attention_sizes *z, const struct attention_head *head,
                               struct attention_scores *t, const struct mat *qkv, int first, int n, int head_index,
                               float factor);

// Draws the tile's dropout: element (i,j) has bits[i*attention_bits_step(n) + j].
VEC_INLINE int attention_bits_step(int n)
{
    return (n + 7) / 8 * 8;
}
void CPU_NAME(attention_draw)(const struct dropout_draw *draw, const struct attention_scores *t, const int32_t *id,
                              int n, int first_column);

// All ones in the lanes j, j+1, .. that are below n.
VEC_INLINE vi lanes_below(int j, int n)
{
    vi lane;
    for (int i = 0; i < VLEN; i++)
        lane[i] = i;
    return (vi)(lane < n - j);
}

#endif
