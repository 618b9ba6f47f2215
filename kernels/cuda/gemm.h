// Matrix products: the one place that knows cuBLASLt (gemm.c; the host model has its own, tests/cudahost/gemm.cc).
#ifndef ISLR_KERNELS_CUDA_GEMM_H
#define ISLR_KERNELS_CUDA_GEMM_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gemm;

// c [m,n] = a [m,k] b [k,n] (+ bias [n] on every row) (+ c), with fp32 sums. Row-major; a transposed operand is stored
// the other way round (a as [k,m], b as [n,k]). Strides are those of the stored rows, in elements. m, n and k are at
// least 1.
struct gemm_operand {
    const void *data;
    int stride, transposed;
};
struct gemm_product {
    int m, n, k;
    enum dtype type; // of a and b
    struct gemm_operand a, b;
    void *c;
    enum dtype c_type; // type or DTYPE_F32
    int c_stride;
    int accumulate;   // 1: adds to c
    const void *bias; // of `type`, or NULL
    float *sums;      // [m]: gets the sums of a's rows over k; or NULL
};

// What cuda_gemm_run() queued; the rest is left to the caller.
enum gemm_part { GEMM_PRODUCT = 1, GEMM_BIAS = 2, GEMM_SUMS = 4 };

// `major`: of the compute capability. NULL with `e` filled if the library cannot be used.
struct gemm *cuda_gemm_create(int major, struct error *e);
void cuda_gemm_destroy(struct gemm *g);

// Queues the product with what the library can do of it (enum gemm_part): not all types and alignments are in it.
// Without GEMM_PRODUCT nothing was queued. The same shape, alignment and card give the same bits.
unsigned cuda_gemm_run(struct gemm *g, struct stream *s, const struct gemm_product *p);

const char *cuda_gemm_library(char *text, size_t size); // "cuBLASLt 13.0.2"

#ifdef __cplusplus
}
#endif

#endif
