// Which of the instruction sets that the operations are compiled for (meson.build) this process computes with.
// Environment: ISLR_CPU_ISA=NAME takes another one than the machine's best (for tests): generic, v2, v3, v4 or v4bf16 on
// x86-64, neon on aarch64, generic on other machines; v4bf16 multiplies bf16 matrices as such even where fp32 is faster.
#ifndef ISLR_KERNELS_CPU_CHOOSE_ISA_H
#define ISLR_KERNELS_CPU_CHOOSE_ISA_H

#include "kernels/backend.h"

struct cpu_isa {
    const char *name;
    int (*supported)(void); // NULL: every machine of this architecture has it
    int has_bf16;
    void (*fill)(struct backend_ops *op);
};

// The instruction set that the environment asks for, or NULL.
const char *cpu_wanted_isa(void);

// That one, or the machine's best. NULL: `e` is filled.
const struct cpu_isa *cpu_choose_isa(struct error *e);

#endif
