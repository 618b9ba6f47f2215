// Set files: what is written is read; whatever is altered is refused, and never does harm.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/data/set.h"
#include "core/data/set_format.h"
#include "core/data/set_write.h"
#include "tests/data/scratch.h"

static char *const signs[] = {"no", "yes", "perhaps"};

// Three clips of 1, 4 and 2 frames and a skipped one.
static void write_set(const char *path, uint64_t first_row)
{
    struct error e;
    struct set_description d = {.max_len = 4,
                                .sign_count = 3,
                                .fold_count = 2,
                                .fold_seed = 7,
                                .signs = signs,
                                .source_key = {{1, 2, 3}},
                                .first_row = first_row};
    struct set_writer *w = set_writer_open(path, &d, &e);
    assert_non_null(w);
    float frames[4 * LANDMARKS * 3];
    for (int i = 0; i < 3; i++) {
        static const int lengths[] = {1, 4, 2};
        size_t values = (size_t)lengths[i] * LANDMARKS * 3;
        for (size_t k = 0; k < values; k++)
            frames[k] = (float)(i + 1) * (float)k / 64;
        struct set_clip c = {.data = frames,
                             .frames = lengths[i],
                             .source_frames = lengths[i] + 5,
                             .label = 2 - i,
                             .fold = i % 2,
                             .left_missing = i == 1 ? 1 : 0,
                             .right_missing = i == 1 ? 2 : 0,
                             .participant = 100 + i,
                             .sequence = 4294967290 + i,
                             .path = i ? "b/2.parquet" : "a/1.parquet",
                             .hash = hash_memory(frames, values * sizeof *frames)};
        assert_int_equal(set_writer_add(w, &c, &e), 0);
        if (i == 1)
            set_writer_skip(w, "c/3.parquet", "broken");
    }
    assert_int_equal(set_writer_commit(w, &e), 0);
}

static void test_round_trip(void **state)
{
    char *path = scratch_path(state, "a.islr");
    write_set(path, 0);
    struct error e;
    struct set *s = set_open(path, &e);
    if (!s)
        fail_msg("%s", e.text);
    assert_int_equal(set_count(s), 3);
    assert_int_equal(set_max_len(s), 4);
    assert_int_equal(set_sign_count(s), 3);
    assert_string_equal(set_sign_name(s, 2), "perhaps");
    assert_int_equal(set_fold_count(s), 2);
    assert_int_equal(set_fold_seed(s), 7);
    assert_false(set_folds_given(s));
    assert_int_equal(set_frame_count(s), 7);
    assert_int_equal((uintptr_t)set_frames(s) % 4096, 0);
    const struct set_clip *c = set_clip(s, 1);
    assert_int_equal(c->frames, 4);
    assert_int_equal(c->first_frame, 1);
    assert_ptr_equal(c->data, set_frames(s) + LANDMARKS * 3);
    assert_true(c->data[64] == 2);
    assert_int_equal(c->source_frames, 9);
    assert_int_equal(c->label, 1);
    assert_int_equal(c->fold, 1);
    assert_true(c->left_handed);
    assert_true(c->sequence == 4294967291);
    assert_string_equal(c->path, "b/2.parquet");
    assert_false(set_clip(s, 0)->left_handed);
    assert_int_equal(set_find(s, 102, 4294967292), 2);
    assert_int_equal(set_find(s, 102, 4294967291), -1);
    assert_int_equal(set_skipped_count(s), 1);
    assert_string_equal(set_skipped(s, 0)->reason, "broken");
    assert_int_equal(set_source_key(s)->bytes[2], 3);
    assert_int_equal(set_verify(s, 2, &e), 0);
    set_close(s);
    set_close(NULL);
    free(path);
}

