// Synthetic recordings: the same for any number of threads, complete, and of the promised variety.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/data/recordings.h"
#include "core/data/parquet.h"
#include "core/data/synth.h"
#include "core/data/synth_motion.h"
#include "tests/data/scratch.h"

static struct recordings *write_and_read(const char *directory, const struct synth_options *o)
{
    struct error e;
    if (synth_write(directory, o, &e))
        fail_msg("%s", e.text);
    struct recordings *r = recordings_read(directory, 1, &e);
    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void expect_same_files(const char *a, const char *b, const char *name)
{
    char *paths[2] = {file_join(a, name), file_join(b, name)}, *data[2];
    size_t sizes[2];
    struct error e;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(file_read(paths[i], 1 << 26, &data[i], &sizes[i], &e), 0);
        free(paths[i]);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(data[0], data[1], sizes[0]);
    free(data[0]);
    free(data[1]);
}

static void test_threads_do_not_matter(void **state)
{
    char *a = scratch_path(state, "one"), *b = scratch_path(state, "three");
    struct synth_options o = {.signs = 7, .participants = 3, .clips = 40, .seed = 5, .threads = 1};
    struct recordings *r = write_and_read(a, &o);
    o.threads = 3;
    recordings_free(write_and_read(b, &o));
    assert_int_equal(r->count, 40);
    assert_int_equal(r->sign_count, 7);
    expect_same_files(a, b, "train.csv");
    expect_same_files(a, b, "sign_to_prediction_index_map.json");
    int pairs[21] = {0};
    for (size_t i = 0; i < r->count; i++) {
        expect_same_files(a, b, r->clips[i].path);
        pairs[(r->clips[i].participant - 2001) / 37 * 7 + r->clips[i].label]++;
    }
    for (int i = 0; i < 21; i++)
        assert_in_range(pairs[i], 1, 2);
    recordings_free(r);
    free(a);
    free(b);
}

static void test_seed_matters(void **state)
{
    (void)state;
    double *a, *b, *c;
    int frames = synth_clip_make(1, 3, 2, 4, 10, &a);
    assert_int_equal(synth_clip_make(1, 3, 2, 4, 10, &b), frames);
    size_t bytes = (size_t)frames * RAW_LANDMARKS * 3 * sizeof *a;
    assert_memory_equal(a, b, bytes);
    int other = synth_clip_make(2, 3, 2, 4, 10, &c);
    assert_true(other != frames || memcmp(a, c, bytes));
    free(a);
    free(b);
    free(c);
}

// Figures over many clips.
static void test_variety(void **state)
{
    (void)state;
    int usual = 0, left_missing = 0, right_missing = 0, no_face = 0, frames_seen = 0;
    enum { CLIPS = 400 };
    for (int clip = 0; clip < CLIPS; clip++) {
        double *x;
        int frames = synth_clip_make(9, clip, clip % 20, clip % 50, 50, &x);
        assert_in_range(frames, SYNTH_MIN_FRAMES, SYNTH_MAX_FRAMES);
        usual += frames >= 10 && frames <= 60;
        for (int f = 0; f < frames; f++) {
            const double *frame = x + (size_t)f * RAW_LANDMARKS * 3;
            left_missing += isnan(frame[RAW_LEFT_HAND * 3]);
            right_missing += isnan(frame[RAW_RIGHT_HAND * 3]);
            no_face += isnan(frame[0]);
            frames_seen++;
            for (int i = 0; i < RAW_LANDMARKS;
                 i++) { // missing in all three coordinates, else somewhere near the picture
                assert_int_equal(isnan(frame[3 * i]), isnan(frame[3 * i + 1]));
                assert_int_equal(isnan(frame[3 * i]), isnan(frame[3 * i + 2]));
                assert_false(fabs(frame[3 * i]) > 3 || fabs(frame[3 * i + 1]) > 4 || fabs(frame[3 * i + 2]) > 3);
            }
            assert_false(isnan(frame[RAW_POSE * 3]));
        }
        free(x);
    }
    assert_true(usual > CLIPS * 85 / 100);
    assert_true(left_missing > frames_seen / 4 && right_missing > frames_seen / 20 && left_missing > right_missing);
    assert_true(no_face > 0 && no_face < frames_seen / 10);
}

static void test_replacing(void **state)
{
    char *directory = scratch_path(state, "again");
    struct synth_options o = {.signs = 2, .participants = 2, .clips = 4, .seed = 1};
    struct error e;
    assert_int_equal(synth_write(directory, &o, &e), 0);
    assert_int_equal(synth_write(directory, &o, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    o.replace = true;
    assert_int_equal(synth_write(directory, &o, &e), 0);
    free(directory);
}

static bool stop_after_five(void *context)
{
    return atomic_fetch_add((atomic_int *)context, 1) >= 5;
}

static void test_interrupted(void **state)
{
    char *directory = scratch_path(state, "stopped"), *index = file_join(directory, "train.csv");
    atomic_int calls = 0;
    struct synth_options o = {
        .signs = 2, .participants = 2, .clips = 40, .seed = 1, .context = &calls, .stopped = stop_after_five};
    struct error e;
    assert_int_equal(synth_write(directory, &o, &e), -1);
    assert_int_equal(e.code, ERR_INTERRUPTED);
    assert_false(file_exists(index));
    free(index);
    free(directory);
}

static void test_impossible(void **state)
{
    static const struct synth_options impossible[] = {{.signs = 0, .participants = 1, .clips = 1},
                                                      {.signs = 6401, .participants = 1, .clips = 1},
                                                      {.signs = 1, .participants = 0, .clips = 1},
                                                      {.signs = 1, .participants = 1, .clips = 0}};
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        struct error e;
        assert_int_equal(synth_write(*state, &impossible[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
    struct synth_options o = {.signs = 1, .participants = 1, .clips = 1};
    struct error e;
    assert_int_equal(synth_write("/proc/nothing", &o, &e), -1);
    assert_non_null(strstr(e.text, "/proc/nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_do_not_matter),
                                       cmocka_unit_test(test_seed_matters),
                                       cmocka_unit_test(test_variety),
                                       cmocka_unit_test(test_replacing),
                                       cmocka_unit_test(test_interrupted),
                                       cmocka_unit_test(test_impossible)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
