// The reader of recordings: files of every shape that holds the same clip, and files that do not hold one.
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/data/parquet.h"
#include "tests/data/parquet_maker.h"
#include "tests/data/scratch.h"

static const char COLUMNS[] = "frame:int32 row_id:text type:text landmark_index:int32 x:double y:double z:double";

// A clip as rows, in raw landmark order.
struct rows {
    struct made_file file;
    int64_t *frame, *index;
    const char **type;
    double *x;
};

static struct rows make_rows(int frames)
{
    static const struct {
        const char *type;
        int count;
    } parts[] = {{"face", 468}, {"left_hand", 21}, {"pose", 33}, {"right_hand", 21}};
    size_t n = (size_t)frames * RAW_LANDMARKS, row = 0;
    struct rows r = {.frame = xcalloc(n, sizeof *r.frame),
                     .index = xcalloc(n, sizeof *r.index),
                     .type = xcalloc(n, sizeof *r.type),
                     .x = xcalloc(n * 3, sizeof *r.x)};
    for (int f = 0; f < frames; f++)
        for (int part = 0; part < 4; part++)
            for (int i = 0; i < parts[part].count; i++, row++) {
                r.frame[row] = f;
                r.type[row] = parts[part].type;
                r.index[row] = i;
                for (int axis = 0; axis < 3; axis++) // exact in float too
                    r.x[row * 3 + (size_t)axis] = (part == 1 && f % 2) ? NAN : (double)(row * 3 + (size_t)axis) / 1024;
            }
    r.file = (struct made_file){n, r.frame, r.index, r.type, r.x, 1, COLUMNS, 0, "snappy", 0};
    return r;
}

static void free_rows(struct rows *r)
{
    free(r->frame);
    free(r->index);
    free(r->type);
    free(r->x);
}

static void swap_rows(struct rows *r, size_t a, size_t b)
{
    struct rows old = *r;
    int64_t frame = old.frame[a], index = old.index[a];
    const char *type = old.type[a];
    r->frame[a] = r->frame[b], r->frame[b] = frame;
    r->index[a] = r->index[b], r->index[b] = index;
    r->type[a] = r->type[b], r->type[b] = type;
    for (int i = 0; i < 3; i++) {
        double v = r->x[3 * a + (size_t)i];
        r->x[3 * a + (size_t)i] = r->x[3 * b + (size_t)i];
        r->x[3 * b + (size_t)i] = v;
    }
}

// Reads the file and compares with make_rows(frames).
static void expect_clip(const char *path, int frames)
{
    struct parquet_reader *reader = parquet_reader_create();
    struct rows wanted = make_rows(frames);
    struct error e = {0};
    const double *x;
    int got;
    if (parquet_read_clip(reader, path, &x, &got, &e))
        fail_msg("%s", e.text);
    assert_int_equal(got, frames);
    for (size_t i = 0; i < wanted.file.rows * 3; i++)
        if (!(x[i] == wanted.x[i] || (isnan(x[i]) && isnan(wanted.x[i]))))
            fail_msg("value %zu is %g, not %g", i, x[i], wanted.x[i]);
    free_rows(&wanted);
    parquet_reader_destroy(reader);
}

static void expect_fault(const char *path, enum error_code code, const char *text)
{
    struct parquet_reader *reader = parquet_reader_create();
    struct error e = {0};
    const double *x;
    int frames;
    assert_int_equal(parquet_read_clip(reader, path, &x, &frames, &e), -1);
    assert_int_equal(e.code, code);
    if (!strstr(e.text, text))
        fail_msg("\"%s\" does not say \"%s\"", e.text, text);
    parquet_reader_destroy(reader);
}

static void make_and_expect(void **state, const struct rows *r, int frames)
{
    char *path = scratch_path(state, "clip.parquet");
    if (parquet_make(path, &r->file))
        print_message("no codec %s in this Arrow\n", r->file.codec);
    else
        expect_clip(path, frames);
    free(path);
}

static void test_written_is_read(void **state)
{
    char *path = scratch_path(state, "clip.parquet");
    struct rows r = make_rows(5);
    struct error e;
    assert_int_equal(parquet_write_clip(path, r.x, 5, &e), 0);
    expect_clip(path, 5);
    assert_int_equal(parquet_write_clip("/nonexistent/clip.parquet", r.x, 5, &e), -1);
    assert_non_null(strstr(e.text, "/nonexistent/clip.parquet"));
    free_rows(&r);
    free(path);
}

