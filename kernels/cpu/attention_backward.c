// Disentangled attention, backward: backend.h, struct attention_backward; attention.h says how. Probabilities are computed
// again from the scores and the kept maxima and sums of their rows. Compiled for each instruction set.
//
// With dS the gradient of the scores before the scale (zero outside the tile), and the relative rows by distance:
//     dq_i = sum over j of dS[i,j] k_j + sum over e of dS[i, i+e-(L-1)] key_rel_e          dkey_rel_e = sum over i of dS[i, i+e-(L-1)] q_i
//     dk_j = sum over i of dS[i,j] q_i + sum over f of dS[j+f-(L-1), j] query_rel_f      dquery_rel_f = sum over j of dS[j+f-(L-1), j] k_j
// The shifted elements are a matrix too: one whose rows are dS's step plus or minus one apart.
#include "kernels/cpu/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

// Relative gradients are added up over chunks of clips, then over the chunks: so many of them, by the shape alone.
enum { CHUNKS_MOST = 4 };

struct backward {
    const struct attention_backward *a;
    struct attention_sizes sizes;
    struct dropout_draw draw;
    struct chunks chunks;
    float factor;    // 1 / scale
    float *relative; // [heads, chunks, 2 (key, query), 2L-1, size_step]
};

// One thread's memory.
struct space {
    struct attention_scores scores; // its `scores` become the probabilities, dropped out
    float *v, *dcontext;            // [n, s], step size_step
    float *v_t;                     // [s, n], step key_step
    float *dp;                      // [n, n], step key_step
    float *ds;                      // [n, n], step score_step, within a border of zeros
    float *result;                  // [n, s], step size_step
    float *head;                    // for attention_load_head
};

static struct space carve_space(const struct attention_sizes *z, struct carving *c)
{
    size_t rows = (size_t)z->key_step, size = (size_t)z->size_step;
    struct space s = {.scores = CPU_NAME(attention_scores_carve)(z, c)};
    s.v = carve(c, rows * size);
    s.dcontext = carve(c, rows * size);
    s.v_t = carve(c, rows * size);
    s.dp = carve(c, rows * rows);
    s.ds = carve_scores(c, z);
    s.result = carve(c, rows * size);
    s.head = carve(c, CPU_NAME(attention_head_floats)(z));
    return s;
}

static size_t relative_floats(const struct attention_sizes *z)
{
    return (size_t)(2 * z->frames - 1) * (size_t)z->size_step;
}

// The gradients of key_rel (which 0) and query_rel (which 1) of one task.
static float *relative_of(const struct backward *b, int head, int chunk, int which)
{
    return b->relative + (size_t)((head * b->chunks.count + chunk) * 2 + which) * relative_floats(&b->sizes);
}

// ---- one tile -----------------------------------------------------------------------------------------------------

// Row i: scores -> probabilities dropped out, and ds from dp.
static void differentiate_row(const struct backward *b, const struct space *s, int i, int n, float max, float sum)
{
    const struct attention_sizes *z = &b->sizes;
    float *p = s->scores.scores + i * z->score_step, *dp = s->dp + i * z->key_step, *ds = s->ds + i * z->score_step;
    const uint16_t *bits = s->scores.bits + i * attention_bits_step(n);
    vf product = {};
    for (int j = 0; j < n; j += VLEN) {
        vf x = vec_exp(vec_loadu(p + j) - max) * (1 / sum), d = vec_loadu(dp + j);
        vf kept = b->draw.on ? dropout_factors(&b->draw, bits + j) : vec_set(1);
        x = (vf)((vi)x & lanes_below(j, n));
        d = (vf)((vi)(d * kept) & lanes_below(j, n));
        vec_storeu(p + j, x * kept);
        vec_storeu(dp + j, d);
        vec_storeu(ds + j, x);
        product += x * d;
    }
    float mean = vec_sum(product);
    for (int j = 0; j < n; j += VLEN)
        vec_storeu(ds + j, vec_loadu(ds + j) * (vec_loadu(dp + j) - mean) * b->factor);
}

// s->ds and the probabilities, from the rows [first, first+n) of the inputs.
static void differentiate_scores(const struct backward *b, const struct attention_head *relative, struct space *s,
                                 int first, int n, int head)
{
    const struct attention_backward *a = b->a;
    const struct attention_sizes *z = &b->sizes;
    int hidden = a->dcontext.columns, column = head * z->size;
    CPU_NAME(attention_score)(z, relative, &s->scores, &a->qkv, first, n, head, b->factor);
    CPU_NAME(attention_load)(z, s->v, &a->qkv, first, n, 2 * hidden + column);
    CPU_NAME(attention_load)(z, s->dcontext, &a->dcontext, first, n, column);
    tile_transpose(s->v_t, z->key_step, s->v, z->size_step, n, z->size, 0);
    tile_product(&(struct tile){.rows = n,
                                .vectors = round_to_vectors(n) / VLEN,
                                .depth = z->size,
                                .c = s->dp,
                                .c_row = z->key_step,
                                .a = s->dcontext,
                                .a_row = z->size_step,
                                .a_k = 1,
                                .b = s->v_t,
                                .b_k = z->key_step});
    if (b->draw.on)
        CPU_NAME(attention_draw)(&b->draw, &s->scores, a->rows.id + first, n, head * ((z->frames + 7) / 8 * 8));
    memset(s->ds - TILE_ROWS * z->score_step - TILE_ROWS, 0,
           (size_t)((n + 2 * TILE_ROWS) * z->score_step) * sizeof *s->ds);
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)(first + i) * (size_t)a->heads + (size_t)head;
        differentiate_row(b, s, i, n, a->row_max[at], a->row_sum[at]);
    }
}

