// Resume points: what is saved comes back to the bit; two are kept; whatever happens to a file is noticed and the one
// before is used; a writer killed at any moment leaves the older ones as they were.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/ckpt/resume.h"

static char top[] = "/tmp/islr-resume-XXXXXX";
static char *dir;

static int make_top(void **state)
{
    (void)state;
    return mkdtemp(top) ? 0 : -1;
}

static int remove_top(void **state)
{
    (void)state;
    return file_remove_tree(top, NULL);
}

static int fresh_directory(void **state)
{
    (void)state;
    dir = file_join(top, "run/resume");
    return 0;
}

static int remove_fresh(void **state)
{
    (void)state;
    file_remove_tree(dir, NULL);
    free(dir);
    return 0;
}

// A point whose content follows from its step.
static void save(uint64_t step, size_t size)
{
    uint8_t *weights = xmalloc(size + 1);
    struct rng r = rng_make(step, RNG_BENCH, 0, 0, 0);
    for (size_t i = 0; i < size; i++)
        weights[i] = (uint8_t)rng_u32(&r);
    const struct resume_section sections[] = {
        {"weights/student", weights, size}, {"step", &step, sizeof step}, {"empty", NULL, 0}};
    struct error e;
    if (resume_save(dir, step, sections, 3, &e))
        fail_msg("%s", e.text);
    free(weights);
}

static void expect_content(const struct resume_point *p, uint64_t step, size_t size)
{
    struct error e;
    uint64_t stored = 0;
    assert_int_equal(p->step, step);
    assert_int_equal(p->count, 3);
    assert_int_equal(resume_read(p, "step", &stored, sizeof stored, &e), 0);
    assert_int_equal(stored, step);
    const struct resume_section *w = resume_find(p, "weights/student");
    assert_int_equal(w->size, size);
    assert_int_equal((uintptr_t)w->data % 64, 0);
    struct rng r = rng_make(step, RNG_BENCH, 0, 0, 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const uint8_t *)w->data)[i], (uint8_t)rng_u32(&r));
    assert_int_equal(resume_find(p, "empty")->size, 0);
    assert_null(resume_find(p, "weights"));
}

static void expect_newest(uint64_t step, size_t size)
{
    struct resume_point p;
    struct error e;
    if (resume_open(dir, NULL, &p, &e))
        fail_msg("%s", e.text);
    expect_content(&p, step, size);
    resume_close(&p);
}

static int count_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static char *point_path(uint64_t step)
{
    return xprintf("%s/point-%llu.islr-resume", dir, (unsigned long long)step);
}

