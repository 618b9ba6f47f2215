// The device that a test runs on: see device.h.
#include "tests/kernels/device.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda_open.h"

struct backend *test_device_open(int threads, struct error *e)
{
    const char *device = getenv("ISLR_TEST_DEVICE");
    if (!device || !*device || !strcmp(device, "cpu"))
        return backend_cpu_open(threads, e);
    if (!strcmp(device, "cuda")) {
        setenv("CUDAHOST_ORDER", threads == 1 ? "ascending" : "descending", 1);
        return backend_cuda_open(0, e);
    }
    error_set(e, ERR_INVALID, "ISLR_TEST_DEVICE=%s: no such device (cpu, cuda)", device);
    return NULL;
}