static void test_codecs_and_encodings(void **state)
{
    static const char *const codecs[] = {"none", "snappy", "gzip", "brotli", "zstd", "lz4_raw", "lz4_hadoop"};
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        for (int plain = 0; plain < 2; plain++)
            for (int nulls = 0; nulls < 2; nulls++) {
                struct rows r = make_rows(3);
                r.file.codec = codecs[i];
                r.file.plain = plain;
                r.file.nulls = nulls;
                make_and_expect(state, &r, 3);
                free_rows(&r);
            }
}

static void test_columns(void **state)
{
    static const char *const variants[] = {
        "z:double y:double x:double landmark_index:int32 type:text row_id:text frame:int32",
        "frame:int64 row_id:text type:text landmark_index:int64 x:float y:float z:float",
        "a:int32 x:float b:text y:double frame:int32 c:double z:float type:text d:int64 landmark_index:int64",
        "frame:int32 type:text landmark_index:int32 x:double y:double z:double",
        "frame:int32! type:text! landmark_index:int64! x:double! y:float! z:double!"};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct rows r = make_rows(4);
        r.file.columns = variants[i];
        make_and_expect(state, &r, 4);
        free_rows(&r);
    }
}

static void test_row_groups(void **state)
{
    static const size_t sizes[] = {1, 7, 542, 543, 544, 8192, 8193};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int frames = sizes[i] == 1 ? 1 : 17;
        struct rows r = make_rows(frames);
        r.file.group_rows = sizes[i];
        make_and_expect(state, &r, frames);
        free_rows(&r);
    }
}

static void test_rows_in_any_order(void **state)
{
    struct rows r = make_rows(6);
    struct rng random = rng_make(1, RNG_BENCH, 0, 0, 0);
    for (size_t i = r.file.rows; i > 1; i--)
        swap_rows(&r, i - 1, rng_below(&random, (uint32_t)i));
    r.file.group_rows = 1000;
    make_and_expect(state, &r, 6);
    free_rows(&r);
}

static void test_frame_numbers(void **state)
{
    static const int64_t numbers[4] = {-3, 29, 30, 32000};
    struct rows r = make_rows(4);
    for (size_t i = 0; i < r.file.rows; i++)
        r.frame[i] = numbers[r.frame[i]];
    make_and_expect(state, &r, 4);
    for (size_t i = 0; i < r.file.rows; i++) // in int64, numbers beyond int32
        r.frame[i] = r.frame[i] * 1000000000;
    r.file.columns = "frame:int64 type:text landmark_index:int32 x:double y:double z:double";
    make_and_expect(state, &r, 4);
    free_rows(&r);
}

static void test_long_clip(void **state)
{
    struct rows r = make_rows(537);
    make_and_expect(state, &r, 537);
    free_rows(&r);
}

// Makes the file as it is and expects the fault.
static void expect_broken(void **state, struct rows *r, const char *text)
{
    char *path = scratch_path(state, "broken.parquet");
    assert_int_equal(parquet_make(path, &r->file), 0);
    expect_fault(path, ERR_DAMAGED, text);
    free(path);
    free_rows(r);
}

static void test_broken_rows(void **state)
{
    struct rows r = make_rows(3);
    swap_rows(&r, 600, r.file.rows - 1); // frame 1, face 57
    r.file.rows--;
    expect_broken(state, &r, "1 rows missing, the first: frame 1 has no face 57");
    r = make_rows(3);
    r.index[543 + 470] = 5; // left_hand 2
    expect_broken(state, &r, "frame 1 has left_hand 5 twice");
    r = make_rows(3);
    r.index[480] = 21;
    expect_broken(state, &r, "frame 0 has a landmark_index outside 0..20 for left_hand");
    r = make_rows(3);
    r.index[3] = -1;
    expect_broken(state, &r, "outside 0..467 for face");
    r = make_rows(3);
    r.index[3] = 70000;
    expect_broken(state, &r, "outside 0..467 for face");
    r = make_rows(3);
    r.type[9] = "tail\n";
    expect_broken(state, &r, "unknown landmark type \"tail \"");
    r = make_rows(3);
    r.type[9] = NULL;
    expect_broken(state, &r, "column type has nulls");
    r = make_rows(2);
    r.frame[0] = 8; // two frames told to be three
    expect_broken(state, &r, "543 rows missing, the first: frame 0 has no face 0");
}

