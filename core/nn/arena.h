// A workspace planned once: carve it twice, first without memory to learn the size, then with.
#ifndef ISLR_NN_ARENA_H
#define ISLR_NN_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

struct arena {
    char *base; // device memory, or NULL while planning
    size_t used, peak;
};

static inline void *arena_take(struct arena *a, size_t size)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (size + 255) / 256 * 256;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

// A matrix without gaps between its rows.
static inline struct mat arena_mat(struct arena *a, enum dtype type, int rows, int columns)
{
    struct mat m = {NULL, type, rows, columns, columns};
    m.data = arena_take(a, (size_t)rows * (size_t)columns * dtype_size(type));
    return m;
}

// Rows [first, first+rows) and columns [column, column+columns) of a matrix.
static inline struct mat mat_part(struct mat m, int first, int rows, int column, int columns)
{
    size_t skip = ((size_t)first * (size_t)m.stride + (size_t)column) * dtype_size(m.type);
    return (struct mat){m.data ? (char *)m.data + skip : NULL, m.type, rows, columns, m.stride};
}

#endif
