// Tests of operations over any device: see harness.h. Here: comparison, and what several double references share.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/philox.h"
#include "tests/kernels/harness.h"

// ---- comparison ---------------------------------------------------------------------------------------------------

void values_check(const char *what, const double *got, const double *want, int rows, int columns, double tolerance)
{
    double difference = 0, norm = 0, largest = 0, worst = 0;
    size_t worst_at = 0, count = (size_t)rows * (size_t)columns;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i]))
            fail_msg("%s: element (%zu, %zu) of %dx%d is %g, should be %g", what, i / (size_t)columns,
                     i % (size_t)columns, rows, columns, got[i], want[i]);
        double d = fabs(got[i] - want[i]);
        difference += d * d;
        norm += want[i] * want[i];
        largest = fmax(largest, fabs(want[i]));
        if (d > worst) {
            worst = d;
            worst_at = i;
        }
    }
    if (sqrt(difference) > tolerance * sqrt(norm) || worst > 10 * tolerance * largest)
        fail_msg("%s: off by %.3g of its norm (allowed %.3g); worst element (%zu, %zu) of %dx%d: %.9g, should be %.9g",
                 what, norm > 0 ? sqrt(difference / norm) : INFINITY, tolerance, worst_at / (size_t)columns,
                 worst_at % (size_t)columns, rows, columns, got[worst_at], want[worst_at]);
}

void tensor_check(struct harness *h, const char *what, struct tensor *t, const double *want, double tolerance)
{
    tensor_read(h, t);
    values_check(what, t->value, want, t->mat.rows, t->mat.columns, tolerance);
}

void tensor_check_equal(struct harness *h, const char *what, struct tensor *t, const double *want)
{
    tensor_read(h, t);
    for (int r = 0; r < t->mat.rows; r++)
        for (int c = 0; c < t->mat.columns; c++) {
            size_t i = (size_t)r * (size_t)t->mat.columns + (size_t)c;
            if (!(t->value[i] == want[i]))
                fail_msg("%s: element (%d, %d) is %.9g, should be exactly %.9g", what, r, c, t->value[i], want[i]);
        }
}

// ---- references ---------------------------------------------------------------------------------------------------

void finite_difference(double (*f)(void *context), void *context, double *x, size_t count, size_t first, size_t every,
                       double *gradient)
{
    for (size_t i = first; i < count; i += every) {
        double here = x[i], h = 1e-4 * fmax(1, fabs(here));
        x[i] = here + h;
        double above = f(context);
        x[i] = here - h;
        double below = f(context);
        x[i] = here;
        gradient[i] = (above - below) / (2 * h);
    }
}

double dropout_factor(const struct dropout *d, uint32_t step, int32_t row_id, int column)
{
    if (d->p == 0)
        return 1;
    struct philox_block block =
        philox4x32(d->seed, (uint32_t)column / 8, (uint32_t)row_id, step, (uint32_t)RNG_DROPOUT << 24 | d->site);
    uint32_t word = block.v[column % 8 / 2];
    uint32_t bits = column % 2 ? word >> 16 : word & 0xffff;
    return bits >= (uint32_t)lround((double)d->p * 65536) ? 1 / (1 - (double)d->p) : 0;
}

double mish(double x)
{
    return x * tanh(x > 30 ? x : log1p(exp(x)));
}

double mish_derivative(double x)
{
    double t = tanh(x > 30 ? x : log1p(exp(x)));
    return t + x * (1 - t * t) / (1 + exp(-x));
}

// ---- rows ---------------------------------------------------------------------------------------------------------

struct test_rows test_rows_make(struct harness *h, int clips, int frames, const int32_t *held, const int32_t *length,
                                int tail, int first_clip)
{
    struct test_rows t = {.rows = {.clips = clips, .frames = frames}};
    t.offset = harness_memory(h, (size_t)clips + 1, sizeof *t.offset);
    t.length = harness_memory(h, (size_t)clips, sizeof *t.length);
    for (int b = 0; b < clips; b++) {
        t.offset[b + 1] = t.offset[b] + (held ? held[b] : frames);
        t.length[b] = length[b];
    }
    t.rows.count = t.offset[clips] + tail;
    t.id = harness_memory(h, (size_t)t.rows.count, sizeof *t.id);
    for (int b = 0; b < clips; b++)
        for (int r = t.offset[b]; r < t.offset[b + 1]; r++)
            t.id[r] = (first_clip + b) * frames + r - t.offset[b];
    for (int r = t.offset[clips]; r < t.rows.count; r++)
        t.id[r] = -1;
    t.rows.offset = device_ints(h, t.offset, (size_t)clips + 1);
    t.rows.length = device_ints(h, t.length, (size_t)clips);
    t.rows.id = device_ints(h, t.id, (size_t)t.rows.count);
    return t;
}