static void test_broken_values(void **state)
{
    struct rows r = make_rows(2);
    r.x[700 * 3 + 1] = INFINITY;
    expect_broken(state, &r, "column y, row 700: inf is no coordinate (at most 1e+30)");
    r = make_rows(2);
    for (int i = 0; i < 5; i++)
        r.x[(690 + i) * 3] = NAN; // rows without a value come before
    r.x[700 * 3] = 1e307;
    expect_broken(state, &r, "column x, row 700: 1e+307 is no coordinate");
    r = make_rows(2);
    r.x[700 * 3 + 1] = -1.1e30;
    r.file.group_rows = 500;
    expect_broken(state, &r, "column y, row 700: -1.1e+30 is no coordinate");
    r = make_rows(2);
    r.x[700 * 3] = 1e30; // the largest that is taken
    char *path = scratch_path(state, "large.parquet");
    struct parquet_reader *reader = parquet_reader_create();
    struct error e;
    const double *x;
    int frames;
    assert_int_equal(parquet_make(path, &r.file), 0);
    assert_int_equal(parquet_read_clip(reader, path, &x, &frames, &e), 0);
    assert_true(x[700 * 3] == 1e30);
    parquet_reader_destroy(reader);
    free(path);
    free_rows(&r);
    r = make_rows(2);
    r.x[700 * 3 + 2] = -INFINITY;
    r.file.columns = "frame:int32 type:text landmark_index:int32 x:float y:float z:float";
    expect_broken(state, &r, "column z, row 700: -inf is no coordinate");
    r = make_rows(1);
    r.file.rows = 0;
    expect_broken(state, &r, "no frames");
}