static void test_save_and_open(void **state)
{
    (void)state;
    struct resume_point p;
    struct error e;
    assert_int_equal(resume_open(dir, NULL, &p, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    save(9, 100);
    expect_newest(9, 100);
    save(10, 1000);
    save(100, 0);
    expect_newest(100, 0); // by number, not by name: "100" sorts before "9"
    assert_int_equal(count_files(), RESUME_KEPT);
    char *old = point_path(9);
    assert_false(file_exists(old));
    free(old);
}

static void test_passed_over_points_take_no_place(void **state)
{
    (void)state;
    struct resume_point p;
    struct error e;
    save(10, 10);
    save(11, 10);
    char *damaged = point_path(11);
    assert_int_equal(truncate(damaged, 20), 0);
    assert_int_equal(resume_open(dir, NULL, &p, &e), 0);
    expect_content(&p, 10, 10);
    assert_int_equal(resume_remove_later(dir, p.step, &e), 0);
    resume_close(&p);
    assert_false(file_exists(damaged));
    save(13, 10); // the next one may come after the damaged one's step
    char *newest = point_path(13);
    assert_int_equal(truncate(newest, 20), 0);
    expect_newest(10, 10);
    free(damaged);
    free(newest);
}

static void test_read_checks_sizes(void **state)
{
    (void)state;
    save(1, 10);
    struct resume_point p;
    struct error e;
    uint8_t out[20];
    assert_int_equal(resume_open(dir, NULL, &p, &e), 0);
    assert_int_equal(resume_read(&p, "weights/student", out, 11, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, "section 'weights/student' has 10 bytes, but 11 are expected"));
    assert_int_equal(resume_read(&p, "moments", out, 1, &e), -1);
    assert_non_null(strstr(e.text, "has no section 'moments'"));
    resume_close(&p);
}

static void test_refused_sections(void **state)
{
    (void)state;
    const struct resume_section twice[] = {{"a", "x", 1}, {"a", "y", 1}}, nameless[] = {{"", "x", 1}};
    struct error e;
    assert_int_equal(resume_save(dir, 1, twice, 2, &e), -1);
    assert_non_null(strstr(e.text, "two sections are called 'a'"));
    assert_int_equal(resume_save(dir, 1, nameless, 1, &e), -1);
    assert_false(file_exists(dir));
}

// What the log says while `work` runs; free() it.
static char *log_of(void (*work)(const struct log *log, void *context), void *context)
{
    char *text = NULL;
    size_t size = 0;
    const struct log log = {.stream = open_memstream(&text, &size)};
    work(&log, context);
    fclose(log.stream);
    return text;
}

static void open_older(const struct log *log, void *context)
{
    struct resume_point p;
    struct error e;
    if (resume_open(dir, log, &p, &e))
        fail_msg("%s", e.text);
    expect_content(&p, *(uint64_t *)context, 300);
    resume_close(&p);
}

static void test_falls_back(void **state)
{
    (void)state;
    save(7, 300);
    save(8, 300);
    char *path = point_path(8);
    assert_int_equal(truncate(path, 200), 0);
    uint64_t older = 7;
    char *said = log_of(open_older, &older);
    assert_non_null(strstr(said, "point-8.islr-resume: the"));
    assert_non_null(strstr(said, "going back to the one before"));
    free(said);
    // Going on from 7, the damaged one of a later step must not push out the good ones.
    save(8, 300);
    assert_int_equal(truncate(path, 200), 0);
    save(7, 300);
    assert_false(file_exists(path));
    expect_newest(7, 300);
    free(path);
    path = point_path(7);
    assert_int_equal(truncate(path, 0), 0);
    struct resume_point p;
    struct error e;
    assert_int_equal(resume_open(dir, NULL, &p, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, "every resume point in"));
    free(path);
}

// What cannot be read just now, unlike what is damaged, is no reason to lose the steps since the point before it.
static void test_does_not_fall_back_past_what_is_not_read(void **state)
{
    (void)state;
    save(7, 300);
    char *path = point_path(8);
    assert_int_equal(file_make_dirs(path, NULL), 0);
    struct resume_point p;
    struct error e;
    assert_int_equal(resume_open(dir, NULL, &p, &e), -1);
    assert_int_not_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, "point-8.islr-resume"));
    assert_int_equal(rmdir(path), 0);
    expect_newest(7, 300);
    free(path);
}

