// BatchNorm + dropout + Mish: backend.h, struct batchnorm_forward and batchnorm_backward (Ioffe and Szegedy 2015).
// Compiled for each instruction set.
//
// The unit of work is a block: the rows of one group, SPAN columns. It is read two or three times in a row while it is
// in the cache, and nothing but the sums over groups crosses blocks, so the order of all sums is fixed.
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/mish_vector.h"

enum {
    SPAN = DROPOUT_SPAN, // columns of a block: one draw of dropout bits
    LANES = SPAN / VLEN,
    FLUSH = 32 // rows added up in fp32 before the sum goes to double
};

struct block {
    int group, first_row, rows, column, columns, vectors;
};

static int group_count(int rows, int group_rows)
{
    return (rows + group_rows - 1) / group_rows;
}

static struct block block_of(const struct mat *z, int group_rows, int index)
{
    int across = (z->columns + SPAN - 1) / SPAN;
    struct block b = {.group = index / across, .column = index % across * SPAN};
    b.first_row = b.group * group_rows;
    b.rows = z->rows - b.first_row < group_rows ? z->rows - b.first_row : group_rows;
    b.columns = z->columns - b.column < SPAN ? z->columns - b.column : SPAN;
    b.vectors = (b.columns + VLEN - 1) / VLEN;
    return b;
}

static int block_count(const struct mat *z, int group_rows)
{
    return group_count(z->rows, group_rows) * ((z->columns + SPAN - 1) / SPAN);
}

// Vector k of a block's row.
VEC_INLINE vf load(const struct mat *m, const struct block *b, int row, int k)
{
    return vec_load(mat_row(m, row), m->type, b->column + k * VLEN, b->columns - k * VLEN);
}

VEC_INLINE void store(const struct mat *m, const struct block *b, int row, int k, vf x)
{
    vec_store(mat_row(m, row), m->type, b->column + k * VLEN, b->columns - k * VLEN, x);
}

// A vector of columns: weights, statistics. `x` is one row of all columns.
VEC_INLINE vf load_column(const float *x, const struct block *b, int k)
{
    return vec_load(x, DTYPE_F32, b->column + k * VLEN, b->columns - k * VLEN);
}

static void flush(double sum[SPAN], vf part[LANES])
{
    float v[SPAN];
    memcpy(v, part, sizeof v);
    for (int i = 0; i < SPAN; i++)
        sum[i] += (double)v[i];
    memset(part, 0, sizeof v);
}

static int masked(const int32_t *length, int frames, int row)
{
    return length && row % frames >= length[row / frames];
}

// ---- forward ------------------------------------------------------------------------------------------------------

static void column_means(const struct mat *z, const struct block *b, float mean[SPAN])
{
    double sum[SPAN] = {0};
    vf part[LANES] = {0};
    for (int r = 0; r < b->rows; r++) {
        for (int k = 0; k < b->vectors; k++)
            part[k] += load(z, b, b->first_row + r, k);
        if (r % FLUSH == FLUSH - 1 || r == b->rows - 1)
            flush(sum, part);
    }
    for (int i = 0; i < SPAN; i++)
        mean[i] = (float)(sum[i] / b->rows);
}

// Sum of squared distances from the mean, over the rows. The mean comes with the error of sums in fp32: the distances
// from it are exact where that matters, so their own mean corrects it, and their squares.
static void column_squares(const struct mat *z, const struct block *b, float mean[SPAN], double squares[SPAN])
{
    double distance[SPAN] = {0};
    vf part[LANES] = {0}, part_squares[LANES] = {0};
    memset(squares, 0, SPAN * sizeof *squares);
    for (int r = 0; r < b->rows; r++) {
        for (int k = 0; k < b->vectors; k++) {
            vf d = load(z, b, b->first_row + r, k) - vec_loadu(mean + k * VLEN);
            part[k] += d;
            part_squares[k] += d * d;
        }
        if (r % FLUSH == FLUSH - 1 || r == b->rows - 1) {
            flush(distance, part);
            flush(squares, part_squares);
        }
    }
    for (int i = 0; i < SPAN; i++) {
        squares[i] = fmax(0, squares[i] - distance[i] * distance[i] / b->rows);
        mean[i] = (float)((double)mean[i] + distance[i] / b->rows);
    }
}