static void test_parts_are_no_sets(void **state)
{
    char *path = scratch_path(state, "part.islr");
    write_set(path, 5);
    struct error e;
    assert_null(set_open(path, &e));
    assert_int_equal(e.code, ERR_DAMAGED);
    struct set *s = set_open_part(path, &e);
    assert_non_null(s);
    assert_int_equal(set_first_row(s), 5);
    assert_int_equal(set_row_count(s), 4);
    set_close(s);
    free(path);
}

static void test_no_sets(void **state)
{
    struct error e;
    assert_null(set_open("/nonexistent.islr", &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_null(set_open(*state, &e));
    assert_int_equal(e.code, ERR_INVALID);
    char *path = scratch_write(state, "empty.islr", "");
    assert_null(set_open(path, &e));
    assert_int_equal(e.code, ERR_DAMAGED);
    free(path);
    char zeros[8192] = {0};
    path = scratch_path(state, "zeros.islr");
    scratch_write_bytes(path, zeros, sizeof zeros);
    assert_null(set_open(path, &e));
    assert_non_null(strstr(e.text, "is not a prepared set"));
    free(path);
}

// ---- damage ---------------------------------------------------------------------------------------------------------

struct image { // a set file in memory, and where to put altered ones
    uint8_t *data;
    size_t size, frames_end;
    char *path;
};

static struct image load_image(void **state)
{
    struct image m = {.path = scratch_path(state, "damaged.islr")};
    char *path = scratch_path(state, "a.islr"), *data;
    struct error e;
    write_set(path, 0);
    assert_int_equal(file_read(path, 1 << 24, &data, &m.size, &e), 0);
    m.data = (uint8_t *)data;
    m.frames_end = SET_FRAMES_AT + 7 * SET_FRAME_BYTES;
    free(path);
    return m;
}

static void free_image(struct image *m)
{
    free(m->data);
    free(m->path);
}

static void expect_refused(const struct image *m, const void *data, size_t size, size_t where)
{
    struct error e = {0};
    scratch_write_bytes(m->path, data, size);
    struct set *s = set_open(m->path, &e);
    if (s)
        fail_msg("damage at %zu was not seen", where);
    assert_int_equal(e.code, ERR_DAMAGED);
}

static void test_every_byte_counts(void **state)
{
    struct image m = load_image(state);
    for (size_t i = 0; i < m.size; i += i == SET_FRAMES_AT - 1 ? m.frames_end - i : 1) {
        m.data[i] ^= (uint8_t)(1 << i % 8);
        expect_refused(&m, m.data, m.size, i);
        m.data[i] ^= (uint8_t)(1 << i % 8);
    }
    free_image(&m);
}

static void test_every_length_counts(void **state)
{
    struct image m = load_image(state);
    for (size_t size = 0; size < m.size; size += size < 300 || size > m.frames_end ? 1 : 97)
        expect_refused(&m, m.data, size, size);
    m.data = xrealloc(m.data, m.size + 8, 1);
    memset(m.data + m.size, 0, 8);
    expect_refused(&m, m.data, m.size + 1, m.size);
    expect_refused(&m, m.data, m.size + 8, m.size);
    free_image(&m);
}

static void test_altered_frames_fail_verification(void **state)
{
    struct image m = load_image(state);
    m.data[SET_FRAMES_AT + 2 * SET_FRAME_BYTES + 5] ^= 1; // in the second clip
    scratch_write_bytes(m.path, m.data, m.size);
    struct error e;
    struct set *s = set_open(m.path, &e);
    assert_non_null(s);
    assert_int_equal(set_verify(s, 0, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, "clip 1 (b/2.parquet)"));
    set_close(s);
    free_image(&m);
}

// Makes the hashes fit what the header and index say now.
static void reseal(struct image *m)
{
    struct set_header h;
    memcpy(&h, m->data, sizeof h);
    struct hasher *hasher = hasher_create();
    hasher_update(hasher, &h, offsetof(struct set_header, source_key));
    hasher_update(hasher, m->data + m->frames_end, m->size - m->frames_end);
    struct hash content = hasher_finish(hasher);
    memcpy(h.content, content.bytes, sizeof h.content);
    struct hash check = hash_memory(&h, offsetof(struct set_header, check));
    memcpy(h.check, check.bytes, sizeof h.check);
    memcpy(m->data, &h, sizeof h);
}

// Reads all there is to read, so that the sanitizers see where it leads.
static double walk(const struct set *s)
{
    double sum = 0;
    for (size_t i = 0; i < set_count(s); i++) {
        const struct set_clip *c = set_clip(s, i);
        for (int k = 0; k < c->frames * LANDMARKS * 3; k++)
            sum += c->data[k] != 0;
        sum += (double)strlen(c->path) + (double)strlen(set_sign_name(s, c->label));
    }
    for (int i = 0; i < set_sign_count(s); i++)
        sum += (double)strlen(set_sign_name(s, i));
    for (size_t i = 0; i < set_skipped_count(s); i++)
        sum += (double)strlen(set_skipped(s, i)->path) + (double)strlen(set_skipped(s, i)->reason);
    return sum;
}

// Files made to do harm, with hashes that fit: numbers in header and index are replaced by extreme or random ones.
static void test_hostile_figures(void **state)
{
    struct image m = load_image(state);
    uint8_t *whole = xmalloc(m.size);
    memcpy(whole, m.data, m.size);
    static const uint64_t extremes[] = {0,          1,          2,     0x7FFFFFFF, 0x80000000,
                                        0xFFFFFFFF, 1ull << 40, ~0ull, 1ull << 63, 4097};
    struct rng r = rng_make(3, RNG_BENCH, 0, 0, 0);
    int opened = 0, refused = 0;
    for (int i = 0; i < 6000; i++) {
        memcpy(m.data, whole, m.size);
        size_t spots = sizeof(struct set_header) / 4 + (m.size - m.frames_end) / 4;
        for (uint32_t n = 1 + rng_below(&r, 2); n; n--) {
            size_t spot = 4 * rng_below(&r, (uint32_t)spots);
            size_t at = spot < sizeof(struct set_header) ? spot : m.frames_end + spot - sizeof(struct set_header);
            size_t width = rng_below(&r, 2) && at + 8 <= m.size ? 8 : 4;
            uint64_t v = rng_below(&r, 3) ? extremes[rng_below(&r, 10)] : rng_u32(&r);
            memcpy(m.data + at, &v, width);
        }
        reseal(&m);
        scratch_write_bytes(m.path, m.data, m.size);
        struct error e;
        struct set *s = set_open(m.path, &e);
        if (s) {
            assert_true(walk(s) >= 0);
            opened++;
        } else {
            refused++;
        }
        set_close(s);
    }
    assert_true(opened > 100 && refused > 1000); // ids, names and the like may be anything
    free(whole);
    free_image(&m);
}

static void test_not_finite(void **state)
{
    struct image m = load_image(state);
    float bad = NAN;
    memcpy(m.data + SET_FRAMES_AT + 40, &bad, sizeof bad); // the first clip has one frame
    struct hash hash = hash_memory(m.data + SET_FRAMES_AT, SET_FRAME_BYTES);
    memcpy(m.data + m.frames_end + offsetof(struct set_record, hash), hash.bytes, sizeof hash.bytes);
    reseal(&m);
    scratch_write_bytes(m.path, m.data, m.size);
    struct error e;
    struct set *s = set_open(m.path, &e);
    assert_non_null(s);
    assert_int_equal(set_verify(s, 1, &e), -1);
    assert_non_null(strstr(e.text, "not all of them are finite"));
    set_close(s);
    free_image(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_parts_are_no_sets),
                                       cmocka_unit_test(test_no_sets),
                                       cmocka_unit_test(test_every_byte_counts),
                                       cmocka_unit_test(test_every_length_counts),
                                       cmocka_unit_test(test_altered_frames_fail_verification),
                                       cmocka_unit_test(test_hostile_figures),
                                       cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