// Every truncation and every single flipped bit of a point is noticed.
static void test_every_bit(void **state)
{
    (void)state;
    save(5, 77);
    char *path = point_path(5), *bytes, *copy = file_join(top, "copy");
    size_t size;
    struct resume_point p;
    struct error e;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &size, NULL), 0);
    assert_int_equal(resume_open_file(path, &p, &e), 0);
    resume_close(&p);
    FILE *f = fopen(copy, "w+");
    for (size_t n = 0; n < size; n++) {
        assert_int_equal(ftruncate(fileno(f), 0), 0);
        assert_int_equal(pwrite(fileno(f), bytes, n, 0), (ssize_t)n);
        assert_int_equal(resume_open_file(copy, &p, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
    }
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(pwrite(fileno(f), bytes, size, 0), (ssize_t)size);
        if (!resume_open_file(copy, &p, &e))
            fail_msg("bit %zu of byte %zu is not covered", bit % 8, bit / 8);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_int_equal(pwrite(fileno(f), bytes, size, 0), (ssize_t)size);
    assert_int_equal(pwrite(fileno(f), "x", 1, (off_t)size), 1);
    assert_int_equal(resume_open_file(copy, &p, &e), -1);
    assert_non_null(strstr(e.text, "bytes follow the end"));
    fclose(f);
    remove(copy);
    free(copy);
    free(bytes);
    free(path);
}

// Sizes that no file can have, with a right hash of the table: nothing is allocated or read by them.
static void test_hostile_sizes(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 63, (uint64_t)1 << 63, 1000};
    char *copy = file_join(top, "copy");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t file[256] = "ISLRRSM1";
        uint64_t head[2] = {1, 1}, length = 1;
        memcpy(file + 8, head, 16);
        memcpy(file + 24, &sizes[i], 8);
        memcpy(file + 64, &length, 8);
        file[72] = 'a';
        struct resume_point p;
        struct error e;
        assert_int_equal(file_write_atomic(copy, file, sizeof file, NULL), 0);
        assert_int_equal(resume_open_file(copy, &p, &e), -1);
        assert_non_null(strstr(e.text, "truncated"));
        memcpy(file + 16, &sizes[i], 8); // as the number of sections
        assert_int_equal(file_write_atomic(copy, file, sizeof file, NULL), 0);
        assert_int_equal(resume_open_file(copy, &p, &e), -1);
        memcpy(file + 16, &head[1], 8);
        memcpy(file + 64, &sizes[i], 8); // as a name's length
        assert_int_equal(file_write_atomic(copy, file, sizeof file, NULL), 0);
        assert_int_equal(resume_open_file(copy, &p, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
    }
    remove(copy);
    free(copy);
}

static void test_temporaries(void **state)
{
    (void)state;
    save(1, 10);
    char *stale = xprintf("%s/point-2.islr-resume.tmp-aB3xYz", dir), *other = file_join(dir, "notes.txt");
    assert_int_equal(file_write_atomic(stale, "x", 1, NULL), 0);
    assert_int_equal(file_write_atomic(other, "x", 1, NULL), 0);
    expect_newest(1, 10); // does not take it for a point
    save(3, 10);
    assert_false(file_exists(stale));
    assert_true(file_exists(other)); // what is not ours stays
    free(stale);
    free(other);
}

// A writer is killed at random moments; the newest point is always whole and never older than the last one announced.
static void test_killed_writer(void **state)
{
    (void)state;
    enum { SIZE = 200000, ROUNDS = 25 };
    struct rng r = rng_make(1, RNG_BENCH, 1, 0, 0);
    uint64_t next = 1;
    for (int round = 0; round < ROUNDS; round++) {
        int announce[2];
        assert_int_equal(pipe(announce), 0);
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t step = next;; step++) {
                save(step, SIZE);
                if (write(announce[1], &step, sizeof step) != sizeof step)
                    _exit(1);
            }
        }
        close(announce[1]);
        uint64_t last = 0, step;
        assert_int_equal(read(announce[0], &step, sizeof step), sizeof step); // at least one
        clock_sleep(0.001 * rng_below(&r, 30));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (last = step; read(announce[0], &step, sizeof step) == sizeof step;)
            last = step;
        close(announce[0]);
        struct resume_point p;
        struct error e;
        if (resume_open(dir, NULL, &p, &e))
            fail_msg("%s", e.text);
        assert_true(p.step >= last);
        expect_content(&p, p.step, SIZE);
        next = p.step + 1;
        resume_close(&p);
    }
    save(next, SIZE);
    assert_int_equal(count_files(), RESUME_KEPT);
}

int main(void)
{
#define IN_FRESH(f) cmocka_unit_test_setup_teardown(f, fresh_directory, remove_fresh)
    const struct CMUnitTest tests[] = {
        IN_FRESH(test_save_and_open),     IN_FRESH(test_passed_over_points_take_no_place),
        IN_FRESH(test_read_checks_sizes), IN_FRESH(test_refused_sections),
        IN_FRESH(test_falls_back),        IN_FRESH(test_does_not_fall_back_past_what_is_not_read),
        IN_FRESH(test_every_bit),         IN_FRESH(test_hostile_sizes),
        IN_FRESH(test_temporaries),       IN_FRESH(test_killed_writer)};
    return cmocka_run_group_tests(tests, make_top, remove_top);
}
