// Inside the CUDA backend: what its files share. Nothing outside kernels/cuda (but the host model in tests/cudahost)
// includes this.
//
// How a file of operations is written (mish.cu is the shortest example): kernels first, launchers below.
//  * An operation `name` of backend.h is  void cuda_name(struct stream *s, const struct name *a)  and stands in
//    BACKEND_OPERATIONS; it queues kernels on the stream and returns. Its kernels take the same struct by value.
//  * What kernels share - types, dropout, reductions, launches - is in kernel.cuh.
//  * Everything compiles for the host too, against tests/cudahost: a kernel uses shared memory through SHARED and
//    shared<T> alone, and launches through LAUNCH.
//  * Sums are made in an order that the shape alone decides: partial sums to scratch memory, added up in order. No
//    float atomics.
//  * Scratch: cuda_scratch(s, size) is memory that belongs to the operation until its kernels have run; the next
//    operation on the stream gets the same memory. One call an operation. It grows on first use of a shape and is not
//    allocated again.
//  * No operation needs more than 48 KiB of shared memory a block, so all run on any card.
//  * A launch or copy that fails is kept in the stream, with all that follow, until `synchronize` reports it.
#ifndef ISLR_KERNELS_CUDA_CUDA_H
#define ISLR_KERNELS_CUDA_CUDA_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/backend.h"

struct gemm;
struct staging;

struct cuda_backend {
    struct backend base; // base.op = &ops
    struct backend_ops ops;
    int device;
    char name[128];
    int major, minor, multiprocessors; // compute capability
    int code;                          // the one that its kernels were compiled for, as in 75: no newer
    size_t free_first, free_least;     // bytes free when it was opened, and when least were
    struct stream *own;                // for allocate()
    struct gemm *gemm;                 // matrix products (gemm.h)
};

struct cuda_stream {
    struct stream base;
    cudaStream_t cuda;
    cudaEvent_t mark; // for order()
    void *scratch;
    size_t scratch_size;
    struct scratch_block *outgrown; // earlier scratch memory: what is queued or recorded may still use it
    struct staging *staging;        // pinned memory that copies from and to the host go through (staging.h)
    void *workspace;                // of the matrix products, made by gemm.c
    struct error failed;            // the first failure since the last synchronize; code ERR_NONE: none
    struct cuda_stream *recorded;   // the stream whose recording takes in what is queued here, or NULL (record.c)
    struct cuda_stream *also;       // the next stream of that recording
    int replayed;                   // a recording, since the last synchronize
};

static inline struct cuda_backend *cuda_of(struct stream *s)
{
    return (struct cuda_backend *)s->backend;
}

static inline cudaStream_t cuda_stream_of(struct stream *s)
{
    return ((struct cuda_stream *)s)->cuda;
}

// At least `size` bytes, 256-byte aligned, contents undefined; or NULL, and the failure is kept: the operation is given
// up.
void *cuda_scratch(struct stream *s, size_t size);

// "CUDA device 0 (its name): what: CUDA's words". Returns -1.
int cuda_error(struct error *e, const struct cuda_backend *b, cudaError_t rc, const char *what);

// Keeps a failure for `synchronize`, unless rc is none. Returns rc. `what` as above.
cudaError_t cuda_check(struct stream *s, cudaError_t rc, const char *what);
void cuda_fail(struct stream *s, const struct error *e);

// record.c: see backend.h.
int cuda_record_begin(struct stream *s, struct error *e);
struct recording *cuda_record_end(struct stream *s, struct error *e);
int cuda_record_stands(struct stream *s);
void cuda_replay(struct stream *s, struct recording *r);
void cuda_recording_destroy(struct recording *r);
// `later` waits for `earlier`: if that is recorded, it is too.
void cuda_record_follow(struct stream *earlier, struct stream *later);
// Keeps a failure and returns 0 where the stream is recorded: `what` would not be what it is in a replay.
int cuda_record_allows(struct stream *s, const char *what);

// update_scale.cu: for which compute capability (as in 90) the kernels were compiled that the current device runs; all are
// compiled for the same. An error where the build has none for it.
cudaError_t cuda_code_version(int *version);

// Is the stream still free of failures?
static inline int cuda_ok(struct stream *s)
{
    return ((struct cuda_stream *)s)->failed.code == ERR_NONE;
}

// kernels/cuda_open.h
int cuda_backend_count(struct error *e);
struct backend *cuda_backend_open(int device, struct error *e);

#define CUDA_DECLARE(name) void cuda_##name(struct stream *s, const struct name *a);
BACKEND_OPERATIONS(CUDA_DECLARE)
#undef CUDA_DECLARE

#ifdef __cplusplus
}
#endif

#endif
