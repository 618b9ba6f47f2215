// Scores of disentangled attention for one head of one clip: see attention.h. Compiled for each instruction set.
#include "kernels/cpu/attention.h"

#include <string.h>

struct attention_sizes CPU_NAME(attention_sizes)(int frames, int size)
{
    struct attention_sizes z = {.frames = frames, .size = size};
    z.size_step = round_to_vectors(size);
    z.key_step = round_to_vectors(frames);
    // The widest band begins at column L-1.
    z.distance_step = round_to_vectors(frames - 1 + round_to_vectors(frames + TILE_ROWS - 1));
    z.score_step = z.key_step + 2 * TILE_ROWS;
    return z;
}

// ---- memory -------------------------------------------------------------------------------------------------------

size_t CPU_NAME(attention_head_floats)(const struct attention_sizes *z)
{
    return 4 * (size_t)z->distance_step * (size_t)z->size_step;
}

struct attention_scores CPU_NAME(attention_scores_carve)(const struct attention_sizes *z, struct carving *c)
{
    size_t rows = (size_t)z->key_step, size = (size_t)z->size_step, bits = rows * (rows + 8) + DROPOUT_SPAN;
    struct attention_scores t;
    t.q = carve(c, rows * size);
    t.k = carve(c, rows * size);
    t.k_t = carve(c, rows * size);
    t.band = carve(c, TILE_ROWS * (size_t)z->distance_step);
    t.by_key = carve(c, rows * rows);
    t.scores = carve_scores(c, z);
    t.pair_block = (uint32_t *)carve(c, bits / 8);
    t.pair_id = (uint32_t *)carve(c, bits / 8);
    t.bits = (uint16_t *)carve(c, bits / 2);
    return t;
}

// ---- loading ------------------------------------------------------------------------------------------------------

static void load_row(const struct attention_sizes *z, float *to, const struct mat *m, int row, int column)
{
    const void *from = (const char *)mat_row(m, row) + (size_t)column * dtype_size(m->type);
    for (int c = 0; c < z->size; c += VLEN)
        vec_storeu(to + c, vec_load(from, m->type, c, z->size - c));
}

static void prefetch_row(const struct attention_sizes *z, const struct mat *m, int row, int column)
{
    const char *from = (const char *)mat_row(m, row) + (size_t)column * dtype_size(m->type);
    for (size_t i = 0; i < (size_t)z->size * dtype_size(m->type); i += 64)
        __builtin_prefetch(from + i);
}

void CPU_NAME(attention_load)(const struct attention_sizes *z, float *to, const struct mat *m, int first, int rows,
                              int column)
{
    int padded = round_to_vectors(rows);
    for (int r = 0; r < rows; r++) {
        // The next clip's rows: far apart in memory, so the processor does not see them coming.
        if (first + r + rows < m->rows)
            prefetch_row(z, m, first + r + rows, column);
        load_row(z, to + r * z->size_step, m, first + r, column);
    }
    memset(to + rows * z->size_step, 0, (size_t)(padded - rows) * (size_t)z->size_step * sizeof *to);
}

struct attention_head CPU_NAME(attention_load_head)(const struct attention_sizes *z, float *memory,
                                                    const struct mat *rel, const int32_t *slot, int head)
{
    int distances = 2 * z->frames - 1, hidden = rel->columns / 3;
    size_t count = (size_t)z->distance_step * (size_t)z->size_step;
    float *key_rel = memory, *query_rel = memory + count, *key_rel_t = query_rel + count;
    float *query_rel_t = key_rel_t + count;
    for (int i = 0; i < distances; i++) {
        load_row(z, key_rel + i * z->size_step, rel, slot[distances - 1 - i], hidden + head * z->size);
        load_row(z, query_rel + i * z->size_step, rel, slot[i], head * z->size);
    }
    size_t used = (size_t)distances * (size_t)z->size_step;
    memset(key_rel + used, 0, (count - used) * sizeof *key_rel);
    memset(query_rel + used, 0, (count - used) * sizeof *query_rel);
    tile_transpose(key_rel_t, z->distance_step, key_rel, z->size_step, z->distance_step, z->size, 0);
    tile_transpose(query_rel_t, z->distance_step, query_rel, z->size_step, z->distance_step, z->size, 0);
    return (struct attention_head){key_rel, query_rel, key_rel_t, query_rel_t};
}

