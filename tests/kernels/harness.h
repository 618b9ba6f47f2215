// Tests of operations over any struct backend (kernels/backend.h): nothing but that interface is used, so the same
// test files run on every device. The device is chosen by the environment (tests/kernels/device.h); where it is missing,
// the program says so and exits 77 (skipped).
//
// Every test runs twice, with one thread and with three (on the host model of a card: with blocks and threads in
// ascending and in descending order), and what it read back must be the same bit for bit. After each
// run all device memory is looked at: what the test did not declare writable must be as it was, and so must the guard
// values around every matrix and between its rows. Guards, and outputs before they are written, are NaN in every type,
// so that a value read from outside a matrix or left out shows in the results; under AddressSanitizer reading a guard is
// an error by itself.
#ifndef ISLR_TESTS_KERNELS_HARNESS_H
#define ISLR_TESTS_KERNELS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/backend.h"

struct harness {
    struct backend *backend;
    struct stream *stream;
    int threads;
    int odd; // set by a test: matrices made from now on have odd strides and start at odd elements
    struct harness_buffer *buffers;
    uint64_t digest; // of all that was read back
};

struct kernel_test {
    const char *name;
    void (*body)(struct harness *h);
};
#define KERNEL_TEST(function)                                                                                          \
    {                                                                                                                  \
#function, function                                                                                            \
    }

// Runs the tests, or the one that ISLR_TEST_ONLY names; what main() returns.
int harness_main(const char *group, const struct kernel_test *tests, size_t count);

// The types of activations that the device has: writes at most three, returns how many.
int harness_types(const struct harness *h, enum dtype types[3]);
int harness_has_type(const struct harness *h, enum dtype type);
const char *harness_type_name(enum dtype type);

// Host memory of the test, zeroed, released after it.
void *harness_memory(struct harness *h, size_t count, size_t size);
static inline double *harness_doubles(struct harness *h, size_t count)
{
    return harness_memory(h, count, sizeof(double));
}

// ---- matrices -----------------------------------------------------------------------------------------------------

// A matrix on the device and its values here. Belongs to the test.
struct tensor {
    struct mat mat;
    double *value; // [rows, columns], rounded to the matrix's type: what was put there or last read
};

struct tensor tensor_from(struct harness *h, enum dtype type, int rows, int columns, const double *value); // constant
struct tensor tensor_normal(struct harness *h, enum dtype type, int rows, int columns, uint32_t seed,
                            double scale); // N(0, scale^2), by seed; constant
struct tensor tensor_output(struct harness *h, enum dtype type, int rows, int columns); // NaN, writable
void tensor_writable(struct harness *h, const struct tensor *t); // what was made constant may be written
void tensor_read(struct harness *h, struct tensor *t);           // waits for the stream, fills t->value

// Part of a matrix: `columns` of it from `first`. Its values are not looked at: for operands that are slices.
struct mat tensor_columns(const struct tensor *t, int first, int columns);

// A vector of fp32 is a tensor of one row; this is its data.
static inline float *tensor_floats(const struct tensor *t)
{
    return t->mat.data;
}

int32_t *device_ints(struct harness *h, const int32_t *value, size_t count);
void *device_bytes(struct harness *h, const void *bytes, size_t count); // constant, 64-byte aligned

// Fails unless the tensor, read back, is finite and within `tolerance` of `want`: the norm of the difference relative
// to the norm, and no single element further off than 10*tolerance*(the largest).
void tensor_check(struct harness *h, const char *what, struct tensor *t, const double *want, double tolerance);
void values_check(const char *what, const double *got, const double *want, int rows, int columns, double tolerance);
void tensor_check_equal(struct harness *h, const char *what, struct tensor *t, const double *want); // to the bit

// What rounding once to the type, and some fp32 sums on the way, may cost: the usual tolerance.
double type_tolerance(enum dtype type);
double type_round(enum dtype type, double x);

// ---- references ---------------------------------------------------------------------------------------------------

// gradient[i] = d f / d x[i] by central differences, for every `every`-th i from `first` on; the others are left alone.
void finite_difference(double (*f)(void *context), void *context, double *x, size_t count, size_t first, size_t every,
                       double *gradient);

struct step_scalars *device_scalars(struct harness *h, const struct step_scalars *scalars);

// Factor of element (row, column) under `d`, as backend.h defines it: 0 or 1/(1-p). `step` is that of d->scalars.
double dropout_factor(const struct dropout *d, uint32_t step, int32_t row_id, int column);

double mish(double x);
double mish_derivative(double x);

// ---- rows ---------------------------------------------------------------------------------------------------------

struct test_rows {
    struct rows rows;              // with device pointers
    int32_t *offset, *length, *id; // the same here
};

// held[b] frames of clip b are in the pack (NULL: all, padded rows); length[b] of them are real; then `tail` rows of no
// clip. The clips are number first_clip.. of the whole batch.
struct test_rows test_rows_make(struct harness *h, int clips, int frames, const int32_t *held, const int32_t *length,
                                int tail, int first_clip);

#endif
