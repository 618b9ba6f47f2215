// Opens the CUDA backend over the host model: see cudahost.h.
#include "kernels/cuda/cuda.h"
#include "tests/cudahost/cudahost.h"

struct backend *backend_cudahost_open(int order, struct error *e)
{
    cudahost_order(order);
    return cuda_backend_open(0, e);
}
