// The host model as a shared object that kernels/cuda_open.c loads in place of libislr_cuda.so.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda_open.h"
#include "tests/cudahost/cudahost.h"

extern const struct cuda_library cuda_library;

static struct backend *open_model(int device, struct error *e)
{
    return cudahost_configure(e) ? NULL : cuda_backend_open(device, e);
}

static int count_devices(struct error *e)
{
    return cudahost_configure(e) ? -1 : cuda_backend_count(e);
}

__attribute__((visibility("default"))) const struct cuda_library cuda_library = {
    .version = ISLR_VERSION,
    .table_size = sizeof(struct backend_ops),
    .count = count_devices,
    .open = open_model,
};
