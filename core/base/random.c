// Distributions over struct rng: see random.h.
#include "core/base/random.h"

#include <math.h>

double rng_normal(struct rng *r)
{
    double u = 1 - rng_uniform_double(r), v = rng_uniform_double(r); // u in (0,1]: its logarithm is finite
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

double rng_gamma(struct rng *r, double shape)
{
    if (shape < 1) { // Gamma(a) = Gamma(a+1) * U^(1/a)
        double u = 1 - rng_uniform_double(r);
        return rng_gamma(r, shape + 1) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = rng_normal(r), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        double u = 1 - rng_uniform_double(r);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

double rng_beta(struct rng *r, double a, double b)
{
    double x = rng_gamma(r, a), y = rng_gamma(r, b);
    return x + y > 0 ? x / (x + y) : 0.5; // both underflow only for tiny parameters
}

void rng_shuffle(struct rng *r, uint32_t *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = rng_below(r, (uint32_t)i);
        uint32_t t = v[i - 1];
        v[i - 1] = v[j];
        v[j] = t;
    }
}
