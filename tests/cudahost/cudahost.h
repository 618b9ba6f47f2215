// The host model of a CUDA device, for tests (C and C++): how a test steers it and what it reports.
#ifndef ISLR_TESTS_CUDAHOST_CUDAHOST_H
#define ISLR_TESTS_CUDAHOST_CUDAHOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct backend;
struct error;

// The CUDA backend (kernels/cuda) over the model. `order` is 1 or another number: see cudahost_order().
struct backend *backend_cudahost_open(int order, struct error *e);

// 1: blocks, warps and lanes run in ascending order; others: in descending order.
void cudahost_order(int order);

// What ended a grid since the last reset, or "". After a reset the device is as new; its memory stays.
const char *cudahost_report(void);
void cudahost_reset(void);

// Device memory from now on, in bytes; what is allocated counts.
void cudahost_limit_memory(size_t size);
// Grids that ran since the program began, and device allocations that are not freed.
size_t cudahost_grids(void);
size_t cudahost_allocations(void);

#ifdef __cplusplus
}
#endif

#endif