static void store_result(const struct backward *b, const struct space *s, int first, int n, int column)
{
    const struct attention_sizes *z = &b->sizes;
    const struct mat *m = &b->a->dqkv;
    for (int i = 0; i < n; i++) {
        char *row = (char *)mat_row(m, first + i) + (size_t)column * dtype_size(m->type);
        for (int c = 0; c < z->size; c += VLEN)
            vec_store(row, m->type, c, z->size - c, vec_loadu(s->result + i * z->size_step + c));
    }
}

// result_r += sum over the distances of (shifted ds)[r, .] relative row. ds's element (r, partner) is at
// r*row_step + partner*partner_step.
static void add_band(const struct backward *b, const struct space *s, const float *relative, int n, ptrdiff_t row_step,
                     ptrdiff_t partner_step)
{
    const struct attention_sizes *z = &b->sizes;
    int blocks = tile_block_count(n);
    for (int block = 0; block < blocks; block++) {
        int first = tile_block_first(n, blocks, block), end = tile_block_first(n, blocks, block + 1);
        // From the first distance at which row end-1 has partner 0, so row `first` partner first-(end-1).
        tile_rows(&(struct tile){.rows = end - first,
                                 .vectors = z->size_step / VLEN,
                                 .depth = n + end - first - 1,
                                 .accumulate = 1,
                                 .c = s->result + first * z->size_step,
                                 .c_row = z->size_step,
                                 .a = s->ds + first * row_step + (first - (end - 1)) * partner_step,
                                 .a_row = row_step + partner_step,
                                 .a_k = partner_step,
                                 .b = relative + (z->frames - end) * z->size_step,
                                 .b_k = z->size_step});
    }
}

// drelative_e += sum over r of ds[r, r+e-(L-1)] x_r, for the distances that occur in the tile.
static void add_relative(const struct backward *b, const struct space *s, float *drelative, const float *x, int n,
                         ptrdiff_t row_step, ptrdiff_t partner_step)
{
    const struct attention_sizes *z = &b->sizes;
    int distances = 2 * n - 1, blocks = tile_block_count(distances);
    for (int block = 0; block < blocks; block++) {
        int first = tile_block_first(distances, blocks, block), end = tile_block_first(distances, blocks, block + 1);
        // At distance e (from 0) row r has partner r+e-(n-1). Rows that have a partner at one of these distances:
        int low = n - end > 0 ? n - end : 0, high = 2 * n - 1 - first < n ? 2 * n - 1 - first : n;
        tile_rows(&(struct tile){.rows = end - first,
                                 .vectors = z->size_step / VLEN,
                                 .depth = high - low,
                                 .accumulate = 1,
                                 .c = drelative + (z->frames - n + first) * z->size_step,
                                 .c_row = z->size_step,
                                 .a = s->ds + low * row_step + (low + first - (n - 1)) * partner_step,
                                 .a_row = partner_step,
                                 .a_k = row_step + partner_step,
                                 .b = x + low * z->size_step,
                                 .b_k = z->size_step});
    }
}

// result = x y, where element (row, k) of x is at scores[row*row_step + k*k_step].
static void multiply(const struct backward *b, const struct space *s, const float *scores, ptrdiff_t row_step,
                     ptrdiff_t k_step, const float *y, int n)
{
    const struct attention_sizes *z = &b->sizes;
    tile_product(&(struct tile){.rows = n,
                                .vectors = z->size_step / VLEN,
                                .depth = n,
                                .c = s->result,
                                .c_row = z->size_step,
                                .a = scores,
                                .a_row = row_step,
                                .a_k = k_step,
                                .b = y,
                                .b_k = z->size_step});
}

static void run_tile(const struct backward *b, const struct attention_head *relative, struct space *s, int first, int n,
                     int head, int chunk)
{
    const struct attention_sizes *z = &b->sizes;
    int hidden = b->a->dcontext.columns, column = head * z->size, step = z->score_step;
    differentiate_scores(b, relative, s, first, n, head);
    multiply(b, s, s->scores.scores, 1, step, s->dcontext, n);
    store_result(b, s, first, n, 2 * hidden + column);
    multiply(b, s, s->ds, step, 1, s->scores.k, n);
    add_band(b, s, relative->key_rel, n, step, 1);
    store_result(b, s, first, n, column);
    multiply(b, s, s->ds, 1, step, s->scores.q, n);
    add_band(b, s, relative->query_rel, n, 1, step);
    store_result(b, s, first, n, hidden + column);
    add_relative(b, s, relative_of(b, head, chunk, 0), s->scores.q, n, step, 1);
    add_relative(b, s, relative_of(b, head, chunk, 1), s->scores.k, n, 1, step);
}

