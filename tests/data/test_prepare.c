// Preparation of whole sets: the same bytes for any number of threads and members, broken clips, interruption, kills.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/data/recordings.h"
#include "tests/data/small_data.h"
#include "tests/data/scratch.h"
#include "tests/data/team.h"

static void expect_equal_files(const char *a, const char *b)
{
    struct hash x, y;
    struct error e;
    assert_int_equal(hash_file(a, &x, &e), 0);
    assert_int_equal(hash_file(b, &y, &e), 0);
    assert_true(hash_equal(&x, &y));
}

struct job {
    const char *directory, *out;
    struct prepare_options o;
};

static int run_job(void *context, const struct prepare_team *team, struct error *e)
{
    const struct job *j = context;
    return prepare_set(j->directory, j->out, &j->o, team, e);
}

static void test_set_is_the_layout(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "set.islr");
    data_prepare(directory, out, &data_usual);
    struct set *s = data_open_set(out);
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    assert_int_equal(set_count(s), DATA_CLIPS);
    assert_int_equal(set_fold_count(s), 3);
    assert_int_equal(set_fold_seed(s), 42);
    for (size_t i = 0; i < DATA_CLIPS; i++) {
        const struct set_clip *c = set_clip(s, i);
        assert_string_equal(c->path, r->clips[i].path);
        assert_int_equal(c->participant, r->clips[i].participant);
        assert_int_equal(c->sequence, r->clips[i].sequence);
        assert_int_equal(c->label, r->clips[i].label);
        assert_in_range(c->fold, 0, 2);
    }
    assert_string_equal(set_sign_name(s, 4), r->signs[4]);
    recordings_free(r);
    set_close(s);
    assert_int_equal(data_count_files(*state, "set.islr"), 1); // nothing is left beside it
    free(directory);
    free(out);
}

static void test_threads_and_members_do_not_matter(void **state)
{
    static const int sizes[] = {1, 2, 3, 7, 31};
    char *directory = data_make(state, "data"), *out = scratch_path(state, "one.islr");
    char *other = scratch_path(state, "other.islr"), *moved = scratch_path(state, "moved");
    data_break_clip(directory, 11, "x");
    struct job j = {directory, other, data_usual};
    j.o.threads = 1;
    data_prepare(directory, out, &j.o);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int results[TEAM_MAX];
        struct error errors[TEAM_MAX];
        j.o.threads = 1 + (int)i % 3;
        team_run(sizes[i], run_job, &j, results, errors);
        for (int m = 0; m < sizes[i]; m++)
            if (results[m])
                fail_msg("member %d: %s", m, errors[m].text);
        expect_equal_files(out, other);
        assert_int_equal(data_count_files(*state, "other.islr"), 1);
    }
    assert_int_equal(rename(directory, moved), 0); // where the recordings lie does not matter either
    data_prepare(moved, other, &data_usual);
    expect_equal_files(out, other);
    free(directory);
    free(moved);
    free(out);
    free(other);
}

static void test_options_matter(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "a.islr");
    struct prepare_options o = data_usual;
    o.max_len = 5;
    o.k = 0;
    data_prepare(directory, out, &o);
    struct set *s = data_open_set(out);
    assert_int_equal(set_max_len(s), 5);
    assert_int_equal(set_fold_count(s), 0);
    assert_int_equal(set_fold_seed(s), 0);
    for (size_t i = 0; i < DATA_CLIPS; i++) {
        assert_in_range(set_clip(s, i)->frames, 1, 5);
        assert_int_equal(set_clip(s, i)->fold, -1);
    }
    set_close(s);
    struct error e;
    o.max_len = 0;
    assert_int_equal(prepare_set(directory, out, &o, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    o.max_len = 25;
    o.k = 5;
    assert_int_equal(prepare_set(directory, out, &o, NULL, &e), -1);
    assert_non_null(strstr(e.text, "5 folds need at least 5 participants"));
    free(directory);
    free(out);
}

// ---- broken clips ---------------------------------------------------------------------------------------------------

struct seen {
    struct strbuf broken;
    size_t done, total, calls;
};

static void see_progress(void *context, size_t done, size_t total)
{
    struct seen *s = context;
    assert_true(done == s->done + 1);
    s->done = done;
    s->total = total;
    s->calls++;
}

static void see_broken(void *context, const char *path, const char *reason)
{
    struct seen *s = context;
    strbuf_printf(&s->broken, "%s=%s\n", path, reason);
}

static void test_broken_clips(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "a.islr");
    data_break_clip(directory, 30, "");
    data_break_clip(directory, 7, "no parquet");
    struct seen seen = {0};
    struct prepare_options o = data_usual;
    o.watch = (struct prepare_watch){&seen, see_progress, see_broken, NULL};
    data_prepare(directory, out, &o);
    assert_int_equal(seen.total, DATA_CLIPS);
    assert_int_equal(seen.calls, DATA_CLIPS);
    struct set *s = data_open_set(out);
    assert_int_equal(set_count(s), DATA_CLIPS - 2);
    assert_int_equal(set_skipped_count(s), 2);
    assert_string_equal(set_skipped(s, 1)->reason, "the file is empty");
    char *told = xprintf("%s=%s\n%s=%s\n", set_skipped(s, 0)->path, set_skipped(s, 0)->reason, set_skipped(s, 1)->path,
                         set_skipped(s, 1)->reason);
    assert_string_equal(seen.broken.text, told); // in train.csv's order
    assert_non_null(strstr(told, "not a sound parquet file"));
    free(told);
    free(seen.broken.text);
    set_close(s);
    free(directory);
    free(out);
}

