// Manifold mixup: how often a group mixes, with whom, how much, before which encoder; that it depends on the seed, the
// step and the group's place alone. Bounds on shares are five standard deviations.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/train/mixup.h"

enum { GROUP = 16, GROUPS = 8, CLIPS = GROUP * GROUPS, STEPS = 400, EPOCHS = 100 };

static void test_probability(void **state)
{
    (void)state;
    Islr__Mixup m = ISLR__MIXUP__INIT;
    assert_true(fabs(mixup_probability(&m, 9, 100) - 0.05) < 1e-12);
    assert_true(fabs(mixup_probability(&m, 90, 100) - 0.5) < 1e-12);
    assert_true(fabs(mixup_probability(&m, 100, 100) - 0.5 / 0.9) < 1e-12);
    m.ramp = ISLR__MIXUP__RAMP__RAMP_FALLING;
    assert_true(fabs(mixup_probability(&m, 9, 100) - 0.45) < 1e-12);
    assert_true(mixup_probability(&m, 90, 100) < 1e-12);
    assert_true(mixup_probability(&m, 100, 100) == 0);
    m.ramp = ISLR__MIXUP__RAMP__RAMP_RISING;
    m.p = 1;
    assert_true(mixup_probability(&m, 100, 100) == 1);
    m.p = 0;
    assert_true(mixup_probability(&m, 100, 100) == 0);
}

static void check_share(const char *what, int count, int of, double p)
{
    double share = (double)count / of, bound = 5 * sqrt(p * (1 - p) / of);
    if (!(of > 500 && fabs(share - p) <= bound))
        fail_msg("%s: %d of %d, a share of %.4f where %.4f +- %.4f is due", what, count, of, share, p, bound);
}

// The group's clips, from `first`, are its partners, each once.
static void check_permutation(const struct mixup_plan *p, int first)
{
    int seen[GROUP] = {0};
    for (int b = first; b < first + GROUP; b++) {
        assert_in_range(p->partner[b], first, first + GROUP - 1);
        seen[p->partner[b] - first]++;
    }
    for (int i = 0; i < GROUP; i++)
        assert_int_equal(seen[i], 1);
}

struct counts {
    int mixed, moved, layer[MIXUP_MODELS][3], same_layer;
    double sum, square; // of coefficients
};

static void count_group(struct counts *n, const struct mixup_plan *p, int first)
{
    int mixes = p->layer[0][first] >= 0;
    for (int b = first; b < first + GROUP; b++) {
        assert_true(p->coefficient[b] >= 0 && p->coefficient[b] <= 1);
        for (int m = 0; m < MIXUP_MODELS; m++)
            assert_int_equal(p->layer[m][b], p->layer[m][first]);
        if (!mixes)
            assert_true(p->partner[b] == b && p->coefficient[b] == 1 && p->layer[1][b] == -1 && p->layer[2][b] == -1);
        n->moved += p->partner[b] != b;
        n->sum += mixes ? (double)p->coefficient[b] : 0;
        n->square += mixes ? pow((double)p->coefficient[b] - 0.5, 2) : 0;
    }
    n->mixed += mixes;
    for (int m = 0; m < MIXUP_MODELS && mixes; m++)
        n->layer[m][p->layer[m][first]]++;
    n->same_layer += mixes && p->layer[0][first] == p->layer[1][first];
}

static void test_statistics(void **state)
{
    (void)state;
    Islr__Mixup m = ISLR__MIXUP__INIT;
    struct mixup_plan p;
    struct counts n = {0};
    mixup_plan_create(&p, CLIPS);
    for (uint32_t step = 1; step <= STEPS; step++) {
        mixup_draw(&p, &m, 3, step, 72, EPOCHS, 0, GROUP);
        int before = n.mixed;
        for (int g = 0; g < GROUPS; g++) {
            check_permutation(&p, g * GROUP);
            count_group(&n, &p, g * GROUP);
        }
        assert_int_equal(p.any, n.mixed > before);
    }
    int clips = n.mixed * GROUP;
    check_share("groups that mix", n.mixed, STEPS * GROUPS, 0.4);
    check_share("clips with another partner", n.moved, clips, 1 - 1.0 / GROUP);
    check_share("two models before the same encoder", n.same_layer, n.mixed, 1.0 / 3);
    for (int model = 0; model < MIXUP_MODELS; model++)
        for (int layer = 0; layer < 3; layer++)
            check_share("encoder", n.layer[model][layer], n.mixed, 1.0 / 3);
    double variance = 1 / (4 * (2 * 0.4 + 1)); // of Beta(.4, .4)
    assert_true(fabs(n.sum / clips - 0.5) < 5 * sqrt(variance / clips));
    assert_true(fabs(n.square / clips / variance - 1) < 0.05);
    mixup_plan_destroy(&p);
}

// What one rank draws for all groups is what two ranks draw for half of them each.
static void test_ranks_agree(void **state)
{
    (void)state;
    Islr__Mixup m = ISLR__MIXUP__INIT;
    struct mixup_plan all, part;
    int mixed = 0;
    mixup_plan_create(&all, CLIPS);
    mixup_plan_create(&part, CLIPS / 2);
    for (uint32_t step = 1; step <= 20; step++) {
        mixup_draw(&all, &m, 3, step, 90, EPOCHS, 0, GROUP);
        for (int rank = 0; rank < 2; rank++) {
            int first = rank * CLIPS / 2;
            mixup_draw(&part, &m, 3, step, 90, EPOCHS, rank * GROUPS / 2, GROUP);
            for (int b = 0; b < CLIPS / 2; b++) {
                assert_int_equal(part.partner[b] + first, all.partner[first + b]);
                assert_true(part.coefficient[b] == all.coefficient[first + b]);
                for (int model = 0; model < MIXUP_MODELS; model++)
                    assert_int_equal(part.layer[model][b], all.layer[model][first + b]);
                mixed += part.layer[0][b] >= 0;
            }
        }
    }
    assert_true(mixed > 0);
    mixup_plan_destroy(&all);
    mixup_plan_destroy(&part);
}

static int differ(const struct mixup_plan *a, const struct mixup_plan *b)
{
    return memcmp(a->coefficient, b->coefficient, (size_t)a->clips * sizeof *a->coefficient) != 0 &&
           memcmp(a->partner, b->partner, (size_t)a->clips * sizeof *a->partner) != 0;
}

static void test_dependence(void **state)
{
    (void)state;
    Islr__Mixup m = ISLR__MIXUP__INIT;
    struct mixup_plan a, b;
    m.p = 1;
    mixup_plan_create(&a, GROUP);
    mixup_plan_create(&b, GROUP);
    mixup_draw(&a, &m, 3, 5, 90, EPOCHS, 2, GROUP);
    mixup_draw(&b, &m, 3, 6, 90, EPOCHS, 2, GROUP);
    assert_true(differ(&a, &b)); // another step
    mixup_draw(&b, &m, 4, 5, 90, EPOCHS, 2, GROUP);
    assert_true(differ(&a, &b)); // another seed
    mixup_draw(&b, &m, 3, 5, 90, EPOCHS, 3, GROUP);
    assert_true(differ(&a, &b)); // another group
    mixup_draw(&b, &m, 3, 5, 180, 2 * EPOCHS, 2, GROUP);
    assert_false(differ(&a, &b)); // the epoch counts through the probability alone
    mixup_plan_destroy(&a);
    mixup_plan_destroy(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probability),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_ranks_agree),
        cmocka_unit_test(test_dependence),
    };
    return cmocka_run_group_tests_name("mixup", tests, NULL, NULL);
}
