// The tests of vector.h, compiled for one instruction set (test_vector.c).
#ifndef ISLR_TESTS_KERNELS_VECTOR_TESTS_H
#define ISLR_TESTS_KERNELS_VECTOR_TESTS_H

int vector_tests(void); // what main() returns

#endif
