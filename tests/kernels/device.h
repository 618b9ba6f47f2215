// The device that a test runs on, chosen by the environment: ISLR_TEST_DEVICE=cpu (the default; its instruction set by
// ISLR_CPU_ISA) or cuda (the card; or the host model of one, tests/cudahost, where ISLR_CUDA_LIBRARY names that).
#ifndef ISLR_TESTS_KERNELS_DEVICE_H
#define ISLR_TESTS_KERNELS_DEVICE_H

#include "kernels/backend.h"

// threads: of the CPU; 0: all. On the host model blocks and threads run in ascending order with 1, else in descending.
// NULL with `e` filled where there is no such device.
struct backend *test_device_open(int threads, struct error *e);

#endif
