// The CUDA backend as a program sees it: a shared object (libislr_cuda.so) that is loaded when a CUDA device is asked for,
// so that programs start on machines that have neither card nor driver nor CUDA.
#ifndef ISLR_KERNELS_CUDA_OPEN_H
#define ISLR_KERNELS_CUDA_OPEN_H

#include "kernels/backend.h"

// How many CUDA devices there are (CUDA_VISIBLE_DEVICES counts): 1 or more; or -1 with `e` saying what is missing:
// the backend, a library that it needs, the driver, a device.
int backend_cuda_count(struct error *e);

// Whether this islr has no CUDA backend: 0, or -1 with `e` filled. Whether the backend can be used, this does not say.
int backend_cuda_missing(struct error *e);

// Opens device 0.. of these; NULL with `e` filled if that cannot be. Environment: ISLR_CUDA_LIBRARY=PATH takes another
// libislr_cuda.so than the one beside the program or installed with it.
struct backend *backend_cuda_open(int device, struct error *e);

// What the shared object exports, under the name cuda_library.
struct cuda_library {
    const char *version; // of the islr that it was built with
    size_t table_size;   // sizeof(struct backend_ops)
    int (*count)(struct error *e);
    struct backend *(*open)(int device, struct error *e);
};

#endif
