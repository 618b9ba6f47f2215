// The deterministic weights and inputs that golden files were computed from: tests/golden/README.md, "The filler".
#ifndef ISLR_TESTS_NN_FILLER_H
#define ISLR_TESTS_NN_FILLER_H

#include <stddef.h>
#include <stdint.h>

#include "core/nn/layout.h"

uint64_t filler_bits(uint64_t name_hash, uint64_t i);
uint64_t filler_hash(const char *name);
float filler_symmetric(uint64_t name_hash, uint64_t i, double scale, double center);

// Parameters and buffers of a model with tag `tag`, in the layout's order.
void filler_weights(const struct layout *l, const char *tag, float *parameters, float *buffers);

// Inputs of tag `tag`: x [clips, frames, 100, 3], zero behind lengths.
void filler_clips(const char *tag, int clips, int frames, const int32_t *length, float *x);
void filler_lengths(const char *tag, int clips, int max_len, int32_t *length);
void filler_labels(const char *tag, int clips, int classes, int32_t *label);
void filler_teacher(const char *tag, int clips, int classes, float *logits);
void filler_mixup(const char *tag, int clips, int groups, int32_t *partner, float *coefficient);

// [norm, 8 projections, up to 32 samples] of a tensor; returns how many.
int filler_summary(const char *name, const float *v, size_t n, double out[41]);

#endif
