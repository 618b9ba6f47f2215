// The choice of the instruction set: see choose_isa.h.
#include "kernels/cpu/choose_isa.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

void cpu_fill_generic(struct backend_ops *op);
void cpu_fill_neon(struct backend_ops *op);
void cpu_fill_v2(struct backend_ops *op);
void cpu_fill_v3(struct backend_ops *op);
void cpu_fill_v4(struct backend_ops *op);
void cpu_fill_v4bf16(struct backend_ops *op);

#if defined(__x86_64__)
static int has_v2(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}

static int has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static int has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

#ifdef CPU_BUILT_V4BF16
static int has_v4bf16(void)
{
    return has_v4() && __builtin_cpu_supports("avx512bf16");
}
#endif
#endif

static const struct cpu_isa isas[] = {
// best last
#if defined(__x86_64__)
    {"generic", NULL, 0, cpu_fill_generic},
    {"v2", has_v2, 0, cpu_fill_v2},
    {"v3", has_v3, 0, cpu_fill_v3},
    {"v4", has_v4, 0, cpu_fill_v4},
#ifdef CPU_BUILT_V4BF16
    {"v4bf16", has_v4bf16, 1, cpu_fill_v4bf16},
#endif
#elif defined(__aarch64__)
    {"neon", NULL, 0, cpu_fill_neon},
#else
    {"generic", NULL, 0, cpu_fill_generic},
#endif
};
enum { ISAS = sizeof isas / sizeof *isas };

static int is_supported(const struct cpu_isa *isa)
{
    return !isa->supported || isa->supported();
}

const char *cpu_wanted_isa(void)
{
    const char *wanted = getenv("ISLR_CPU_ISA");
    return wanted && *wanted ? wanted : NULL;
}

static const struct cpu_isa *find(const char *name, struct error *e)
{
    struct strbuf names = {0};
    for (int i = 0; i < ISAS; i++) {
        if (!strcmp(name, isas[i].name)) {
            free(names.text);
            return &isas[i];
        }
        strbuf_printf(&names, "%s%s", i ? ", " : "", isas[i].name);
    }
    error_set(e, ERR_INVALID, "ISLR_CPU_ISA=%s: not one of those of this build: %s", name, names.text);
    free(names.text);
    return NULL;
}

const struct cpu_isa *cpu_choose_isa(struct error *e)
{
    const char *wanted = cpu_wanted_isa();
    const struct cpu_isa *isa = wanted ? find(wanted, e) : &isas[ISAS - 1];
    if (wanted && isa && !is_supported(isa)) {
        error_set(e, ERR_FAILED, "ISLR_CPU_ISA=%s: this processor does not have these instructions", wanted);
        return NULL;
    }
    while (!wanted && !is_supported(isa)) // the first one is
        isa--;
    return isa;
}
