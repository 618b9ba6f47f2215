// Preparation of a clip against the published preparation: golden files (tests/golden/README.md, "prepare"), and what
// is beyond them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"
#include "core/data/clip.h"
#include "tests/nn/filler.h"

static void lose(double *frame, int first, int count)
{
    for (int i = first * 3; i < (first + count) * 3; i++)
        frame[i] = NAN;
}

// The golden files' input `kind` of n frames: [n, RAW_LANDMARKS, 3].
static double *make_input(const char *kind, int frames)
{
    static const struct {
        int first, count;
        uint64_t mask;
    } parts[4] = {{0, 468, 7}, {468, 21, 1}, {489, 33, 7}, {522, 21, 1}};
    const uint64_t fill = filler_hash("prepare/x"), missing = filler_hash("prepare/missing");
    const uint64_t point = filler_hash("prepare/point");
    double *x = xcalloc((size_t)frames * RAW_LANDMARKS * 3, sizeof *x);
    for (size_t i = 0; i < (size_t)frames * RAW_LANDMARKS * 3; i++)
        x[i] = filler_symmetric(fill, i, 0.5, 0.5);
    for (int f = 0; f < frames; f++) {
        double *frame = x + (size_t)f * RAW_LANDMARKS * 3;
        for (int p = 0; p < 4; p++) {
            bool hand = p == 1 || p == 3;
            if (!strcmp(kind, "nothing") || (!strcmp(kind, "no-hands") && hand) ||
                (!strcmp(kind, "parts") && !(filler_bits(missing, (uint64_t)(4 * f + p)) & parts[p].mask)))
                lose(frame, parts[p].first, parts[p].count);
        }
        for (int i = 0; i < RAW_LANDMARKS; i++) {
            if (!strcmp(kind, "points") && !(filler_bits(point, (uint64_t)(543 * f + i)) & 63))
                lose(frame, i, 1);
            if (!strcmp(kind, "flat-z"))
                frame[3 * i + 2] = 0.5;
        }
    }
    return x;
}

// The published preparation is held to 1e-5 in each value. Summaries: the projections are sums of all values, of errors
// that do not add up that far.
static void check_golden(const struct tensor *t, const float *got, int frames)
{
    const float *wanted = t->data;
    size_t n = (size_t)frames * LANDMARKS * 3;
    if (t->dims == 3) {
        assert_int_equal(t->shape[0], frames);
        for (size_t i = 0; i < n; i++)
            if (!(fabs(got[i] - wanted[i]) <= 1e-6))
                fail_msg("%s: value %zu is %.9g, not %.9g", t->name, i, got[i], wanted[i]);
        return;
    }
    double summary[41];
    int count = filler_summary("prepare", got, n, summary);
    assert_int_equal(count, t->count);
    for (int i = 0; i < count; i++)
        if (!(fabs(summary[i] - wanted[i]) <= (i < 9 ? 1e-4 : 1e-6)))
            fail_msg("%s: %d of its summary is %.9g, not %.9g", t->name, i, summary[i], wanted[i]);
}

static void test_golden(void **state)
{
    (void)state;
    struct safetensors file;
    struct error e;
    if (safetensors_open(GOLDEN_DIR "/prepare.safetensors", &file, &e))
        fail_msg("%s", e.text);
    json_t *frames = json_loads(safetensors_metadata(&file, "frames"), 0, NULL);
    assert_non_null(frames);
    assert_true(file.count > 50);
    for (size_t i = 0; i < file.count; i++) {
        char kind[20];
        int length, max_len;
        assert_int_equal(sscanf(strrchr(file.tensors[i].name, '-'), "-%d/%d", &length, &max_len), 2);
        snprintf(kind, sizeof kind, "%.*s", (int)(strrchr(file.tensors[i].name, '-') - file.tensors[i].name),
                 file.tensors[i].name);
        double *x = make_input(kind, length);
        float *out = xcalloc((size_t)max_len * LANDMARKS * 3, sizeof *out);
        int got = clip_prepare(x, length, max_len, out);
        assert_int_equal(got, json_integer_value(json_object_get(frames, file.tensors[i].name)));
        check_golden(&file.tensors[i], out, got);
        free(x);
        free(out);
    }
    json_decref(frames);
    safetensors_close(&file);
}

