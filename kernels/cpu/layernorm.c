// LayerNorm with a residual and dropout before and behind it: backend.h, struct layernorm_forward and
// layernorm_backward. Compiled for each instruction set.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/vector.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static size_t padded(int columns)
{
    return ((size_t)columns + 15) / 16 * 16;
}

static const void *row_or_null(const struct mat *m, int r)
{
    return m->data ? mat_row(m, r) : NULL;
}

static int32_t row_id(const int32_t *id, int r)
{
    return id ? id[r] : r;
}

// ---- forward ------------------------------------------------------------------------------------------------------

// row[c] = x[c] * dropout + residual[c], also to a->sum; returns the sum of them all.
static float add_residual(const struct layernorm_forward *a, const struct dropout_draw *draw, int r, float *row)
{
    int columns = a->x.columns;
    const void *x = mat_row(&a->x, r), *residual = row_or_null(&a->residual, r);
    void *sum = a->sum.data ? mat_row(&a->sum, r) : NULL;
    struct dropout_row dropout;
    dropout_row_begin(&dropout, draw, row_id(a->id, r), 0);
    vf total = {};
    for (int c = 0; c < columns; c += VLEN) {
        int left = columns - c;
        vf v = vec_load(x, a->x.type, c, left) * dropout_next(&dropout, c);
        if (residual)
            v += vec_load(residual, a->residual.type, c, left);
        if (sum)
            vec_store(sum, a->sum.type, c, left, v);
        vec_storeu(row + c, v);
        total += v;
    }
    return vec_sum(total);
}

// Sum of (row[c] - mean)^2.
static float squared_deviations(const float *row, int columns, float mean)
{
    vf total = {};
    int c = 0;
    for (; c + VLEN <= columns; c += VLEN) {
        vf d = vec_loadu(row + c) - mean;
        total += d * d;
    }
    float sum = vec_sum(total);
    for (; c < columns; c++)
        sum += (row[c] - mean) * (row[c] - mean);
    return sum;
}

void CPU_NAME(layernorm_forward)(struct stream *s, const struct layernorm_forward *a)
{
    int columns = a->x.columns;
    struct dropout_draw draw_in = dropout_begin(&a->dropout_in), draw_out = dropout_begin(&a->dropout_out);
    float *rows = cpu_scratch(s, (size_t)cpu_threads(s) * padded(columns) * sizeof *rows);
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < a->x.rows; r++) {
        float *row = rows + (size_t)omp_get_thread_num() * padded(columns);
        float mean = add_residual(a, &draw_in, r, row) / (float)columns;
        float rstd = 1 / sqrtf(squared_deviations(row, columns, mean) / (float)columns + a->eps);
        void *y = mat_row(&a->y, r);
        struct dropout_row dropout;
        dropout_row_begin(&dropout, &draw_out, row_id(a->id, r), 0);
        for (int c = 0; c < columns; c += VLEN) {
            int left = columns - c;
            vf weight = vec_load(a->weight, DTYPE_F32, c, left), bias = vec_load(a->bias, DTYPE_F32, c, left);
            vf v = (vec_loadu(row + c) - mean) * rstd * weight + bias;
            vec_store(y, a->y.type, c, left, v * dropout_next(&dropout, c));
        }
        if (a->mean) {
            a->mean[r] = mean;
            a->rstd[r] = rstd;
        }
    }
}

// ---- backward -----------------------------------------------------------------------------------------------------

struct backward {
    const struct layernorm_backward *a;
    struct dropout_draw in, out;
};

