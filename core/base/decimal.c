// Doubles as decimals: see decimal.h. A number of ordinary size is scaled to an integer of as many digits as are wanted and
// rounded; where that comes so close to a half that the scaling's own rounding could decide, printf() does it.
#include "core/base/decimal.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FAST_DIGITS = 9, LEAST_EXPONENT = -4, SCALE_MAX = FAST_DIGITS - 1 - LEAST_EXPONENT };

// Exact up to 10^22.
static const double power[SCALE_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

// The decimal exponent; next to a power of ten it may be the one above, which rounding makes up for.
static int exponent_of(double a)
{
    int e = LEAST_EXPONENT;
    while (e < 0 && a * power[-e - 1] >= 1) // 10^(e + 1) <= a
        e++;
    while (e >= 0 && a >= power[e + 1])
        e++;
    return e;
}

// The digits of n, the first one of the weight 10^e, without zeros behind the point.
static size_t put_digits(char *out, uint64_t n, int e)
{
    char digits[24], *at = digits + sizeof digits, *end = at, *begin = out;
    while (n) {
        *--at = (char)('0' + n % 10);
        n /= 10;
    }
    if (e < 0) {
        memcpy(out, "0.0000", 6);
        out += 1 - e;
    }
    for (int weight = e; at < end; weight--) {
        *out++ = *at++;
        if (weight == 0)
            *out++ = '.';
    }
    while (out[-1] == '0') // there is a point: the integers of fewer digits are filled up to it
        out--;
    if (out[-1] == '.')
        out--;
    *out = 0;
    return (size_t)(out - begin);
}

static size_t put_slowly(char *out, double v, int digits)
{
    return (size_t)snprintf(out, DECIMAL_MAX, "%.*g", digits, v);
}

size_t decimal_put(char out[DECIMAL_MAX], double v, int digits)
{
    double a = fabs(v);
    if (digits < 1 || digits > FAST_DIGITS || !(a >= 1e-4 && a < power[digits]))
        return put_slowly(out, v, digits);
    int e = exponent_of(a);
    long double scaled =
        (long double)a * (long double)power[digits - 1 - e]; // off by 2^-23 at most, with 53 bits alone
    uint64_t n = (uint64_t)scaled;
    double rest = (double)(scaled - (long double)n);
    if (fabs(rest - 0.5) < 1e-6)
        return put_slowly(out, v, digits);
    n += rest > 0.5;
    if (n >= (uint64_t)power[digits]) { // 9.99.. has become 10
        n /= 10;
        e++;
    }
    if (e >= digits || n < (uint64_t)power[digits - 1])
        return put_slowly(out, v, digits);
    size_t sign = v < 0;
    *out = '-';
    return sign + put_digits(out + sign, n, e);
}
