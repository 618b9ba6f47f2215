// Doubles as decimals: the same text as printf() makes of them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/decimal.h"

static void check(double v, int digits)
{
    char wanted[64], found[DECIMAL_MAX];
    snprintf(wanted, sizeof wanted, "%.*g", digits, v);
    size_t length = decimal_put(found, v, digits);
    if (strcmp(found, wanted) || length != strlen(wanted))
        fail_msg("%.17g with %d digits: '%s', not '%s'", v, digits, found, wanted);
}

static void check_near(double v)
{
    for (int digits = 1; digits <= 17; digits++) {
        check(v, digits);
        check(-v, digits);
        check(nextafter(v, 0), digits);
        check(nextafter(v, INFINITY), digits);
    }
}

static void test_edges(void **state)
{
    static const double values[] = {0,     NAN,   INFINITY, 5e-324,   1.7976931348623157e308, 0.5, 1.5, 2.5,
                                    0.125, 0.375, 3.14,     123456789};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        check_near(values[i]);
    for (int e = -8; e <= 18; e++) // where the number of digits changes, and halves
        for (int k = 1; k < 200; k++)
            check_near(k * pow(10, e) / 2);
}

static void test_many(void **state)
{
    (void)state;
    srand48(20261126);
    for (int i = 0; i < 300000; i++) {
        double v = (drand48() - 0.3) * pow(10, (int)(lrand48() % 18) - 7);
        check(v, 9);
        check((double)(float)v, 9); // as metrics are
        check(round(v * 1e6) / 1e6, 6);
        check(v, 1 + (int)(lrand48() % 9));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_edges), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
