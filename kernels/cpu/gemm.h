// Matrix products: the one place that knows oneDNN. Primitives are made once for each shape and kept (least recently used
// ones go above a limit); packed copies of constant matrices are kept until gemm_forget().
#ifndef ISLR_KERNELS_CPU_GEMM_H
#define ISLR_KERNELS_CPU_GEMM_H

#include <stddef.h>

#include "core/base/error.h"
#include "kernels/backend.h"

struct gemm;

// c [m,n] = a [m,k] b [k,n] (+ bias [n] on every row) (+ c). Row-major; a transposed operand is stored the other way
// round (a as [k,m], b as [n,k]). Strides are those of the stored rows, in elements.
struct gemm_operand {
    const void *data;
    int stride, transposed;
};
struct gemm_product {
    int m, n, k;
    enum dtype type; // of a and b: DTYPE_F32 or DTYPE_BF16
    struct gemm_operand a, b;
    void *c;
    enum dtype c_type; // type or DTYPE_F32
    int c_stride;
    const void *bias; // of `type`, or NULL
    int accumulate;   // 1: adds to c
    int constant;     // 1: b does not change until gemm_forget(): a packed copy is kept
};

// Uses `threads` OpenMP threads. NULL with `e` filled if oneDNN cannot be used.
struct gemm *gemm_create(int threads, struct error *e);
void gemm_destroy(struct gemm *g);

// 0, or -1 with `e` filled: oneDNN knows no such product on this machine, or memory ran out. Safe to call from several
// threads (one runs at a time).
int gemm_run(struct gemm *g, const struct gemm_product *p, struct error *e);

void gemm_forget(struct gemm *g);

// How this machine multiplies bf16 matrices. Where it does not, gemm_run may refuse them.
enum gemm_bf16 {
    GEMM_BF16_NONE,
    GEMM_BF16_SLOW, // AVX-512 BF16 without matrix units on Intel's: about half the rate of fp32 (docs/performance.md)
    GEMM_BF16_FAST  // AMX; AMD's AVX-512 BF16
};
enum gemm_bf16 gemm_bf16(void);

const char *gemm_library(char text[32]); // "oneDNN 2.6.3": of the library that runs, not of the headers

#endif
