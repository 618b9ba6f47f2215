// Operations that know which rows are which clip's: packing, manifold mixup, mean over frames (backend.h, "rows").
// Compiled for each instruction set.
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

static void zero_rows(const struct mat *m, int first, int end)
{
    for (int r = first; r < end; r++)
        memset(mat_row(m, r), 0, (size_t)m->columns * dtype_size(m->type));
}

static int held(const struct rows *rows, int clip)
{
    return rows->offset[clip + 1] - rows->offset[clip];
}

static void copy_row(const struct mat *from, int from_row, const struct mat *to, int to_row)
{
    const void *x = mat_row(from, from_row);
    void *y = mat_row(to, to_row);
    int columns = to->columns;
    if (from->type == to->type)
        memcpy(y, x, (size_t)columns * dtype_size(to->type));
    else
        for (int c = 0; c < columns; c += VLEN)
            vec_store(y, to->type, c, columns - c, vec_load(x, from->type, c, columns - c));
}

void CPU_NAME(pack_rows)(struct stream *s, const struct pack_rows *a)
{
    const struct rows *rows = &a->rows;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++)
        for (int f = 0; f < held(rows, b); f++)
            copy_row(&a->padded, b * rows->frames + f, &a->packed, rows->offset[b] + f);
    zero_rows(&a->packed, rows->offset[rows->clips], rows->count);
}

void CPU_NAME(unpack_rows)(struct stream *s, const struct unpack_rows *a)
{
    const struct rows *rows = &a->rows;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++) {
        for (int f = 0; f < held(rows, b); f++)
            copy_row(&a->packed, rows->offset[b] + f, &a->padded, b * rows->frames + f);
        zero_rows(&a->padded, b * rows->frames + held(rows, b), (b + 1) * rows->frames);
    }
}

// y = c*x + d*other, row by row; `other` counts as zero from its clip's last row in the pack on.
static void blend(const struct rows *rows, const struct mat *x, const struct mat *y, int clip, int other, float c,
                  float d)
{
    int columns = y->columns, others = held(rows, other);
    for (int f = 0; f < held(rows, clip); f++) {
        const void *own = mat_row(x, rows->offset[clip] + f);
        const void *mixed = f < others ? mat_row(x, rows->offset[other] + f) : NULL;
        void *out = mat_row(y, rows->offset[clip] + f);
        for (int i = 0; i < columns; i += VLEN) {
            vf v = c * vec_load(own, x->type, i, columns - i);
            if (mixed)
                v += d * vec_load(mixed, x->type, i, columns - i);
            vec_store(out, y->type, i, columns - i, v);
        }
    }
}

void CPU_NAME(mixup_forward)(struct stream *s, const struct mixup_forward *a)
{
    const struct rows *rows = &a->rows;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++)
        blend(rows, &a->x, &a->y, b, a->partner[b], a->coefficient[b], 1 - a->coefficient[b]);
    zero_rows(&a->y, rows->offset[rows->clips], rows->count);
}

void CPU_NAME(mixup_backward)(struct stream *s, const struct mixup_backward *a)
{
    const struct rows *rows = &a->rows;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++) {
        int i = a->inverse[b];
        blend(rows, &a->dy, &a->dx, b, i, a->coefficient[b], 1 - a->coefficient[i]);
    }
    zero_rows(&a->dx, rows->offset[rows->clips], rows->count);
}

// A clip without real frames has the mean 0.
void CPU_NAME(mean_forward)(struct stream *s, const struct mean_forward *a)
{
    const struct rows *rows = &a->rows;
    int columns = a->y.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++) {
        int length = rows->length[b];
        float share = length > 0 ? 1.0f / (float)length : 0;
        for (int c = 0; c < columns; c += VLEN) {
            vf sum = {};
            for (int f = 0; f < length; f++)
                sum += vec_load(mat_row(&a->x, rows->offset[b] + f), a->x.type, c, columns - c);
            vec_store(mat_row(&a->y, b), a->y.type, c, columns - c, sum * share);
        }
    }
}

void CPU_NAME(mean_backward)(struct stream *s, const struct mean_backward *a)
{
    const struct rows *rows = &a->rows;
    int columns = a->dx.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int b = 0; b < rows->clips; b++) {
        int length = rows->length[b], start = rows->offset[b];
        float share = length > 0 ? 1.0f / (float)length : 0;
        for (int f = 0; f < length; f++)
            for (int c = 0; c < columns; c += VLEN) {
                vf g = vec_load(mat_row(&a->dy, b), a->dy.type, c, columns - c) * share;
                vec_store(mat_row(&a->dx, start + f), a->dx.type, c, columns - c, g);
            }
        zero_rows(&a->dx, start + length, start + held(rows, b));
    }
    zero_rows(&a->dx, rows->offset[rows->clips], rows->count);
}
