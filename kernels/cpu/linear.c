// The three products of a linear layer: backend.h, struct linear_forward and the two after it. Compiled for each
// instruction set. Where the machine has no bf16 products, or slower ones, bf16 matrices are converted to fp32 in
// scratch memory.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/vector.h"

#include <string.h>

// ---- bf16 by way of fp32 -------------------------------------------------------------------------------------------

static int has_products_of(struct stream *s, enum dtype type)
{
    return type == DTYPE_F32 || cpu_of(s)->native_bf16;
}

static void copy_rows(struct stream *s, const struct mat *from, const struct mat *to)
{
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < from->rows; r++) {
        const void *x = mat_row(from, r);
        void *y = mat_row(to, r);
        for (int c = 0; c < from->columns; c += VLEN) {
            int left = from->columns - c;
            vec_store(y, to->type, c, left, vec_load(x, from->type, c, left));
        }
    }
}

static size_t matrix_floats(const struct mat *m)
{
    return ((size_t)m->rows * (size_t)m->columns + 15) / 16 * 16;
}

// The matrix in fp32 without gaps, at *at, which moves on.
static struct mat place_fp32(const struct mat *m, float **at)
{
    struct mat copy = {*at, DTYPE_F32, m->rows, m->columns, m->columns};
    *at += matrix_floats(m);
    return copy;
}

static struct mat to_fp32(struct stream *s, const struct mat *m, float **at)
{
    struct mat copy = place_fp32(m, at);
    copy_rows(s, m, &copy);
    return copy;
}

static void run(struct stream *s, const struct gemm_product *p)
{
    struct error e;
    if (gemm_run(cpu_of(s)->gemm, p, &e))
        cpu_fail(s, &e);
}

// ---- y = x weight^T + bias ----------------------------------------------------------------------------------------

static void forward_product(struct stream *s, const struct linear_forward *a)
{
    run(s, &(struct gemm_product){.m = a->x.rows,
                                  .n = a->weight.rows,
                                  .k = a->x.columns,
                                  .type = a->x.type,
                                  .a = {a->x.data, a->x.stride, 0},
                                  .b = {a->weight.data, a->weight.stride, 1},
                                  .c = a->y.data,
                                  .c_type = a->y.type,
                                  .c_stride = a->y.stride,
                                  .bias = a->bias,
                                  .constant = a->constant});
}

void CPU_NAME(linear_forward)(struct stream *s, const struct linear_forward *a)
{
    assert(a->x.columns == a->weight.columns && a->y.columns == a->weight.rows && a->y.rows == a->x.rows);
    assert(a->x.type == a->weight.type && (a->y.type == a->x.type || a->y.type == DTYPE_F32));
    if (a->x.rows == 0)
        return;
    if (has_products_of(s, a->x.type)) {
        forward_product(s, a);
        return;
    }
    struct mat bias = {(void *)(uintptr_t)a->bias, a->x.type, 1, a->y.columns, a->y.columns};
    float *at = cpu_scratch(
        s, 4 * (matrix_floats(&a->x) + matrix_floats(&a->weight) + matrix_floats(&a->y) + matrix_floats(&bias)));
    struct linear_forward wide = {.x = to_fp32(s, &a->x, &at), .weight = to_fp32(s, &a->weight, &at), .y = a->y};
    if (a->bias)
        wide.bias = to_fp32(s, &bias, &at).data;
    if (a->y.type != DTYPE_F32)
        wide.y = place_fp32(&a->y, &at);
    forward_product(s, &wide);
    if (a->y.type != DTYPE_F32)
        copy_rows(s, &wide.y, &a->y);
}

// ---- dx = dy weight -----------------------------------------------------------------------------------------------

static void backward_input_product(struct stream *s, const struct linear_backward_input *a)
{
    run(s, &(struct gemm_product){.m = a->dy.rows,
                                  .n = a->weight.columns,
                                  .k = a->weight.rows,
                                  .type = a->dy.type,
                                  .a = {a->dy.data, a->dy.stride, 0},
                                  .b = {a->weight.data, a->weight.stride, 0},
                                  .c = a->dx.data,
                                  .c_type = a->dx.type,
                                  .c_stride = a->dx.stride,
                                  .accumulate = a->accumulate});
}