static void run_task(const struct backward *b, float *memory, int head, int chunk)
{
    const struct attention_backward *a = b->a;
    const struct attention_sizes *z = &b->sizes;
    struct space space = carve_space(z, &(struct carving){memory, 0});
    struct attention_head relative = CPU_NAME(attention_load_head)(z, space.head, &a->rel, a->slot, head);
    memset(relative_of(b, head, chunk, 0), 0, 2 * relative_floats(z) * sizeof(float));
    for (int clip = chunk * b->chunks.size; clip < chunk_end(b->chunks, chunk, a->rows.clips); clip++) {
        int first = a->rows.offset[clip], end = a->rows.offset[clip + 1], n = a->rows.length[clip];
        assert(n >= 0 && n <= end - first && end - first <= z->frames);
        if (n > 0)
            run_tile(b, &relative, &space, first, n, head, chunk);
        for (int r = first + n; r < end; r++)
            for (int third = 0; third < 3; third++) {
                size_t size = dtype_size(a->dqkv.type), column = (size_t)(third * a->dcontext.columns + head * z->size);
                memset((char *)mat_row(&a->dqkv, r) + column * size, 0, (size_t)z->size * size);
            }
    }
}

// ---- relative rows ------------------------------------------------------------------------------------------------

// drel's rows of one head: slot by slot, the distances that share it, of all chunks, in order.
static void reduce_relative(const struct backward *b, float *sum, int head)
{
    const struct attention_backward *a = b->a;
    const struct attention_sizes *z = &b->sizes;
    int distances = 2 * z->frames - 1, hidden = a->dcontext.columns;
    size_t row_bytes = (size_t)z->size_step * sizeof *sum;
    for (int which = 0; which < 2; which++) {
        memset(sum, 0, (size_t)a->rel.rows * row_bytes);
        for (int chunk = 0; chunk < b->chunks.count; chunk++)
            for (int i = 0; i < distances; i++) {
                const float *from = relative_of(b, head, chunk, which) + i * z->size_step;
                float *to = sum + a->slot[which ? i : distances - 1 - i] * z->size_step;
                for (int c = 0; c < z->size_step; c += VLEN)
                    vec_storeu(to + c, vec_loadu(to + c) + vec_loadu(from + c));
            }
        int column = (which ? 0 : hidden) + head * z->size;
        for (int r = 0; r < a->drel.rows; r++) {
            char *row = (char *)mat_row(&a->drel, r) + (size_t)column * dtype_size(a->drel.type);
            for (int c = 0; c < z->size; c += VLEN)
                vec_store(row, a->drel.type, c, z->size - c, vec_loadu(sum + r * z->size_step + c));
        }
    }
}

static void zero_columns(const struct mat *m, int first, int end, int column)
{
    size_t size = dtype_size(m->type);
    for (int r = first; r < end; r++)
        memset((char *)mat_row(m, r) + (size_t)column * size, 0, (size_t)(m->columns - column) * size);
}

void CPU_NAME(attention_backward)(struct stream *s, const struct attention_backward *a)
{
    int hidden = a->dcontext.columns, size = hidden / a->heads, threads = cpu_threads(s);
    assert(size * a->heads == hidden && a->qkv.columns == 3 * hidden && a->drel.columns == 3 * hidden);
    struct backward b = {.a = a,
                         .sizes = CPU_NAME(attention_sizes)(a->rows.frames, size),
                         .draw = dropout_begin(&a->dropout),
                         .chunks = chunks_of(a->rows.clips, CHUNKS_MOST, 1),
                         .factor = 1 / sqrtf(3 * (float)size)};
    struct carving plan = {0};
    carve_space(&b.sizes, &plan);
    // reduce_relative's sums take the same place.
    size_t sums = (size_t)(a->rel.rows * b.sizes.size_step), floats = plan.used > sums ? plan.used : sums;
    size_t relative = (size_t)(a->heads * b.chunks.count * 2) * relative_floats(&b.sizes);
    float *memory = cpu_scratch(s, (floats * (size_t)threads + relative) * sizeof *memory);
    b.relative = memory + floats * (size_t)threads;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int task = 0; task < a->heads * b.chunks.count; task++)
        run_task(&b, memory + floats * (size_t)omp_get_thread_num(), task / b.chunks.count, task % b.chunks.count);
#pragma omp parallel for num_threads(threads)
    for (int head = 0; head < a->heads; head++)
        reduce_relative(&b, memory + floats * (size_t)omp_get_thread_num(), head);
    zero_columns(&a->dqkv, a->rows.offset[a->rows.clips], a->rows.count, 0);
    zero_columns(&a->drel, 0, a->drel.rows, 2 * hidden);
}
