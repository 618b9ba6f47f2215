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

// Takes what the environment says of the model, each time a device is looked for or opened; -1 with `e` filled if it is
// wrong.
//   CUDAHOST_ORDER=ascending|descending   see cudahost_order()
//   CUDAHOST_DEVICES=N                    how many devices there are (1)
//   CUDAHOST_CAPABILITY=M.N               their compute capability (9.0)
//   CUDAHOST_CODE=M,N                     for which ones there is machine code, and PTX of the last (the device's own)
//   CUDAHOST_MEMORY_MIB=N                 the memory of each (8192)
//   CUDAHOST_FAULT_FILE=PATH              once this file is there, it is removed and the device is in error
//   CUDAHOST_GEMM=none|product            what the matrix library does: see gemm.cc
//   CUDAHOST_CAPTURE=spoilt               captures of streams fail, at their end
//   CUDAHOST_CAPTURE=broken               they are broken from the beginning
//   CUDAHOST_LAUNCHES=PATH                at the program's end a line of each kernel that it launched is added: name,
//                                         most threads of a block, most bytes of dynamic shared memory
int cudahost_configure(struct error *e);

// 1: blocks, warps and lanes run in ascending order; others: in descending order.
void cudahost_order(int order);

// What ended a grid since the last reset, or "". After a reset the device is as new; its memory stays.
const char *cudahost_report(void);
void cudahost_reset(void);

// Device memory from now on, in bytes; what is allocated counts.
void cudahost_limit_memory(size_t size);
// Grids that ran and graphs that were launched since the program began, and device allocations that are not freed.
size_t cudahost_grids(void);
size_t cudahost_replays(void);
size_t cudahost_allocations(void);

// Of a cudaStream_t: 0, or lower where its work goes before that of others.
int cudahost_stream_priority(void *stream);

// For stand-ins of other libraries that work on streams: calls work(context) when the stream (a cudaStream_t) comes to
// it; what it returns but 0 is the device's error from then on. Exported by the shared object too.
__attribute__((visibility("default"))) int cudahost_stream_call(void *stream, int (*work)(void *context),
                                                                void *context);

#ifdef __cplusplus
}
#endif

#endif
