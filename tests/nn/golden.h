// Golden files and comparisons with them.
#ifndef ISLR_TESTS_NN_GOLDEN_H
#define ISLR_TESTS_NN_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "core/ckpt/safetensors.h"
#include "core/nn/config.h"

struct golden {
    struct safetensors file;
    int failures, checks;
};

void golden_open(struct golden *g, const char *path); // exits with a message if it cannot
const float *golden_values(const struct golden *g, size_t *count, const char *format, ...)
    __attribute__((format(printf, 3, 4))); // NULL: not there
json_t *golden_json(const struct golden *g, const char *key);
struct model_config golden_config(const struct golden *g, const char *key);

// Counts a check, and prints it if it fails: norm(got - want) <= tolerance * norm(want).
void golden_check(struct golden *g, const char *what, const float *got, const float *want, size_t n, double tolerance);
void golden_check_value(struct golden *g, const char *what, double got, double want, double tolerance);
// A tensor against the summary of one: the projections' difference estimates the norm of the difference.
void golden_check_summary(struct golden *g, const char *what, const char *name, const float *got, size_t n,
                          const float *summary, double tolerance);
int golden_finish(struct golden *g); // prints the counts; what main() returns

#endif