static void test_strict(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "strict.islr");
    data_break_clip(directory, 30, "");
    data_break_clip(directory, 7, "");
    struct job j = {directory, out, data_usual};
    j.o.strict = true;
    struct error e;
    assert_int_equal(prepare_set(directory, out, &j.o, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "2 of 40 clips are broken, the first: train_landmark_files/"));
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    team_run(3, run_job, &j, results, errors);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(results[i], -1);
        assert_int_equal(errors[i].code, ERR_INVALID);
        assert_non_null(strstr(errors[i].text, "clips are broken"));
    }
    assert_int_equal(data_count_files(*state, "strict.islr"), 0);
    free(directory);
    free(out);
}

static void test_nothing_to_prepare(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "none.islr");
    for (size_t i = 0; i < DATA_CLIPS; i++)
        data_break_clip(directory, i, "");
    struct job j = {directory, out, data_usual};
    struct error e;
    assert_int_equal(prepare_set(directory, out, &data_usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "none of the 40 clips can be prepared"));
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    team_run(2, run_job, &j, results, errors);
    assert_non_null(strstr(errors[1].text, "none of the 40 clips can be prepared"));
    assert_int_equal(data_count_files(*state, "none.islr"), 0);
    free(directory);
    free(out);
}

// Clips that cannot be read for want of descriptors are not broken: the preparation fails instead of leaving them out.
static void test_out_of_descriptors(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "descriptors.islr");
    struct rlimit before, few;
    struct error e;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    int next = dup(0); // the limit leaves room for the lock and the set, and for no recording
    close(next);
    few.rlim_cur = (rlim_t)next + 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct prepare_options o = data_usual;
    o.threads = 1;
    int rc = prepare_set(directory, out, &o, NULL, &e);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, -1);
    assert_int_equal(e.code, ERR_FAILED);
    assert_non_null(strstr(e.text, ".parquet: cannot be read: Too many open files"));
    assert_int_equal(data_count_files(*state, "descriptors.islr"), 0);
    free(directory);
    free(out);
}

// A recording that is there when the preparation begins, and that nobody can read when its turn comes.
struct vanishing {
    char *path, *aside;
    atomic_int calls;
};

static bool vanish(void *context)
{
    struct vanishing *v = context;
    if (!atomic_fetch_add(&v->calls, 1) && (rename(v->path, v->aside) || symlink(v->path, v->path)))
        abort();
    return false;
}

static void test_unreadable(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "unreadable.islr");
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    struct vanishing v = {.path = file_join(directory, r->clips[30].path), .aside = scratch_path(state, "aside")};
    struct prepare_options o = data_usual;
    o.watch = (struct prepare_watch){.context = &v, .stopped = vanish};
    assert_int_equal(prepare_set(directory, out, &o, NULL, &e), -1);
    assert_int_equal(e.code, ERR_FAILED);
    assert_non_null(strstr(e.text, v.path));
    assert_int_equal(data_count_files(*state, "unreadable.islr"), 0);
    assert_int_equal(rename(v.aside, v.path), 0);
    assert_int_equal(prepare_set(directory, out, &data_usual, NULL, &e), 0);
    struct set *s = data_open_set(out);
    assert_int_equal(set_count(s), DATA_CLIPS);
    set_close(s);
    recordings_free(r);
    free(v.path);
    free(v.aside);
    free(directory);
    free(out);
}