// Whatever comes in, 1 to max_len frames of finite values come out.
static void test_any_length(void **state)
{
    (void)state;
    static const int max_lens[] = {1, 2, 3, 25, 80};
    double *x = make_input("parts", 600);
    for (size_t k = 0; k < sizeof max_lens / sizeof *max_lens; k++)
        for (int n = 1; n <= 600; n += n < 170 ? 1 : 43) {
            float *out = xcalloc((size_t)max_lens[k] * LANDMARKS * 3, sizeof *out);
            int got = clip_prepare(x, n, max_lens[k], out);
            assert_in_range(got, 1, max_lens[k]);
            for (int i = 0; i < got * LANDMARKS * 3; i++)
                assert_true(isfinite(out[i]));
            free(out);
        }
    free(x);
}

static void test_normalised(void **state)
{
    (void)state;
    double *x = make_input("seen", 25);
    float out[25 * LANDMARKS * 3];
    for (int i = 0; i < 25 * RAW_LANDMARKS; i++) // a coordinate far from 0 and hardly varying
        x[3 * i] = 1e6 + 1e-3 * x[3 * i];
    assert_int_equal(clip_prepare(x, 25, 25, out), 25);
    for (int axis = 0; axis < 3; axis++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < 25 * LANDMARKS; i++) {
            sum += out[3 * i + axis];
            squares += out[3 * i + axis] * out[3 * i + axis];
        }
        assert_true(fabs(sum / (25 * LANDMARKS)) < 1e-5);
        assert_true(fabs(squares / (25 * LANDMARKS) - 1) < 1e-5);
    }
    free(x);
}

// A coordinate that never varies divides by zero nowhere, also where its mean is not exact.
static void test_constant(void **state)
{
    (void)state;
    static const double constants[] = {0, 0.1, -1e9 / 3, 1e-30};
    for (size_t k = 0; k < sizeof constants / sizeof *constants; k++) {
        double *x = make_input("parts", 13);
        float out[25 * LANDMARKS * 3];
        for (int i = 0; i < 13 * RAW_LANDMARKS; i++)
            if (!isnan(x[3 * i]))
                x[3 * i] = constants[k];
        int frames = clip_prepare(x, 13, 25, out);
        for (int i = 0; i < frames * LANDMARKS; i++)
            assert_true(out[3 * i] == 0);
        free(x);
    }
}

// The largest coordinates that the reader of recordings takes.
static void test_large(void **state)
{
    (void)state;
    double *x = make_input("seen", 5);
    float out[5 * LANDMARKS * 3];
    for (size_t i = 0; i < (size_t)5 * RAW_LANDMARKS * 3; i++)
        x[i] = i % 7 ? 1e30 : -1e30;
    int frames = clip_prepare(x, 5, 5, out);
    for (int i = 0; i < frames * LANDMARKS * 3; i++)
        assert_true(isfinite(out[i]));
    free(x);
}

static void test_missing_hands(void **state)
{
    (void)state;
    double *x = make_input("seen", 5);
    float out[5 * LANDMARKS * 3];
    for (int f = 0; f < 3; f++)
        lose(x + (size_t)f * RAW_LANDMARKS * 3, RAW_LEFT_HAND, HAND_LANDMARKS);
    lose(x + (size_t)4 * RAW_LANDMARKS * 3, RAW_RIGHT_HAND, HAND_LANDMARKS);
    lose(x, RAW_RIGHT_HAND + 1, HAND_LANDMARKS - 1); // all but the wrist: not missing
    int left, right, frames = clip_prepare(x, 5, 5, out);
    assert_int_equal(frames, 5);
    clip_count_missing(out, frames, &left, &right);
    assert_int_equal(left, 3);
    assert_int_equal(right, 1);
    free(x);
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        int start, type;
    } groups[] = {{LEFT_HAND_START, 1}, {RIGHT_HAND_START, 2}, {SILHOUETTE_START, 3}, {LIPS_START, 4},
                  {ARMS_START, 5},      {CHEEKS_START, 6},     {LANDMARKS, 0}};
    for (int g = 0; groups[g].type; g++)
        for (int i = groups[g].start; i < groups[g + 1].start; i++)
            assert_int_equal(landmark_type(i), groups[g].type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),     cmocka_unit_test(test_any_length),
                                       cmocka_unit_test(test_normalised), cmocka_unit_test(test_constant),
                                       cmocka_unit_test(test_large),      cmocka_unit_test(test_missing_hands),
                                       cmocka_unit_test(test_types)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
