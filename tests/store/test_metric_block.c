// Blocks of metric records: nothing is lost, and any bytes that are no block are refused.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/philox.h"
#include "core/store/metric_block.h"

static const uint32_t train_names[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 300}, eval_names[] = {12, 13};

// A run's records: steps with floats, doubles and constants, evaluations between them, a second attempt that goes back.
static void make(struct metric_record *records, double *values, size_t count)
{
    struct rng rng = rng_make(7, RNG_BENCH, 0, 0, 0);
    for (size_t i = 0; i < count; i++) {
        int evaluation = i % 50 == 49;
        struct metric_record *r = &records[i];
        *r = (struct metric_record){.seq = 10 + 2 * i + i / 7,
                                    .time_ms = 1700000000000 + (int64_t)(i * 37) - (i % 5 == 0 ? 100 : 0),
                                    .attempt = i < count / 2 ? 1 : 2,
                                    .step = i < count / 2 ? i : i - count / 4,
                                    .epoch = (double)i / 369,
                                    .evaluation = evaluation,
                                    .count = evaluation ? 2 : 12,
                                    .names = evaluation ? eval_names : train_names,
                                    .values = values};
        for (uint32_t k = 0; k < r->count; k++)
            values[k] = k == 1 ? 3e-4 : k == 2 ? rng_uniform_double(&rng) : (double)rng_uniform(&rng);
        values += r->count;
    }
}

static void check_same(const struct metric_record *records, size_t count, const struct metric_block *b)
{
    assert_int_equal(b->count, count);
    for (size_t i = 0; i < count; i++) {
        const struct metric_record *x = &records[i], *y = &b->records[i];
        assert_int_equal(x->seq, y->seq);
        assert_int_equal(x->time_ms, y->time_ms);
        assert_int_equal(x->attempt, y->attempt);
        assert_int_equal(x->step, y->step);
        assert_int_equal(x->evaluation, y->evaluation);
        assert_int_equal(x->count, y->count);
        assert_memory_equal(&x->epoch, &y->epoch, sizeof x->epoch);
        if (x->count) {
            assert_memory_equal(x->names, y->names, x->count * sizeof *x->names);
            assert_memory_equal(x->values, y->values, x->count * sizeof *x->values);
        }
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 51, 1000, METRIC_BLOCK_RECORDS};
    struct metric_record *records = malloc(METRIC_BLOCK_RECORDS * sizeof *records);
    double *values = malloc(METRIC_BLOCK_RECORDS * 12 * sizeof *values);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct metric_block b;
        struct error e;
        size_t size;
        make(records, values, counts[i]);
        uint8_t *blob = metric_block_encode(records, counts[i], &size);
        assert_int_equal(metric_block_decode(blob, size, &b, &e), 0);
        check_same(records, counts[i], &b);
        metric_block_free(&b);
        // a full block of noise, the hardest to pack, costs about 4 bytes a float and nothing for constants
        if (counts[i] == METRIC_BLOCK_RECORDS)
            assert_in_range(size, 1, METRIC_BLOCK_RECORDS * (10 * 4 + 8 + 6));
        free(blob);
    }
    free(values);
    free(records);
}

static void test_odd_values(void **state)
{
    (void)state;
    static const uint32_t names[] = {0, UINT32_MAX};
    double values[] = {NAN, -INFINITY, -0.0, 5e-324, 1e308, INFINITY};
    uint64_t payload = 0x7ff8dead00000001;
    memcpy(&values[0], &payload, sizeof payload); // a NaN that no float can hold
    struct metric_record records[] = {
        {.seq = 1,
         .time_ms = INT64_MIN,
         .step = UINT64_MAX,
         .epoch = NAN,
         .count = 2,
         .names = names,
         .values = values},
        {.seq = UINT64_MAX / 2, .time_ms = INT64_MAX, .step = 0, .count = 2, .names = names, .values = values + 2},
        {.seq = UINT64_MAX, .attempt = UINT32_MAX, .count = 2, .names = names, .values = values + 4},
    };
    struct metric_block b;
    size_t size;
    uint8_t *blob = metric_block_encode(records, 3, &size);
    assert_int_equal(metric_block_decode(blob, size, &b, NULL), 0);
    check_same(records, 3, &b);
    metric_block_free(&b);
    free(blob);
}

// Every cut and every changed byte of a small block either is refused or gives some block; nothing crashes or leaks.
static void test_damage(void **state)
{
    (void)state;
    struct metric_record records[60];
    double values[60 * 12];
    struct metric_block b;
    struct error e;
    size_t size;
    make(records, values, 60);
    uint8_t *blob = metric_block_encode(records, 60, &size), *bad = malloc(size);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(metric_block_decode(blob, cut, &b, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    for (size_t at = 0; at < size; at++) {
        memcpy(bad, blob, size);
        bad[at] ^= (uint8_t)(1u << at % 8);
        if (!metric_block_decode(bad, size, &b, NULL))
            metric_block_free(&b);
    }
    free(bad);
    free(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_odd_values),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
