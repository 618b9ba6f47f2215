// Distributions over struct rng (philox.h), host only.
#ifndef ISLR_BASE_RANDOM_H
#define ISLR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/philox.h"

double rng_normal(struct rng *r);                       // N(0,1), Box-Muller
double rng_gamma(struct rng *r, double shape);          // Gamma(shape, 1), shape > 0 (Marsaglia and Tsang 2000)
double rng_beta(struct rng *r, double a, double b);     // Beta(a, b) from two Gammas; a, b > 0
void rng_shuffle(struct rng *r, uint32_t *v, size_t n); // Fisher-Yates, in place

#endif
