// Elementwise maximum: backend.h, struct maximum_forward and maximum_backward. Compiled for each instruction set.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

// A NaN in either operand comes through, as in PyTorch.
void CPU_NAME(maximum_forward)(struct stream *s, const struct maximum_forward *a)
{
    int columns = a->y.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < a->y.rows; r++) {
        const void *left = mat_row(&a->a, r), *right = mat_row(&a->b, r);
        void *y = mat_row(&a->y, r);
        for (int c = 0; c < columns; c += VLEN) {
            vf l = vec_load(left, a->a.type, c, columns - c), m = vec_load(right, a->b.type, c, columns - c);
            vec_store(y, a->y.type, c, columns - c, vec_select((vi)(l > m) | (vi)(l != l), l, m));
        }
    }
}

void CPU_NAME(maximum_backward)(struct stream *s, const struct maximum_backward *a)
{
    int columns = a->dy.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < a->dy.rows; r++) {
        const void *left = mat_row(&a->a, r), *right = mat_row(&a->b, r), *dy = mat_row(&a->dy, r);
        void *da = mat_row(&a->da, r), *db = mat_row(&a->db, r);
        for (int c = 0; c < columns; c += VLEN) {
            vf l = vec_load(left, a->a.type, c, columns - c), m = vec_load(right, a->b.type, c, columns - c);
            vf g = vec_load(dy, a->dy.type, c, columns - c), half = 0.5f * g, none = vec_set(0);
            vec_store(da, a->da.type, c, columns - c, vec_select((vi)(l > m), g, vec_select((vi)(l == m), half, none)));
            vec_store(db, a->db.type, c, columns - c, vec_select((vi)(l < m), g, vec_select((vi)(l == m), half, none)));
        }
    }
}
