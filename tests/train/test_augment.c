// What is drawn for a view: how often, in which range, on what it depends. Seeds are fixed; bounds on shares are five
// standard deviations. What the plans do to a clip: test_views.c.
#include <math.h>
#include <string.h>

#include "tests/train/augment_fixture.h"

enum { VIEWS = 3 };

// ---- shares and ranges --------------------------------------------------------------------------------------------

// Counts of plans over all clips of an epoch range and all views.
struct counts {
    int plans, long_plans; // long: of clips that may be cropped
    int face, face_possible, fill, interpolate, flip, rotate, crop, crop_start, scale_one, scale_any;
    double angle_sum, angle_square, angle_most; // degrees
    int cut[8];
    double factor_least, factor_most;
};

static int has_equal_factors(const struct augment_plan *p)
{
    return p->factor[0] == p->factor[1] && p->factor[1] == p->factor[2];
}

static void count_plan(struct counts *n, const struct fixture *f, const struct augment_plan *p)
{
    const struct set_clip *c = set_clip(f->set, (size_t)p->clip);
    double angle = atan2((double)p->sine, (double)p->cosine) * 180 / M_PI;
    int rotated = p->cosine != 1, scaled = !(has_equal_factors(p) && p->factor[0] == 1);
    n->plans++;
    n->face += p->partner >= 0;
    n->face_possible += c->label < SMALL_SIGNS - 1;
    n->fill += (p->flags & AUGMENT_FILL_HAND) != 0;
    n->interpolate += (p->flags & AUGMENT_INTERPOLATE) != 0;
    n->flip += (p->flags & AUGMENT_FLIP) != 0;
    n->rotate += rotated;
    n->angle_sum += angle;
    n->angle_square += angle * angle;
    n->angle_most = fmax(n->angle_most, fabs(angle));
    n->scale_any += scaled;
    n->scale_one += scaled && has_equal_factors(p);
    for (int i = 0; i < 3 && scaled; i++) {
        n->factor_least = fmin(n->factor_least, (double)p->factor[i]);
        n->factor_most = fmax(n->factor_most, (double)p->factor[i]);
    }
    n->long_plans += c->frames >= 20;
    if (p->count == c->frames)
        return;
    int cut = c->frames - p->count;
    assert_true(c->frames >= 20 && cut >= 1 && cut <= c->frames / 5 - 1);
    assert_true(p->first == 0 || p->first == cut);
    n->crop++;
    n->crop_start += p->first > 0;
    if (c->frames == 25)
        n->cut[cut]++;
}

static struct counts count_plans(const struct fixture *f, struct settings s, uint32_t first_epoch, uint32_t last_epoch)
{
    struct counts n = {.factor_least = 10};
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct augmenter *a = fixture_augmenter(f, &s, seed);
        for (uint32_t epoch = first_epoch; epoch <= last_epoch; epoch++)
            for (uint32_t view = 0; view < VIEWS; view++)
                for (uint32_t i = 0; i < f->count; i++) {
                    struct augment_plan p = augmenter_draw(a, f->clips[i], view, epoch);
                    count_plan(&n, f, &p);
                }
        augmenter_destroy(a);
    }
    return n;
}

static void check_share(const char *what, int count, int of, double p)
{
    double share = (double)count / of, bound = 5 * sqrt(p * (1 - p) / of);
    if (!(of > 500 && fabs(share - p) <= bound))
        fail_msg("%s: %d of %d, a share of %.4f where %.4f +- %.4f is due", what, count, of, share, p, bound);
}

static void check_angles(const struct counts *n, double degrees)
{
    double deviation = degrees / sqrt(3); // of a uniform distribution
    assert_true(n->angle_most <= degrees + 1e-4 && n->angle_most > 0.98 * degrees);
    assert_true(fabs(n->angle_sum / n->rotate) < 5 * deviation / sqrt(n->rotate));
    assert_true(fabs(sqrt(n->angle_square / n->rotate) / deviation - 1) < 0.05);
}

static void check_common(const struct counts *n, int first_half)
{
    check_share("face cutmix", n->face, n->face_possible, first_half ? 0.25 : 0);
    check_share("fill hand", n->fill, n->plans, first_half ? 0.25 : 0);
    check_share("interpolate", n->interpolate, n->plans, 0.5);
    check_share("flip", n->flip, n->plans, 0.5);
    check_share("rotate", n->rotate, n->plans, 0.5);
    check_share("crop at the start", n->crop_start, n->crop, 0.5);
    int cuts = n->cut[1] + n->cut[2] + n->cut[3] + n->cut[4];
    for (int cut = 1; cut <= 4; cut++)
        check_share("frames cut off 25", n->cut[cut], cuts, 0.25);
}

