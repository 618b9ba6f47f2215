// Computed folds: scikit-learn's partition where the data leave no choice, and the promises of folds.h everywhere.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/data/folds.h"

struct clips {
    struct recording *clips;
    size_t count;
};

static void add_clips(struct clips *c, int64_t participant, int label, int times)
{
    c->clips = xrealloc(c->clips, c->count + (size_t)times + 1, sizeof *c->clips);
    for (int i = 0; i < times; i++)
        c->clips[c->count++] = (struct recording){.participant = participant, .label = label};
}

// ---- against scikit-learn 1.9.1, by folds_golden.py -----------------------------------------------------------------

enum { PARTICIPANTS = 21, SIGNS = 30 };
static const struct {
    int k, fold[PARTICIPANTS];
} golden[] = {{2, {1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1}},
              {4, {0, 3, 0, 1, 2, 0, 3, 1, 2, 2, 0, 1, 3, 0, 3, 3, 1, 2, 1, 0, 2}},
              {5, {0, 0, 0, 1, 3, 4, 2, 1, 3, 3, 1, 4, 4, 4, 3, 0, 3, 2, 2, 0, 1}}};

// Whether two labellings of n things are the same but for the labels' numbers.
static int same_partition(const int *a, const int *b, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if ((a[i] == a[j]) != (b[i] == b[j]))
                return 0;
    return 1;
}

static void test_golden(void **state)
{
    (void)state;
    struct clips c = {0};
    for (int p = 0; p < PARTICIPANTS; p++)
        for (int s = 0; s < SIGNS; s++)
            add_clips(&c, p, s, (p * p * 7 + s * s * 13 + p * s * 5 + 3 * p + s) % (p + 7));
    int *folds = xcalloc(c.count, sizeof *folds);
    for (size_t g = 0; g < sizeof golden / sizeof *golden; g++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            int fold[PARTICIPANTS];
            struct error e;
            assert_int_equal(folds_compute(c.clips, c.count, SIGNS, golden[g].k, seed, folds, &e), 0);
            for (size_t i = 0; i < c.count; i++)
                fold[c.clips[i].participant] = folds[i];
            assert_true(same_partition(fold, golden[g].fold, PARTICIPANTS));
        }
    free(folds);
    free(c.clips);
}

// The example of scikit-learn's documentation. Participants 1, 2, 6, 8 and 4, 7 vary alike: some order of them is the
// one of the documentation, and its partition must come out.
static void test_documented_example(void **state)
{
    (void)state;
    static const int participants[] = {1, 1, 2, 2, 3, 3, 3, 4, 5, 5, 5, 5, 6, 6, 7, 8, 8};
    static const int labels[] = {0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const int documented[] = {1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2, 0, 0, 0, 1, 1};
    struct clips c = {0};
    for (int i = 0; i < 17; i++)
        add_clips(&c, participants[i], labels[i], 1);
    int found = 0, folds[17];
    for (uint64_t seed = 0; seed < 1000 && !found; seed++) {
        struct error e;
        assert_int_equal(folds_compute(c.clips, 17, 2, 3, seed, folds, &e), 0);
        found = same_partition(folds, documented, 17);
    }
    assert_true(found);
    free(c.clips);
}

// ---- properties -----------------------------------------------------------------------------------------------------

static struct clips random_clips(uint64_t seed, int participants, int signs)
{
    struct rng r = rng_make(seed, RNG_BENCH, 0, 0, 0);
    struct clips c = {0};
    for (int p = 0; p < participants; p++)
        for (int s = 0; s < signs; s++)
            add_clips(&c, 1000 - 7 * p, s, (int)rng_below(&r, 12));
    return c;
}

static void check_folds(const struct clips *c, int signs, int k, const int *folds)
{
    int *used = xcalloc((size_t)k, sizeof *used);
    double *counts = xcalloc((size_t)(k * signs), sizeof *counts), *totals = xcalloc((size_t)signs, sizeof *totals);
    for (size_t i = 0; i < c->count; i++) {
        assert_in_range(folds[i], 0, k - 1);
        used[folds[i]]++;
        counts[folds[i] * signs + c->clips[i].label]++;
        totals[c->clips[i].label]++;
        if (i && c->clips[i].participant == c->clips[i - 1].participant)
            assert_int_equal(folds[i], folds[i - 1]);
    }
    for (int f = 0; f < k; f++)
        assert_true(used[f] > 0);
    // Folds of 6 random participants: a sign's share strays from 1/k, but not far.
    double stray = 0;
    for (int f = 0; f < k; f++)
        for (int s = 0; s < signs; s++)
            stray += fabs(counts[f * signs + s] / totals[s] - 1.0 / k) / (k * signs);
    assert_true(stray < 0.06);
    free(used);
    free(counts);
    free(totals);
}

static void test_properties(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct clips c = random_clips(seed, 24, 20);
        int *folds = xcalloc(c.count, sizeof *folds), *again = xcalloc(c.count, sizeof *again);
        struct error e;
        assert_int_equal(folds_compute(c.clips, c.count, 20, 4, seed, folds, &e), 0);
        check_folds(&c, 20, 4, folds);
        assert_int_equal(folds_compute(c.clips, c.count, 20, 4, seed, again, &e), 0);
        assert_memory_equal(folds, again, c.count * sizeof *folds);
        free(folds);
        free(again);
        free(c.clips);
    }
}

static void test_seed_matters_among_equals(void **state)
{
    (void)state;
    struct clips c = {0};
    for (int p = 0; p < 12; p++)
        add_clips(&c, p, 0, 5), add_clips(&c, p, 1, 5);
    int first[120], folds[120], different = 0;
    struct error e;
    assert_int_equal(folds_compute(c.clips, 120, 2, 3, 0, first, &e), 0);
    for (uint64_t seed = 1; seed < 20; seed++) {
        assert_int_equal(folds_compute(c.clips, 120, 2, 3, seed, folds, &e), 0);
        int sizes[3] = {0};
        for (int i = 0; i < 120; i++)
            sizes[folds[i]]++;
        for (int f = 0; f < 3; f++)
            assert_int_equal(sizes[f], 40);
        different += !same_partition(first, folds, 120);
    }
    assert_true(different > 15);
    free(c.clips);
}

static void test_few_participants(void **state)
{
    (void)state;
    struct clips c = {0};
    int folds[6];
    struct error e = {0};
    add_clips(&c, 5, 0, 3), add_clips(&c, 9, 2, 3); // sign 1 has no clips at all
    assert_int_equal(folds_compute(c.clips, 6, 3, 2, 7, folds, &e), 0);
    assert_int_not_equal(folds[0], folds[3]);
    assert_int_equal(folds_compute(c.clips, 6, 3, 3, 7, folds, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "3 folds need at least 3 participants"));
    assert_int_equal(folds_compute(c.clips, 6, 3, 1001, 7, folds, &e), -1);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(folds_compute(c.clips, 6, 3, k, 7, folds, &e), 0);
        assert_int_equal(folds[0], -1);
        assert_int_equal(folds[5], -1);
    }
    free(c.clips);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_documented_example), cmocka_unit_test(test_properties),
        cmocka_unit_test(test_seed_matters_among_equals), cmocka_unit_test(test_few_participants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
