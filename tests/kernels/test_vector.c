// vector.h on one instruction set, to the bit: what is written with intrinsics for some and without for others. Compiled
// for each; vector_main.c runs it where the processor has it.
#include "kernels/cpu/vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/base/philox.h"
#include "tests/kernels/vector_tests.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint32_t draw(uint32_t i)
{
    return philox4x32(1, i, 0, 0, 0).v[0];
}

// Numbers of all kinds: the first ones chosen, the others any bits.
static float any_float(uint32_t i)
{
    static const float chosen[] = {0, -0.0f, 1, -1, 1e-40f, -1e-40f, 3e38f, INFINITY, -INFINITY, NAN, -NAN};
    enum { CHOSEN = sizeof chosen / sizeof *chosen };
    return i < CHOSEN ? chosen[i] : float_of(draw(i));
}

// ---- lanes --------------------------------------------------------------------------------------------------------

enum { FLOATS = 96 };

static void test_min_and_max_take_the_second_where_a_number_is_missing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FLOATS; i++)
        for (uint32_t k = 0; k < FLOATS; k += VLEN) {
            vf b;
            for (uint32_t lane = 0; lane < VLEN; lane++)
                b[lane] = any_float(k + lane);
            vf a = vec_set(0);
            for (int lane = 0; lane < VLEN; lane++)
                a[lane] = any_float(i);
            vf least = vec_min(a, b), most = vec_max(a, b);
            for (int lane = 0; lane < VLEN; lane++) {
                float x = a[lane], y = b[lane];
                assert_int_equal(bits_of(least[lane]), bits_of(x < y ? x : y));
                assert_int_equal(bits_of(most[lane]), bits_of(x > y ? x : y));
            }
        }
}

static void test_sqrt_is_rounded_correctly(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4096; i += VLEN) {
        vf x;
        for (uint32_t lane = 0; lane < VLEN; lane++)
            x[lane] = any_float(i + lane);
        vf root = vec_sqrt(x);
        for (int lane = 0; lane < VLEN; lane++) {
            if (x[lane] >= 0) // of the double's root, rounded: the same
                assert_int_equal(bits_of(root[lane]), bits_of((float)sqrt((double)x[lane])));
            else
                assert_true(isnan(root[lane]));
        }
    }
}

static void test_products_of_64_bits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4096; i += VLEN) {
        uint32_t m = i ? draw(i + 4096) : 0xffffffffu;
        vu x, high, low;
        for (uint32_t lane = 0; lane < VLEN; lane++)
            x[lane] = i ? draw(i + lane) : 0xffffffffu - lane;
        vec_multiply_wide(m, x, &high, &low);
        for (int lane = 0; lane < VLEN; lane++)
            assert_int_equal((uint64_t)high[lane] << 32 | low[lane], (uint64_t)m * x[lane]);
    }
}

// ---- bf16 ---------------------------------------------------------------------------------------------------------

static void test_every_bf16_becomes_its_float(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i += VLEN) {
        vh x;
        for (uint32_t lane = 0; lane < VLEN; lane++)
            x[lane] = (uint16_t)(i + lane);
        vf y = vec_of_bf16(x);
        for (uint32_t lane = 0; lane < VLEN; lane++)
            assert_int_equal(bits_of(y[lane]), (i + lane) << 16);
    }
}

static void test_floats_are_rounded_to_bf16(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i += VLEN) {
        vf x;
        for (uint32_t lane = 0; lane < VLEN; lane++) {
            x[lane] = any_float(i + lane);
            if (i % 1024 == 0) // halfway, to even
                x[lane] = float_of(0x3f808000u + ((i + lane) << 16) % 0x01000000u);
            if (fpclassify(x[lane]) == FP_SUBNORMAL) // v4bf16 takes them for zero
                x[lane] = 0;
        }
        vh y = vec_to_bf16(x);
        for (int lane = 0; lane < VLEN; lane++)
            assert_int_equal(y[lane], bf16_of_float(x[lane]));
    }
}

int vector_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_min_and_max_take_the_second_where_a_number_is_missing),
        cmocka_unit_test(test_sqrt_is_rounded_correctly),
        cmocka_unit_test(test_products_of_64_bits),
        cmocka_unit_test(test_every_bf16_becomes_its_float),
        cmocka_unit_test(test_floats_are_rounded_to_bf16),
    };
    return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