// From dy of row r: gradient[c] = dropout(dy)*weight, normal[c] = (sum-mean)*rstd; adds to the gradients of weight and
// bias; means[0] and [1] become the means of gradient and of gradient*normal.
static void gather_row(const struct backward *b, int r, float *gradient, float *normal, float *dweight, float *dbias,
                       float means[2])
{
    const struct layernorm_backward *a = b->a;
    int columns = a->dy.columns;
    const void *dy = mat_row(&a->dy, r), *sum = mat_row(&a->sum, r);
    struct dropout_row dropout;
    dropout_row_begin(&dropout, &b->out, row_id(a->id, r), 0);
    vf total = {}, product = {};
    for (int c = 0; c < columns; c += VLEN) {
        int left = columns - c;
        vf d = vec_load(dy, a->dy.type, c, left) * dropout_next(&dropout, c);
        vf n = (vec_load(sum, a->sum.type, c, left) - a->mean[r]) * a->rstd[r];
        vf g = d * vec_load(a->weight, DTYPE_F32, c, left);
        vec_store(dweight, DTYPE_F32, c, left, vec_load(dweight, DTYPE_F32, c, left) + d * n);
        vec_store(dbias, DTYPE_F32, c, left, vec_load(dbias, DTYPE_F32, c, left) + d);
        vec_storeu(gradient + c, g);
        vec_storeu(normal + c, n);
        total += g;
        product += g * n; // lanes behind the last column: g is zero there
    }
    means[0] = vec_sum(total) / (float)columns;
    means[1] = vec_sum(product) / (float)columns;
}

static void write_row(const struct backward *b, int r, const float *gradient, const float *normal, const float means[2])
{
    const struct layernorm_backward *a = b->a;
    int columns = a->dy.columns;
    void *dsum = a->dsum.data ? mat_row(&a->dsum, r) : NULL;
    void *dx = a->dx.data && a->dx.data != a->dsum.data ? mat_row(&a->dx, r) : NULL;
    struct dropout_row dropout;
    dropout_row_begin(&dropout, &b->in, row_id(a->id, r), 0);
    for (int c = 0; c < columns; c += VLEN) {
        int left = columns - c;
        vf d = (vec_loadu(gradient + c) - means[0] - vec_loadu(normal + c) * means[1]) * a->rstd[r];
        if (dsum)
            vec_store(dsum, a->dsum.type, c, left, d);
        if (dx)
            vec_store(dx, a->dx.type, c, left, d * dropout_next(&dropout, c));
    }
}

enum { CHUNKS_MOST = 32, CHUNK_ROWS_LEAST = 8 };

void CPU_NAME(layernorm_backward)(struct stream *s, const struct layernorm_backward *a)
{
    struct backward b = {a, dropout_begin(&a->dropout_in), dropout_begin(&a->dropout_out)};
    assert(!(b.in.on && a->dx.data && a->dx.data == a->dsum.data));
    int rows = a->dy.rows, columns = a->dy.columns;
    size_t width = padded(columns);
    struct chunks chunks = chunks_of(rows, CHUNKS_MOST, CHUNK_ROWS_LEAST);
    size_t partials = 2 * (size_t)chunks.count * (size_t)columns; // dweight of all chunks, then dbias
    float *dweight = cpu_scratch(s, (partials + 2 * width * (size_t)cpu_threads(s)) * sizeof *dweight);
    float *dbias = dweight + partials / 2, *buffers = dweight + partials;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int chunk = 0; chunk < chunks.count; chunk++) {
        float *gradient = buffers + 2 * width * (size_t)omp_get_thread_num(), *normal = gradient + width;
        float *dw = dweight + (size_t)chunk * (size_t)columns, *db = dbias + (size_t)chunk * (size_t)columns;
        memset(dw, 0, (size_t)columns * sizeof *dw);
        memset(db, 0, (size_t)columns * sizeof *db);
        for (int r = chunk * chunks.size; r < chunk_end(chunks, chunk, rows); r++) {
            float means[2];
            gather_row(&b, r, gradient, normal, dw, db, means);
            write_row(&b, r, gradient, normal, means);
        }
    }
    CPU_NAME(add_partials)(s, dweight, chunks.count, columns, a->dweight);
    CPU_NAME(add_partials)(s, dbias, chunks.count, columns, a->dbias);
}