void CPU_NAME(linear_backward_input)(struct stream *s, const struct linear_backward_input *a)
{
    assert(a->dy.columns == a->weight.rows && a->dx.columns == a->weight.columns && a->dx.rows == a->dy.rows);
    assert(a->dy.type == a->weight.type && (a->dx.type == a->dy.type || a->dx.type == DTYPE_F32));
    if (a->dy.rows == 0)
        return;
    if (has_products_of(s, a->dy.type)) {
        backward_input_product(s, a);
        return;
    }
    float *at = cpu_scratch(s, 4 * (matrix_floats(&a->dy) + matrix_floats(&a->weight) + matrix_floats(&a->dx)));
    struct linear_backward_input wide = {
        .dy = to_fp32(s, &a->dy, &at), .weight = to_fp32(s, &a->weight, &at), .dx = a->dx, .accumulate = a->accumulate};
    if (a->dx.type != DTYPE_F32)
        wide.dx = a->accumulate ? to_fp32(s, &a->dx, &at) : place_fp32(&a->dx, &at);
    backward_input_product(s, &wide);
    if (a->dx.type != DTYPE_F32)
        copy_rows(s, &wide.dx, &a->dx);
}

// ---- dweight = dy^T x ---------------------------------------------------------------------------------------------

enum { SUM_COLUMNS = 256, SUM_ROWS = 32 };

// out[c] = sum of the rows' column c; sums of SUM_ROWS rows are added up, for accuracy.
static void sum_columns(struct stream *s, const struct mat *m, float *out)
{
    int blocks = (m->columns + SUM_COLUMNS - 1) / SUM_COLUMNS;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int block = 0; block < blocks; block++) {
        int first = block * SUM_COLUMNS, left = m->columns - first, n = left < SUM_COLUMNS ? left : SUM_COLUMNS;
        vf total[SUM_COLUMNS / VLEN], part[SUM_COLUMNS / VLEN];
        memset(total, 0, sizeof total);
        for (int r0 = 0; r0 < m->rows; r0 += SUM_ROWS) {
            memset(part, 0, sizeof part);
            for (int r = r0; r < m->rows && r < r0 + SUM_ROWS; r++) {
                const void *row = mat_row(m, r);
                for (int c = 0; c < n; c += VLEN)
                    part[c / VLEN] += vec_load(row, m->type, first + c, n - c);
            }
            for (int c = 0; c < n; c += VLEN)
                total[c / VLEN] += part[c / VLEN];
        }
        for (int c = 0; c < n; c += VLEN)
            vec_store(out, DTYPE_F32, first + c, n - c, total[c / VLEN]);
    }
}

static void backward_weight_product(struct stream *s, const struct mat *dy, const struct mat *x, float *dweight)
{
    run(s, &(struct gemm_product){.m = dy->columns,
                                  .n = x->columns,
                                  .k = dy->rows,
                                  .type = dy->type,
                                  .a = {dy->data, dy->stride, 1},
                                  .b = {x->data, x->stride, 0},
                                  .c = dweight,
                                  .c_type = DTYPE_F32,
                                  .c_stride = x->columns});
}

void CPU_NAME(linear_backward_weight)(struct stream *s, const struct linear_backward_weight *a)
{
    assert(a->dy.rows == a->x.rows && a->dy.type == a->x.type);
    if (a->dbias)
        sum_columns(s, &a->dy, a->dbias);
    if (a->dy.rows == 0) {
        memset(a->dweight, 0, (size_t)a->dy.columns * (size_t)a->x.columns * sizeof(float));
        return;
    }
    if (has_products_of(s, a->dy.type)) {
        backward_weight_product(s, &a->dy, &a->x, a->dweight);
        return;
    }
    float *at = cpu_scratch(s, 4 * (matrix_floats(&a->dy) + matrix_floats(&a->x)));
    struct mat dy = to_fp32(s, &a->dy, &at), x = to_fp32(s, &a->x, &at);
    backward_weight_product(s, &dy, &x, a->dweight);
}