static void test_doc(void **state)
{
    const struct fixture *f = *state;
    for (int first_half = 0; first_half < 2; first_half++) {
        struct counts n = count_plans(f, doc_settings(), first_half ? 1 : 50, first_half ? 49 : 100);
        check_common(&n, first_half);
        check_share("crop", n.crop, n.long_plans, 0.5);
        check_share("scale or distortion", n.scale_any, n.plans, 0.75);
        check_share("scale alone", n.scale_one, n.plans, 0.25);
        check_angles(&n, 60);
        assert_true(n.factor_least >= 0.49 && n.factor_least < 0.55);
        assert_true(n.factor_most <= 1.69 && n.factor_most > 1.6);
    }
}

static void test_code(void **state)
{
    const struct fixture *f = *state;
    for (int first_half = 0; first_half < 2; first_half++) {
        struct counts n = count_plans(f, code_settings(), first_half ? 1 : 50, first_half ? 49 : 100);
        n.face_possible = n.plans; // a sign's only signer gives faces too
        check_common(&n, first_half);
        check_share("crop", n.crop, n.long_plans, first_half ? 0.5 : 0.25);
        check_share("scale", n.scale_any, n.plans, 0.25);
        check_share("scale alone", n.scale_one, n.scale_any, 0.75);
        check_angles(&n, 30);
        assert_true(n.factor_least >= 0.7 && n.factor_least < 0.72); // s alone
        assert_true(n.factor_most <= 2.6 && n.factor_most > 2.4);    // s + d
    }
}

static void test_nothing(void **state)
{
    const struct fixture *f = *state;
    struct settings s = no_settings();
    struct augmenter *a = fixture_augmenter(f, &s, 1);
    for (uint32_t i = 0; i < f->count; i++) {
        struct augment_plan p = augmenter_draw(a, i, i % 3, 1 + i), plain = {.clip = (int32_t)i,
                                                                             .partner = -1,
                                                                             .count = set_clip(f->set, i)->frames,
                                                                             .cosine = 1,
                                                                             .factor = {1, 1, 1}};
        assert_memory_equal(&p, &plain, sizeof p);
    }
    augmenter_destroy(a);
}

static void test_first_half(void **state)
{
    (void)state;
    assert_int_equal(augment_first_half(0.5, 100), 49);
    assert_int_equal(augment_first_half(0.5, 101), 49);
    assert_int_equal(augment_first_half(0.5, 300), 49);
    assert_int_equal(augment_first_half(0.5, 15), 6);
    assert_int_equal(augment_first_half(0.5, 2), 0);
    assert_int_equal(augment_first_half(0.5, 1), 0);
    assert_int_equal(augment_first_half(0, 100), 0);
    assert_int_equal(augment_first_half(0.29, 100), 28);
    assert_int_equal(augment_first_half(1, 100), 99);
}

// The last epoch of the first half, and the one after it.
static void test_schedule(void **state)
{
    const struct fixture *f = *state;
    struct settings s = no_settings();
    s.face.p = s.fill.p = s.crop.p = 1;
    s.crop.p_late = 0;
    struct augmenter *a = fixture_augmenter(f, &s, 1);
    for (uint32_t epoch = 49; epoch <= 50; epoch++) {
        struct augment_plan p = augmenter_draw(a, 0, 0, epoch);
        assert_int_equal(p.partner >= 0, epoch == 49);
        assert_int_equal((p.flags & AUGMENT_FILL_HAND) != 0, epoch == 49);
        assert_int_equal(p.count < set_clip(f->set, 0)->frames, epoch == 49);
    }
    augmenter_destroy(a);
}

// ---- partners -----------------------------------------------------------------------------------------------------

// Draws with face cutmix sure: how often each clip was the partner of `clip`.
static void count_partners(const struct fixture *f, int any_signer, uint32_t clip, int draws, int *partners)
{
    struct settings s = no_settings();
    s.face.p = s.face.until = 1;
    s.face.any_signer = any_signer;
    memset(partners, 0, CLIPS_MAX * sizeof *partners);
    for (int seed = 0; seed < draws; seed++) {
        struct augmenter *a = fixture_augmenter(f, &s, (uint64_t)seed);
        struct augment_plan p = augmenter_draw(a, clip, 0, 1);
        augmenter_destroy(a);
        if (p.partner < 0)
            continue;
        partners[p.partner]++;
        int other_hand = set_clip(f->set, clip)->left_handed != set_clip(f->set, (size_t)p.partner)->left_handed;
        assert_int_equal((p.flags & AUGMENT_PARTNER_FLIP) != 0, other_hand);
    }
}

// May `other` give its face to `clip`?
static int is_candidate(const struct fixture *f, int any_signer, uint32_t clip, uint32_t other)
{
    const struct set_clip *a = set_clip(f->set, clip), *b = set_clip(f->set, other);
    int trained = 0;
    for (uint32_t i = 0; i < f->count; i++)
        trained |= f->clips[i] == other;
    return trained && a->label == b->label && (any_signer || a->participant != b->participant);
}

