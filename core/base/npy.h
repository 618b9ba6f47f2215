// NumPy's .npy files (format 1.0), C order, little-endian.
#ifndef ISLR_BASE_NPY_H
#define ISLR_BASE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

// Writes float32 data of the given shape atomically.
int npy_write_f32(const char *path, const float *data, int dims, const int64_t *shape, struct error *e);

// Reads a float32 array of at most 8 dimensions; *data is malloc'ed.
int npy_read_f32(const char *path, float **data, int *dims, int64_t shape[8], struct error *e);

#endif
