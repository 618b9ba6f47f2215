// Golden files (tests/golden/README.md) for tests over the harness; a file that lacks what a test asks for fails it.
#ifndef ISLR_TESTS_KERNELS_GOLDEN_FILE_H
#define ISLR_TESTS_KERNELS_GOLDEN_FILE_H

#include <stddef.h>

#include <jansson.h>

struct golden_file;

struct golden_file *golden_file_open(const char *name); // tests/golden/<name>.safetensors
void golden_file_close(struct golden_file *f);

// Values of a tensor; they live until the file is closed. *count: how many.
const float *golden_file_values(const struct golden_file *f, size_t *count, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The metadata's keys in order (NULL behind the last), and the value of one, read as JSON; json_decref() it.
const char *golden_file_key(const struct golden_file *f, size_t i);
json_t *golden_file_json(const struct golden_file *f, const char *key);

#endif