// ---- scores -------------------------------------------------------------------------------------------------------

// Rows [first, end) of x times the band of relative rows: into t->band, whose column r' for row r and partner p is
// p + (end-1-r).
static void multiply_band(const struct attention_sizes *z, const struct attention_scores *t, const float *x,
                          const float *relative_t, int first, int end, int n)
{
    int rows = end - first;
    tile_rows(&(struct tile){.rows = rows,
                             .vectors = round_to_vectors(n + rows - 1) / VLEN,
                             .depth = z->size,
                             .c = t->band,
                             .c_row = z->distance_step,
                             .a = x + first * z->size_step,
                             .a_row = z->size_step,
                             .a_k = 1,
                             .b = relative_t + z->frames - end,
                             .b_k = z->distance_step});
}

void CPU_NAME(attention_score)(const struct attention_sizes *z, const struct attention_head *head,
                               struct attention_scores *t, const struct mat *qkv, int first, int n, int head_index,
                               float factor)
{
    int hidden = qkv->columns / 3, blocks = tile_block_count(n), vectors = round_to_vectors(n) / VLEN;
    CPU_NAME(attention_load)(z, t->q, qkv, first, n, head_index * z->size);
    CPU_NAME(attention_load)(z, t->k, qkv, first, n, hidden + head_index * z->size);
    tile_transpose(t->k_t, z->key_step, t->k, z->size_step, n, z->size, 0);
    for (int block = 0; block < blocks; block++) {
        int j0 = tile_block_first(n, blocks, block), j1 = tile_block_first(n, blocks, block + 1);
        multiply_band(z, t, t->k, head->query_rel_t, j0, j1, n);
        for (int j = j0; j < j1; j++)
            for (int i = 0; i < n; i += VLEN)
                vec_storeu(t->by_key + j * z->key_step + i,
                           vec_loadu(t->band + (j - j0) * z->distance_step + i + (j1 - 1 - j)));
    }
    for (int j = n; j < vectors * VLEN; j++)
        memset(t->by_key + j * z->key_step, 0, (size_t)z->key_step * sizeof *t->by_key);
    tile_transpose(t->scores, z->score_step, t->by_key, z->key_step, n, n, 0);
    for (int block = 0; block < blocks; block++) {
        int i0 = tile_block_first(n, blocks, block), i1 = tile_block_first(n, blocks, block + 1);
        tile_rows(&(struct tile){.rows = i1 - i0,
                                 .vectors = vectors,
                                 .depth = z->size,
                                 .accumulate = 1,
                                 .c = t->scores + i0 * z->score_step,
                                 .c_row = z->score_step,
                                 .a = t->q + i0 * z->size_step,
                                 .a_row = z->size_step,
                                 .a_k = 1,
                                 .b = t->k_t,
                                 .b_k = z->key_step});
        multiply_band(z, t, t->q, head->key_rel_t, i0, i1, n);
        for (int i = i0; i < i1; i++) {
            float *row = t->scores + i * z->score_step;
            const float *band = t->band + (i - i0) * z->distance_step + (i1 - 1 - i);
            for (int j = 0; j < n; j += VLEN)
                vec_storeu(row + j, (vec_loadu(row + j) + vec_loadu(band + j)) * factor);
        }
    }
}

// ---- dropout ------------------------------------------------------------------------------------------------------

void CPU_NAME(attention_draw)(const struct dropout_draw *draw, const struct attention_scores *t, const int32_t *id,
                              int n, int first_column)
{
    int blocks = attention_bits_step(n) / 8, pairs = n * blocks;
    for (int i = 0; i < n; i++)
        for (int b = 0; b < blocks; b++) {
            t->pair_block[i * blocks + b] = (uint32_t)(first_column / 8 + b);
            t->pair_id[i * blocks + b] = (uint32_t)id[i];
        }
    for (int p = pairs; p < round_to_vectors(pairs); p++)
        t->pair_block[p] = t->pair_id[p] = 0;
    for (int p = 0; p < pairs; p += VLEN) {
        vu block, row;
        memcpy(&block, t->pair_block + p, sizeof block);
        memcpy(&row, t->pair_id + p, sizeof row);
        dropout_draw_blocks(draw, block, row, t->bits + 8 * p);
    }
}
