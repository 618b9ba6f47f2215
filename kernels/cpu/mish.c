// Mish with a residual: backend.h, struct mish_forward and mish_backward. Compiled for each instruction set.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/mish_vector.h"

void CPU_NAME(mish_forward)(struct stream *s, const struct mish_forward *a)
{
    int columns = a->z.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < a->z.rows; r++) {
        const void *z = mat_row(&a->z, r), *residual = a->residual.data ? mat_row(&a->residual, r) : NULL;
        void *y = mat_row(&a->y, r);
        for (int c = 0; c < columns; c += VLEN) {
            vf x = vec_mish(vec_load(z, a->z.type, c, columns - c));
            if (residual)
                x += vec_load(residual, a->residual.type, c, columns - c);
            vec_store(y, a->y.type, c, columns - c, x);
        }
    }
}

void CPU_NAME(mish_backward)(struct stream *s, const struct mish_backward *a)
{
    int columns = a->z.columns;
#pragma omp parallel for num_threads(cpu_threads(s))
    for (int r = 0; r < a->z.rows; r++) {
        const void *z = mat_row(&a->z, r), *dy = mat_row(&a->dy, r);
        void *dz = mat_row(&a->dz, r);
        for (int c = 0; c < columns; c += VLEN) {
            vf d = vec_mish_derivative(vec_load(z, a->z.type, c, columns - c));
            vec_store(dz, a->dz.type, c, columns - c, d * vec_load(dy, a->dy.type, c, columns - c));
        }
    }
}
