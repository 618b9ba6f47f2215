// Inside the CPU backend: what its files share. Nothing outside kernels/cpu includes this.
//
// How a file of operations is written (mish.c is the shortest example):
//  * It is compiled once for each instruction set of the architecture (CPU_ISA). x86-64: generic = SSE2 without
//    intrinsics, v2 = SSE4.2, v3 = AVX2+FMA, v4 = AVX-512, v4bf16 = that with the bf16 instructions, with the compiler's
//    own -march; aarch64: neon; others: generic. A function that is not static is therefore named CPU_NAME(name), which
//    becomes cpu_name_v4 and so on. An operation `name` of backend.h is
//        void CPU_NAME(name)(struct stream *s, const struct name *a)
//    and stands in BACKEND_OPERATIONS; the table of backend.h is filled from that list (isa.c), and choose_isa.c picks
//    the instruction set at run time. Files that need no vector code (cpu.c, gemm.c) are compiled once, for all machines
//    of the architecture.
//  * Vectors: vector.h (`vf` is VLEN floats; vec_load and vec_store convert fp32 and bf16 and take care of the tail of a
//    row), mish_vector.h, dropout.h. No function may read or write beyond a row's columns.
//  * Threads: `#pragma omp parallel for num_threads(cpu_threads(s))`. What adds up over rows splits the work in chunks
//    that depend on the shape alone (struct chunks), writes a partial sum a chunk, and adds these in order
//    (add_partials): the same bits with any number of threads. Nested parallelism is not used.
//  * Scratch: cpu_scratch(s, size) gives memory that belongs to the operation until it returns; it grows on first use of
//    a shape and is not allocated again. One call an operation: a second call may move it.
//  * Operations on CPU run before they return, so `struct stream` holds no queue; a stream is used by one host thread at
//    a time. Device memory is host memory: step scalars, lengths and ids are read directly.
//  * DTYPE_F16 does not exist here (asserted by vec_load and vec_store).
#ifndef ISLR_KERNELS_CPU_CPU_H
#define ISLR_KERNELS_CPU_CPU_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

struct gemm;

struct cpu_backend {
    struct backend base;    // base.op = &ops
    struct backend_ops ops; // filled for the instruction set chosen
    const char *isa;
    int threads;
    int native_bf16;   // bf16 matrices are multiplied as such, not converted to fp32 first
    struct gemm *gemm; // matrix products and packed weights (gemm.h)
};

struct cpu_stream {
    struct stream base;
    void *scratch;
    size_t scratch_size;
    struct error failed; // the first failure since the last synchronize; code ERR_NONE: none
};

static inline struct cpu_backend *cpu_of(struct stream *s)
{
    return (struct cpu_backend *)s->backend;
}

static inline int cpu_threads(struct stream *s)
{
    return cpu_of(s)->threads;
}

// At least `size` bytes, 64-byte aligned, contents undefined; valid until the next call on this stream.
void *cpu_scratch(struct stream *s, size_t size);

// Keeps an operation's failure for `synchronize`.
void cpu_fail(struct stream *s, const struct error *e);

static inline void *mat_row(const struct mat *m, int row)
{
    return (char *)m->data + (size_t)row * (size_t)m->stride * dtype_size(m->type);
}

// `count` items in chunks of `size` (the last may be shorter), at most `most` of them, by `count` alone. Chunk c is
// [c*size, min(count, (c+1)*size)).
struct chunks {
    int count, size;
};
static inline struct chunks chunks_of(int items, int most, int least_size)
{
    int size = (items + most - 1) / most;
    if (size < least_size)
        size = least_size;
    return (struct chunks){(items + size - 1) / size, size};
}
static inline int chunk_end(struct chunks c, int chunk, int items)
{
    int end = (chunk + 1) * c.size;
    return end < items ? end : items;
}

// ---- functions that exist once for each instruction set -----------------------------------------------------------

#ifdef CPU_ISA
#define CPU_NAME_(name, isa)  cpu_##name##_##isa
#define CPU_NAME__(name, isa) CPU_NAME_(name, isa)
#define CPU_NAME(name)        CPU_NAME__(name, CPU_ISA)

#define CPU_DECLARE(name) void CPU_NAME(name)(struct stream * s, const struct name *a);
BACKEND_OPERATIONS(CPU_DECLARE)
#undef CPU_DECLARE

void CPU_NAME(fill)(struct backend_ops *op); // isa.c

// out[c] = sum over p of partial[p*columns + c], in the order of p. partial is [partials, columns].
void CPU_NAME(add_partials)(struct stream *s, const float *partial, int partials, int columns,
                            float *out); // partials.c
#endif

#endif