static void check_partners(const struct fixture *f, int any_signer, uint32_t clip)
{
    enum { DRAWS = 3000 };
    int partners[CLIPS_MAX], candidates = 0;
    count_partners(f, any_signer, clip, DRAWS, partners);
    for (uint32_t i = 0; i < set_count(f->set); i++)
        candidates += is_candidate(f, any_signer, clip, i);
    for (uint32_t i = 0; i < set_count(f->set); i++)
        check_share("partner", partners[i], DRAWS, is_candidate(f, any_signer, clip, i) ? 1.0 / candidates : 0);
}

static void test_partners(void **state)
{
    const struct fixture *f = *state;
    for (int any_signer = 0; any_signer < 2; any_signer++)
        for (uint32_t clip = 0; clip < f->count; clip += 7)
            check_partners(f, any_signer, clip);
}

// Clips that are held out give no faces; the order of the training clips does not matter.
static void test_partners_of_training_clips(void **state)
{
    struct fixture f = *(const struct fixture *)*state;
    f.count = 0;
    for (uint32_t i = (uint32_t)set_count(f.set); i-- > 0;)
        if (set_clip(f.set, i)->participant != 102 && i % 4)
            f.clips[f.count++] = i;
    check_partners(&f, 0, f.clips[f.count - 1]);
    check_partners(&f, 1, f.clips[3]);
}

static void test_only_signer(void **state)
{
    const struct fixture *f = *state;
    int partners[CLIPS_MAX], found = 0;
    count_partners(f, 0, f->count - 1, 100, partners);
    for (int i = 0; i < CLIPS_MAX; i++)
        found += partners[i];
    assert_int_equal(found, 0);
}

// ---- what a draw depends on ---------------------------------------------------------------------------------------

// How many of the plans of some clips and epochs differ between two ways to draw them.
static int differing(struct augmenter *a, uint32_t view_a, uint32_t epoch_a, struct augmenter *b, uint32_t view_b,
                     uint32_t epoch_b, uint32_t clips)
{
    int n = 0;
    for (uint32_t clip = 0; clip < clips; clip++) {
        struct augment_plan p = augmenter_draw(a, clip, view_a, epoch_a), q = augmenter_draw(b, clip, view_b, epoch_b);
        n += memcmp(&p, &q, sizeof p) != 0;
    }
    return n;
}

static void test_dependence(void **state)
{
    const struct fixture *f = *state;
    struct settings s = doc_settings();
    struct augmenter *a = fixture_augmenter(f, &s, 5), *same = fixture_augmenter(f, &s, 5),
                     *other_seed = fixture_augmenter(f, &s, 6);
    int most = (int)f->count * 3 / 4;
    assert_int_equal(differing(a, 1, 7, same, 1, 7, f->count), 0);
    assert_int_equal(differing(a, 1, 7, a, 1, 7, f->count), 0);
    assert_true(differing(a, 1, 7, other_seed, 1, 7, f->count) > most);
    assert_true(differing(a, 1, 7, a, 2, 7, f->count) > most);
    assert_true(differing(a, 1, 7, a, 1, 8, f->count) > most);
    int equal = 0; // plans of different clips
    for (uint32_t clip = 1; clip < f->count; clip++) {
        struct augment_plan p = augmenter_draw(a, 0, 0, 1), q = augmenter_draw(a, clip, 0, 1);
        equal += p.flags == q.flags && p.factor[0] == q.factor[0] && p.cosine == q.cosine;
    }
    assert_true(equal < (int)f->count / 4);
    augmenter_destroy(a);
    augmenter_destroy(same);
    augmenter_destroy(other_seed);
}

// Turning one augmentation off leaves the others' draws as they were.
static void test_settings_apart(void **state)
{
    const struct fixture *f = *state;
    struct settings s = doc_settings(), less = s;
    less.face.p = less.rotate.p = 0;
    struct augmenter *a = fixture_augmenter(f, &s, 5), *b = fixture_augmenter(f, &less, 5);
    for (uint32_t clip = 0; clip < f->count; clip++) {
        struct augment_plan p = augmenter_draw(a, clip, 0, 3), q = augmenter_draw(b, clip, 0, 3);
        assert_int_equal(p.flags & ~3u, q.flags);
        assert_true(p.first == q.first && p.count == q.count);
        assert_memory_equal(p.factor, q.factor, sizeof p.factor);
    }
    augmenter_destroy(a);
    augmenter_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doc),
        cmocka_unit_test(test_code),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_first_half),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_partners),
        cmocka_unit_test(test_partners_of_training_clips),
        cmocka_unit_test(test_only_signer),
        cmocka_unit_test(test_dependence),
        cmocka_unit_test(test_settings_apart),
    };
    return cmocka_run_group_tests_name("augment", tests, fixture_setup, fixture_teardown);
}