// Fills the block's part of a->mean, a->rstd and, if statistics are taken here, of `unbiased` [groups, columns].
static void find_statistics(const struct batchnorm_forward *a, const struct block *b, float mean[SPAN],
                            float rstd[SPAN], float *unbiased)
{
    size_t at = (size_t)b->group * (size_t)a->z.columns + (size_t)b->column;
    if (a->running) {
        for (int i = 0; i < b->columns; i++) {
            mean[i] = a->running_mean[b->column + i];
            rstd[i] = (float)(1 / sqrt((double)a->running_var[b->column + i] + (double)a->eps));
        }
    } else {
        double squares[SPAN];
        column_means(&a->z, b, mean);
        column_squares(&a->z, b, mean, squares);
        for (int i = 0; i < b->columns; i++) {
            rstd[i] = (float)(1 / sqrt(squares[i] / b->rows + (double)a->eps));
            unbiased[at + (size_t)i] = (float)(squares[i] / (b->rows > 1 ? b->rows - 1 : 1));
        }
    }
    for (int i = 0; i < b->columns && a->mean; i++) {
        a->mean[at + (size_t)i] = mean[i];
        a->rstd[at + (size_t)i] = rstd[i];
    }
}

static void normalise(const struct batchnorm_forward *a, const struct block *b, const float mean[SPAN],
                      const float rstd[SPAN], const struct dropout_draw *draw)
{
    vf scale[LANES], bias[LANES];
    for (int k = 0; k < b->vectors; k++) {
        scale[k] = load_column(a->weight, b, k) * vec_loadu(rstd + k * VLEN);
        bias[k] = load_column(a->bias, b, k);
    }
    for (int r = b->first_row; r < b->first_row + b->rows; r++) {
        if (masked(a->length, a->frames, r)) {
            for (int k = 0; k < b->vectors; k++)
                store(&a->y, b, r, k, vec_set(0));
            continue;
        }
        struct dropout_row bits;
        dropout_row_begin(&bits, draw, (int32_t)(a->first_row_id + (uint32_t)r), b->column);
        for (int k = 0; k < b->vectors; k++) {
            vf x = (load(&a->z, b, r, k) - vec_loadu(mean + k * VLEN)) * scale[k] + bias[k];
            store(&a->y, b, r, k, vec_mish(x * dropout_next(&bits, k * VLEN)));
        }
    }
}

// Running statistics towards the mean over groups of the batch's.
static void move_running(const struct batchnorm_forward *a, const float *unbiased, int groups)
{
    int columns = a->z.columns;
    for (int c = 0; c < columns; c++) {
        double mean = 0, var = 0;
        for (int g = 0; g < groups; g++) {
            mean += (double)a->mean[(size_t)g * (size_t)columns + (size_t)c];
            var += (double)unbiased[(size_t)g * (size_t)columns + (size_t)c];
        }
        double momentum = (double)a->momentum;
        a->running_mean[c] = (float)((1 - momentum) * (double)a->running_mean[c] + momentum * mean / groups);
        a->running_var[c] = (float)((1 - momentum) * (double)a->running_var[c] + momentum * var / groups);
    }
}

void CPU_NAME(batchnorm_forward)(struct stream *s, const struct batchnorm_forward *a)
{
    assert(a->running || (a->mean && a->rstd));
    int groups = group_count(a->z.rows, a->group_rows);
    struct dropout_draw draw = dropout_begin(&a->dropout);
    float *unbiased = NULL;
    if (!a->running)
        unbiased = cpu_scratch(s, (size_t)groups * (size_t)a->z.columns * sizeof *unbiased);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int i = 0; i < block_count(&a->z, a->group_rows); i++) {
        struct block b = block_of(&a->z, a->group_rows, i);
        float mean[SPAN] = {0}, rstd[SPAN] = {0};
        find_statistics(a, &b, mean, rstd, unbiased);
        normalise(a, &b, mean, rstd, &draw);
    }
    if (!a->running)
        move_running(a, unbiased, groups);
}

// ---- backward -----------------------------------------------------------------------------------------------------

// What a block's rows share in the backward, vector by vector.
struct columns {
    vf mean[LANES], rstd[LANES], weight[LANES], bias[LANES];
};

