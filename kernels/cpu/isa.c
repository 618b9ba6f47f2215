// The table of operations of one instruction set. Compiled for each.
#include "kernels/cpu/cpu.h"

void CPU_NAME(fill)(struct backend_ops *op)
{
#define CPU_FILL(name) op->name = CPU_NAME(name);
    BACKEND_OPERATIONS(CPU_FILL)
#undef CPU_FILL
}