static void test_no_place_to_write(void **state)
{
    char *directory = data_make(state, "data");
    struct error e;
    assert_int_equal(prepare_set(directory, *state, &data_usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "exists and is no file"));
    assert_int_equal(prepare_set(directory, "/nonexistent/a.islr", &data_usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "/nonexistent/a.islr"));
    assert_int_equal(prepare_set("/nonexistent", "/tmp/a.islr", &data_usual, NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    free(directory);
}

// A member's own directory, as of a file system that is not the same everywhere.
static int run_in_own(void *context, const struct prepare_team *team, struct error *e)
{
    const struct job *j = context;
    char *directory = xprintf("%s%d", j->directory, team->rank);
    int rc = prepare_set(directory, j->out, &j->o, team, e);
    free(directory);
    return rc;
}

static void test_members_see_different_data(void **state)
{
    char *first = data_make(state, "data-0"), *second = data_make(state, "data-1");
    char *data = scratch_path(state, "data-"), *out = scratch_path(state, "different.islr");
    struct job j = {data, out, data_usual};
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    data_break_clip(second, 3, "another recording");
    team_run(2, run_in_own, &j, results, errors);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(results[i], -1);
        if (!strstr(errors[i].text, "the members do not see the same data"))
            fail_msg("%s", errors[i].text);
    }
    assert_int_equal(data_count_files(*state, "different.islr"), 0);
    free(first);
    free(second);
    free(data);
    free(out);
}

// ---- interruption ---------------------------------------------------------------------------------------------------

static bool stop_after_twenty(void *context)
{
    return atomic_fetch_add((atomic_int *)context, 1) >= 20;
}

static void test_interrupted(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "stopped.islr");
    free(scratch_write(state, "stopped.islr", "what was there before"));
    atomic_int calls = 0;
    struct job j = {directory, out, data_usual};
    j.o.watch = (struct prepare_watch){&calls, NULL, NULL, stop_after_twenty};
    struct error e;
    assert_int_equal(prepare_set(directory, out, &j.o, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INTERRUPTED);
    calls = 0;
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    team_run(3, run_job, &j, results, errors);
    assert_int_equal(errors[2].code, ERR_INTERRUPTED);
    char *text;
    size_t size;
    assert_int_equal(file_read(out, 100, &text, &size, &e), 0);
    assert_string_equal(text, "what was there before");
    assert_int_equal(data_count_files(*state, "stopped.islr"), 1);
    free(text);
    free(directory);
    free(out);
}

static bool slow_down(void *context)
{
    (void)context;
    clock_sleep(0.004);
    return false;
}

// kill -9 at any moment leaves no set or a whole one, and what else it leaves goes with the next preparation.
static void test_killed(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "killed.islr");
    struct job j = {directory, out, data_usual};
    j.o.threads = 1;
    j.o.watch.stopped = slow_down; // so that 40 clips take some 200 ms
    int litter = 0;
    for (int i = 0; i < 8 || (!litter && i < 80); i++) {
        pid_t child = fork();
        if (!child) {
            int results[TEAM_MAX];
            struct error errors[TEAM_MAX];
            team_run(2, run_job, &j, results, errors);
            _exit(0);
        }
        clock_sleep((0.02 + 0.02 * (i % 8)) * (1 + i / 8)); // later, where it is begun later
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        litter += data_count_files(*state, "killed.islr.");
        if (file_exists(out))
            set_close(data_open_set(out));
    }
    assert_true(litter > 0); // or the test has shown nothing
    unlink(out);
    data_prepare(directory, out, &data_usual);
    assert_int_equal(data_count_files(*state, "killed.islr"), 1);
    set_close(data_open_set(out));
    free(directory);
    free(out);
}

static void test_two_at_once(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "busy.islr");
    char *lock_path = xprintf("%s.lock", out);
    struct file_lock lock;
    struct error e;
    assert_int_equal(file_lock_try(&lock, lock_path, &e), 0);
    assert_int_equal(prepare_set(directory, out, &data_usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "another preparation is writing"));
    file_lock_release(&lock);
    assert_int_equal(prepare_set(directory, out, &data_usual, NULL, &e), 0);
    free(lock_path);
    free(directory);
    free(out);
}
int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_is_the_layout),
                                       cmocka_unit_test(test_threads_and_members_do_not_matter),
                                       cmocka_unit_test(test_options_matter),
                                       cmocka_unit_test(test_broken_clips),
                                       cmocka_unit_test(test_strict),
                                       cmocka_unit_test(test_nothing_to_prepare),
                                       cmocka_unit_test(test_out_of_descriptors),
                                       cmocka_unit_test(test_unreadable),
                                       cmocka_unit_test(test_no_place_to_write),
                                       cmocka_unit_test(test_members_see_different_data),
                                       cmocka_unit_test(test_interrupted),
                                       cmocka_unit_test(test_killed),
                                       cmocka_unit_test(test_two_at_once)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
