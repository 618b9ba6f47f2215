// What the shared object exports: kernels/cuda_open.h.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda_open.h"

extern const struct cuda_library cuda_library;

__attribute__((visibility("default"))) const struct cuda_library cuda_library = {
    .version = ISLR_VERSION,
    .table_size = sizeof(struct backend_ops),
    .count = cuda_backend_count,
    .open = cuda_backend_open,
};
