// Dynamic loss scaling: struct update_scale of backend.h. Compiled for each instruction set.
#include "kernels/loss_scale.h"
#include "kernels/cpu/cpu.h"

void CPU_NAME(update_scale)(struct stream *s, const struct update_scale *a)
{
    (void)s;
    scale_step(a);
}
