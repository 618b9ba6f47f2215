// Sums of what several ranks computed: struct sum_ranks of backend.h. Compiled for each instruction set.
#include "kernels/cpu/cpu.h"

void CPU_NAME(sum_ranks)(struct stream *s, const struct sum_ranks *a)
{
#pragma omp parallel for num_threads(cpu_threads(s))
    for (size_t i = 0; i < a->count; i++) {
        double sum = 0;
        for (int r = 0; r < a->ranks; r++)
            sum += (double)a->parts[(size_t)r * a->stride + i];
        a->out[i] = (float)sum / a->divisor;
    }
}
