// Dynamic loss scaling: struct update_scale of backend.h. One thread. Being the smallest kernel, it also tells what the
// kernels of this build run as on the device at hand.
#include "kernels/loss_scale.h"
#include "kernels/cuda/kernel.cuh"

__global__ void __launch_bounds__(1) update_scale_kernel(struct update_scale a)
{
    scale_step(&a);
}

void cuda_update_scale(struct stream *s, const struct update_scale *a)
{
    LAUNCH(s, (launch_shape{dim3(1), dim3(1), 0}), update_scale_kernel, *a);
}

cudaError_t cuda_code_version(int *version)
{
    cudaFuncAttributes attributes;
    cudaError_t rc = cudaFuncGetAttributes(&attributes, update_scale_kernel);
    *version = rc ? 0 : attributes.ptxVersion;
    return rc;
}
