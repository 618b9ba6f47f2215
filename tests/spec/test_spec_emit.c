// Numbers of a job's canonical form: read back they are the same, and they are the shortest that %g makes of them, since
// jobs' hashes must not change with the way they are put down.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/philox.h"
#include "core/spec/emit.h"

static void check(double v)
{
    struct strbuf b = {0};
    char wanted[40] = "0";
    for (int digits = 15; digits <= 17 && v != 0; digits++) {
        snprintf(wanted, sizeof wanted, "%.*g", digits, v);
        if (strtod(wanted, NULL) == v)
            break;
    }
    emit_double(&b, v);
    assert_string_equal(b.text, wanted);
    free(b.text);
}

static void test_double(void **state)
{
    (void)state;
    static const double some[] = {
        0,      -0.0,   1,        -1,       10,        100,     0.5,      0.3,       0.1,  -0.05,   1e-4,
        9.9e-5, 1e-6,   3e-4,     0.97,     123456.75, 999999,  999999.5, 1000000,   1e12, 1e15,    1e16,
        1e300,  1e-300, 0.000001, 1.000001, 1.0000001, 1.0 / 3, 2e6,      0.1 + 0.2, 4096, 1048576, 9007199254740993.0};
    struct rng rng = rng_make(1, RNG_BENCH, 0, 0, 0);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        check(some[i]);
    for (int i = 0; i < 200000; i++) {
        double v = rng_uniform_double(&rng) * 2000 - 1000;
        check(v);
        check((double)(int)(v * 1000) / 1000);
        check((double)(int)(v * 1000) / 1e6);
        check((double)(int)(v * 1000) / 1e8);
        check((double)(int)(v * 1e6) * 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_double)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
