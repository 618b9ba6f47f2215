// What a drawn plan does to a clip, through the CPU's operation: one augmentation at a time, on every clip of a small
// set. (tests/kernels/test_augment.c holds the operation against golden cases.)
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "tests/train/augment_fixture.h"

// Draws with one augmentation alone sure to happen, makes the view, and hands both to `check`.
static void for_each_view(const struct fixture *f, struct settings s,
                          void (*check)(const struct fixture *f, const struct augment_plan *p, const float *x, int n,
                                        const float *y))
{
    struct error e = {0};
    struct backend *b = backend_cpu_open(1, &e);
    struct stream *stream = b ? b->op->stream_create(b, &e) : NULL;
    if (!stream)
        fail_msg("%s", e.text);
    int64_t offset[CLIPS_MAX];
    int32_t frames[CLIPS_MAX];
    struct augment_plan plan[CLIPS_MAX];
    int views = (int)set_count(f->set);
    size_t view = SMALL_MAX_LEN * COLUMNS;
    float *out = xcalloc((size_t)views * view, sizeof *out);
    struct augmenter *a = fixture_augmenter(f, &s, 12);
    for (int i = 0; i < views; i++) {
        offset[i] = (int64_t)set_clip(f->set, (size_t)i)->first_frame * COLUMNS;
        frames[i] = set_clip(f->set, (size_t)i)->frames;
        plan[i] = augmenter_draw(a, (uint32_t)i, 0, 1);
    }
    queue(stream, augment, set_frames(f->set), offset, frames, plan, views, SMALL_MAX_LEN, out); // host is device here
    for (int i = 0; i < views; i++)
        check(f, &plan[i], set_clip(f->set, (size_t)i)->data, frames[i], out + (size_t)i * view);
    augmenter_destroy(a);
    free(out);
    b->op->stream_destroy(stream);
    b->op->close(b);
}

static void check_flipped(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    static const uint8_t mirror[LANDMARKS] = LANDMARK_MIRROR_TABLE;
    (void)f, (void)p;
    for (int i = 0; i < n * LANDMARKS; i++) {
        const float *from = x + (i / LANDMARKS * LANDMARKS + mirror[i % LANDMARKS]) * 3;
        assert_true(y[i * 3] == -from[0] && y[i * 3 + 1] == from[1] && y[i * 3 + 2] == from[2]);
    }
}

static void check_rotated(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    (void)f, (void)p;
    for (int i = 0; i < n * LANDMARKS; i++) {
        const float *a = x + i * 3, *b = y + i * 3;
        assert_true(fabsf(hypotf(a[0], a[1]) - hypotf(b[0], b[1])) < 1e-5f && a[2] == b[2]);
    }
    assert_true(p->cosine != 1 && memcmp(x, y, sizeof *x * COLUMNS) != 0);
}

static void check_cropped(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    (void)f;
    assert_int_equal(n >= 20, p->count < n);
    for (int i = 0; i < SMALL_MAX_LEN * COLUMNS; i++)
        assert_true(y[i] == (i < p->count * COLUMNS ? x[p->first * COLUMNS + i] : 0));
}

static void check_scaled(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    (void)f;
    assert_true(p->factor[0] >= 0.7f && p->factor[0] <= 1.3f && p->factor[1] == p->factor[0] &&
                p->factor[2] == p->factor[0]);
    for (int i = 0; i < n * COLUMNS; i++)
        assert_true(fabsf(y[i] - x[i] * p->factor[0]) < 1e-6f);
}

static void check_interpolated(const struct fixture *f, const struct augment_plan *p, const float *x, int n,
                               const float *y)
{
    (void)f, (void)p;
    for (int i = 0; i < COLUMNS; i++) {
        int known = 0;
        for (int k = 0; k < n; k++)
            known += x[k * COLUMNS + i] != 0;
        for (int k = 0; k < n; k++)
            if (x[k * COLUMNS + i] != 0 || known < 2)
                assert_true(y[k * COLUMNS + i] == x[k * COLUMNS + i]);
            else
                assert_true(y[k * COLUMNS + i] != 0);
    }
}

