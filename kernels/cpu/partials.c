// Partial sums of chunks, added in order: see cpu.h. Compiled for each instruction set.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

void CPU_NAME(add_partials)(struct stream *s, const float *partial, int partials, int columns, float *out)
{
#pragma omp parallel for num_threads(cpu_threads(s)) if ((long)partials * columns > 20000)
    for (int c = 0; c < columns; c += VLEN) {
        vf sum = {};
        for (int p = 0; p < partials; p++)
            sum += vec_load(partial + (size_t)p * (size_t)columns, DTYPE_F32, c, columns - c);
        vec_store(out, DTYPE_F32, c, columns - c, sum);
    }
}