static void test_wrong_columns(void **state)
{
    static const struct {
        const char *columns, *text;
    } cases[] = {
        {"frame:int32 type:text landmark_index:int32 x:double", "columns missing: y, z"},
        {"a:int32", "columns missing: frame, type, landmark_index, x, y, z"},
        {"frame:int32 type:text landmark_index:int32 x:double y:double z:int32",
         "column z is INT32, not float or double"},
        {"frame:double type:text landmark_index:int32 x:double y:double z:double", "column frame is DOUBLE"},
        {"frame:int32 type:int32 landmark_index:int32 x:double y:double z:double", "column type is INT32, not text"},
        {"frame:int32 type:text landmark_index:text x:double y:double z:double",
         "column landmark_index is BYTE_ARRAY"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rows r = make_rows(1);
        r.file.columns = cases[i].columns;
        expect_broken(state, &r, cases[i].text);
    }
}

static void test_too_long(void **state)
{
    struct rows r = make_rows(1);
    int64_t *frame = xcalloc(543 * 16400, sizeof *frame), *index = xcalloc(543 * 16400, sizeof *index);
    const char **type = xcalloc(543 * 16400, sizeof *type);
    for (size_t i = 0; i < 543 * 16400; i++) {
        frame[i] = (int64_t)(i / 543);
        type[i] = "face"; // never looked at: the number of rows is enough
    }
    r.file.frame = frame;
    r.file.index = index;
    r.file.type = type;
    r.file.rows = 543 * 16400;
    r.file.columns = "frame:int32 type:text landmark_index:int32 x:float y:float z:float";
    r.file.x = xcalloc(543 * 16400 * 3, sizeof(double));
    char *path = scratch_path(state, "long.parquet");
    assert_int_equal(parquet_make(path, &r.file), 0);
    expect_fault(path, ERR_DAMAGED, "more than 16384 frames");
    free((double *)r.file.x);
    free(frame);
    free(index);
    free(type);
    free(path);
    free_rows(&r);
}

static void test_no_parquet(void **state)
{
    char *path = scratch_write(state, "empty.parquet", "");
    expect_fault(path, ERR_DAMAGED, "empty");
    free(path);
    path = scratch_write(state, "text.parquet", "path,participant_id\nthis is no parquet file at all\n");
    expect_fault(path, ERR_DAMAGED, "not a sound parquet file");
    free(path);
    path = scratch_path(state, "missing.parquet");
    expect_fault(path, ERR_NOT_FOUND, "No such file");
    free(path);
    expect_fault(*state, ERR_DAMAGED, "not a regular file");
    path = scratch_path(state, "loop.parquet");
    assert_int_equal(symlink("loop.parquet", path), 0);
    expect_fault(path, ERR_FAILED, "cannot be read: Too many levels of symbolic links");
    free(path);
    path = scratch_path(state, "text.parquet/a.parquet");
    expect_fault(path, ERR_NOT_FOUND, "Not a directory");
    free(path);
}

// Cut short and altered files are refused, or read as some clip; nothing else may happen.
static void test_damaged(void **state)
{
    char *path = scratch_path(state, "whole.parquet"), *damaged = scratch_path(state, "damaged.parquet"), *data;
    struct rows r = make_rows(2);
    size_t size;
    struct error e;
    assert_int_equal(parquet_write_clip(path, r.x, 2, &e), 0);
    assert_int_equal(file_read(path, 1 << 24, &data, &size, &e), 0);
    for (size_t cut = 1; cut < size; cut += size / 60 + 1) {
        scratch_write_bytes(damaged, data, size - cut);
        expect_fault(damaged, ERR_DAMAGED, "");
    }
    struct parquet_reader *reader = parquet_reader_create();
    struct rng random = rng_make(2, RNG_BENCH, 0, 0, 0);
    int refused = 0;
    for (int i = 0; i < 600; i++) {
        // Most of them in the footer, where the structure is.
        size_t at = i % 3 ? size - 1 - rng_below(&random, size < 2500 ? (uint32_t)size : 2500)
                          : rng_below(&random, (uint32_t)size);
        char old = data[at];
        data[at] = (char)(old ^ (1 << rng_below(&random, 8)));
        scratch_write_bytes(damaged, data, size);
        data[at] = old;
        const double *x;
        int frames;
        if (parquet_read_clip(reader, damaged, &x, &frames, &e)) {
            assert_true(strlen(e.text) > 0 && e.code == ERR_DAMAGED);
            refused++;
        } else {
            assert_in_range(frames, 1, 2);
        }
    }
    assert_true(refused > 100);
    parquet_reader_destroy(reader);
    free_rows(&r);
    free(data);
    free(path);
    free(damaged);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LIMITS_MEMORY = 0 }; // their shadow memory is part of what the limit counts
#else
enum { LIMITS_MEMORY = 1 };
#endif

// How a process reads the file that may take `room` bytes more than it has.
static int read_within(const char *path, size_t room)
{
    long pages = 0;
    malloc_trim(0); // what earlier tests have freed is no room
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%ld", &pages) != 1)
        return -1;
    fclose(f);
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + room;
    if (setrlimit(RLIMIT_AS, &limit))
        return -1;
    const double *x;
    int frames;
    struct error e = {ERR_NONE, ""};
    struct parquet_reader *reader = parquet_reader_create();
    return parquet_read_clip(reader, path, &x, &frames, &e) ? (int)e.code : 0;
}

// Wherever in the work memory runs out: it is not the file that is damaged.
static void test_out_of_memory(void **state)
{
    if (!LIMITS_MEMORY)
        skip();
    char *path = scratch_path(state, "large.parquet");
    struct rows r = make_rows(600);
    int read = 0, refused = 0;
    assert_int_equal(parquet_make(path, &r.file), 0);
    for (size_t room = 1 << 20; room < (size_t)64 << 20; room += room < (16 << 20) ? 1 << 20 : 4 << 20) {
        int status = -1;
        pid_t child = fork();
        if (!child)
            _exit(read_within(path, room));
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != ERR_FAILED))
            fail_msg("with %zu bytes more it ended with status %#x", room, (unsigned)status);
        read += WEXITSTATUS(status) == 0;
        refused += WEXITSTATUS(status) != 0;
    }
    if (!read || refused < 6)
        fail_msg("%d were read, %d refused", read, refused);
    free_rows(&r);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_is_read),   cmocka_unit_test(test_codecs_and_encodings),
        cmocka_unit_test(test_columns),           cmocka_unit_test(test_row_groups),
        cmocka_unit_test(test_rows_in_any_order), cmocka_unit_test(test_frame_numbers),
        cmocka_unit_test(test_long_clip),         cmocka_unit_test(test_broken_rows),
        cmocka_unit_test(test_broken_values),     cmocka_unit_test(test_wrong_columns),
        cmocka_unit_test(test_too_long),          cmocka_unit_test(test_no_parquet),
        cmocka_unit_test(test_damaged),           cmocka_unit_test(test_out_of_memory)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