static void check_filled(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    (void)f, (void)p;
    int left, right, filled = 0;
    for (int k = 0; k < n; k++) {
        left = right = 1;
        for (int i = 0; i < HAND_POINTS; i++) {
            left &= x[k * COLUMNS + i * 3] == 0;
            right &= x[k * COLUMNS + (HAND_POINTS + i) * 3] == 0;
        }
        float nose = x[k * COLUMNS + LANDMARK_NOSE * 3];
        for (int i = 0; i < HAND_POINTS && left != right && nose != 0; i++, filled++) {
            const float *a = y + k * COLUMNS + i * 3, *b = a + HAND_POINTS * 3;
            assert_true(fabsf(a[0] + b[0] - 2 * nose) < 1e-5f && a[1] == b[1] && a[2] == b[2]);
        }
    }
    assert_true(filled > 0 || n < 20);
}

static int in_whole_face(int landmark)
{
    return landmark >= LANDMARK_SILHOUETTE && (landmark < LANDMARK_ARMS || landmark >= LANDMARK_CHEEKS);
}

// The new face lies where the old one did, and nothing else has changed.
static void check_face(const struct fixture *f, const struct augment_plan *p, const float *x, int n, const float *y)
{
    if (p->partner < 0) {
        assert_int_equal(set_clip(f->set, (size_t)p->clip)->label, SMALL_SIGNS - 1);
        return;
    }
    float low[2][3], high[2][3];
    for (int c = 0; c < 3; c++)
        for (int side = 0; side < 2; side++) {
            low[side][c] = INFINITY;
            high[side][c] = -INFINITY;
        }
    for (int i = 0; i < n * COLUMNS; i++) {
        int c = i % 3;
        if (!in_whole_face(i / 3 % LANDMARKS)) {
            assert_true(y[i] == x[i]);
            continue;
        }
        low[0][c] = fminf(low[0][c], x[i]);
        high[0][c] = fmaxf(high[0][c], x[i]);
        low[1][c] = fminf(low[1][c], y[i]);
        high[1][c] = fmaxf(high[1][c], y[i]);
    }
    for (int c = 0; c < 3; c++)
        assert_true(fabsf(low[0][c] - low[1][c]) < 1e-5f && fabsf(high[0][c] - high[1][c]) < 1e-5f);
    assert_true(memcmp(x, y, sizeof *x * (size_t)(n * COLUMNS)) != 0);
}

static void test_flip(void **state)
{
    struct settings s = no_settings();
    s.flip.p = 1;
    for_each_view(*state, s, check_flipped);
}

static void test_rotate(void **state)
{
    struct settings s = no_settings();
    s.rotate.p = 1;
    for_each_view(*state, s, check_rotated);
}

static void test_crop(void **state)
{
    struct settings s = no_settings();
    s.crop.p = 1;
    for_each_view(*state, s, check_cropped);
}

static void test_scale(void **state)
{
    struct settings s = no_settings();
    s.scale.p = 1;
    for_each_view(*state, s, check_scaled);
}

static void test_interpolate(void **state)
{
    struct settings s = no_settings();
    s.interpolate.p = 1;
    for_each_view(*state, s, check_interpolated);
}

static void test_fill(void **state)
{
    struct settings s = no_settings();
    s.fill.p = 1;
    for_each_view(*state, s, check_filled);
}

static void test_face(void **state)
{
    struct settings s = no_settings();
    s.face.p = 1;
    for_each_view(*state, s, check_face);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip),  cmocka_unit_test(test_rotate),      cmocka_unit_test(test_crop),
        cmocka_unit_test(test_scale), cmocka_unit_test(test_interpolate), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_face),
    };
    return cmocka_run_group_tests_name("views", tests, fixture_setup, fixture_teardown);
}