static void load_columns(const struct batchnorm_backward *a, const struct block *b, struct columns *c)
{
    size_t at = (size_t)b->group * (size_t)a->z.columns;
    for (int k = 0; k < b->vectors; k++) {
        c->mean[k] = load_column(a->mean + at, b, k);
        c->rstd[k] = load_column(a->rstd + at, b, k);
        c->weight[k] = load_column(a->weight, b, k);
        c->bias[k] = load_column(a->bias, b, k);
    }
}

// g [rows, SPAN] = gradient at the output of the norm; sums of g and of g times the normalised value, over the rows.
static void gather_gradient(const struct batchnorm_backward *a, const struct block *b, const struct columns *c,
                            const struct dropout_draw *draw, float *g, double sum[SPAN], double product[SPAN])
{
    vf part[LANES] = {0}, part_product[LANES] = {0};
    memset(sum, 0, SPAN * sizeof *sum);
    memset(product, 0, SPAN * sizeof *product);
    for (int i = 0; i < b->rows; i++) {
        int r = b->first_row + i;
        float *out = g + (size_t)i * SPAN;
        if (masked(a->length, a->frames, r)) {
            memset(out, 0, SPAN * sizeof *out);
        } else {
            struct dropout_row bits;
            dropout_row_begin(&bits, draw, (int32_t)(a->first_row_id + (uint32_t)r), b->column);
            for (int k = 0; k < b->vectors; k++) {
                vf x = (load(&a->z, b, r, k) - c->mean[k]) * c->rstd[k], factor = dropout_next(&bits, k * VLEN);
                vf d = vec_mish_derivative((x * c->weight[k] + c->bias[k]) * factor) * factor;
                vf y = load(&a->dy, b, r, k) * d;
                vec_storeu(out + k * VLEN, y);
                part[k] += y;
                part_product[k] += y * x;
            }
        }
        if (i % FLUSH == FLUSH - 1 || i == b->rows - 1) {
            flush(sum, part);
            flush(product, part_product);
        }
    }
}

static void write_gradient(const struct batchnorm_backward *a, const struct block *b, const struct columns *c,
                           const float *g, const double sum[SPAN], const double product[SPAN])
{
    float mean[SPAN] = {0}, slope[SPAN] = {0}; // of g, and of g on the normalised value: what the statistics take away
    for (int i = 0; i < b->columns && !a->running; i++) {
        mean[i] = (float)(sum[i] / b->rows);
        slope[i] = (float)(product[i] / b->rows);
    }
    for (int i = 0; i < b->rows; i++)
        for (int k = 0; k < b->vectors; k++) {
            vf x = (load(&a->z, b, b->first_row + i, k) - c->mean[k]) * c->rstd[k];
            vf d = vec_loadu(g + (size_t)i * SPAN + k * VLEN) - vec_loadu(mean + k * VLEN);
            d -= x * vec_loadu(slope + k * VLEN);
            store(&a->dz, b, b->first_row + i, k, d * (c->weight[k] * c->rstd[k]));
        }
}

void CPU_NAME(batchnorm_backward)(struct stream *s, const struct batchnorm_backward *a)
{
    int groups = group_count(a->z.rows, a->group_rows);
    int threads = cpu_threads(s);
    size_t partials = (size_t)groups * (size_t)a->z.columns, block_size = (size_t)a->group_rows * SPAN;
    struct dropout_draw draw = dropout_begin(&a->dropout);
    float *blocks = cpu_scratch(s, ((size_t)threads * block_size + 2 * partials) * sizeof *blocks);
    float *weight_partial = blocks + (size_t)threads * block_size, *bias_partial = weight_partial + partials;
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < block_count(&a->z, a->group_rows); i++) {
        struct block b = block_of(&a->z, a->group_rows, i);
        float *g = blocks + (size_t)omp_get_thread_num() * block_size;
        struct columns c = {0};
        double sum[SPAN], product[SPAN];
        load_columns(a, &b, &c);
        gather_gradient(a, &b, &c, &draw, g, sum, product);
        write_gradient(a, &b, &c, g, sum, product);
        size_t at = (size_t)b.group * (size_t)a->z.columns + (size_t)b.column;
        for (int k = 0; k < b.columns; k++) {
            weight_partial[at + (size_t)k] = (float)product[k];
            bias_partial[at + (size_t)k] = (float)sum[k];
        }
    }
    CPU_NAME(add_partials)(s, weight_partial, groups, a->z.columns, a->dweight);
    CPU_NAME(add_partials)(s, bias_partial, groups, a->z.columns, a->dbias);
}
