// The prepared set of whatever a job names: made once and kept in the cache, or a set that is there already.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/data/recordings.h"
#include "core/data/set_format.h"
#include "tests/data/small_data.h"
#include "tests/data/scratch.h"
#include "tests/data/team.h"

struct cached {
    const char *data, *cache;
    struct prepare_options o;
    char *paths[TEAM_MAX];
};

static int run_cached(void *context, const struct prepare_team *team, struct error *e)
{
    struct cached *c = context;
    return prepare_cached(c->data, c->cache, &c->o, team, &c->paths[team ? team->rank : 0], e);
}

static char *cached_or_fail(struct cached *c)
{
    struct error e;
    if (run_cached(c, NULL, &e))
        fail_msg("%s", e.text);
    return c->paths[0];
}

static ino_t inode(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

// One bit of the last clip's frames is another: nothing but their hash knows.
static void spoil_frames(const char *path)
{
    struct set *s = data_open_set(path);
    long at = (long)SET_FRAMES_AT + (long)(set_frame_count(s) * SET_FRAME_BYTES) - 8;
    set_close(s);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
    fclose(f);
}

static void test_cache(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "cache/sets");
    struct cached c = {directory, cache, data_usual, {0}};
    char *first = cached_or_fail(&c);
    ino_t made = inode(first);
    set_close(data_open_set(first));
    char *second = cached_or_fail(&c);
    assert_string_equal(first, second);
    assert_int_equal(inode(second), made); // not made again
    free(second);

    static const char damage[] = "damaged";
    scratch_write_bytes(first, damage, sizeof damage);
    second = cached_or_fail(&c);
    set_close(data_open_set(second)); // made again
    free(second);
    spoil_frames(first);
    second = cached_or_fail(&c);
    set_close(data_open_set(second)); // its frames too
    free(second);

    c.o.k = 2;
    char *other = cached_or_fail(&c);
    assert_string_not_equal(first, other);
    free(other);
    c.o.k = 3;
    data_break_clip(directory, 0, "broken");
    other = cached_or_fail(&c);
    assert_string_not_equal(first, other);
    c.o.strict = true;
    struct error e;
    assert_int_equal(run_cached(&c, NULL, &e), -1);
    assert_non_null(strstr(e.text, "lacks 1 broken clips"));
    assert_int_equal(data_count_files(cache, ""), 2 + 3);
    free(other);
    free(first);
    free(cache);
    free(directory);
}

// Another recording in the place of one, of as many bytes: its time tells.
static void test_changed_recording(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "changed");
    struct cached c = {directory, cache, data_usual, {0}};
    data_break_clip(directory, 0, "one text");
    char *first = cached_or_fail(&c);
    clock_sleep(0.02); // longer than a tick of the file system's clock
    data_break_clip(directory, 0, "another!");
    char *second = cached_or_fail(&c);
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    free(cache);
    free(directory);
}

static void test_damaged_set(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "set.islr");
    struct cached c = {out, "/nonexistent", data_usual, {0}};
    struct error e;
    assert_int_equal(prepare_set(directory, out, &data_usual, NULL, &e), 0);
    free(cached_or_fail(&c));
    spoil_frames(out);
    assert_int_equal(run_cached(&c, NULL, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    if (!strstr(e.text, out) || !strstr(e.text, "are damaged"))
        fail_msg("%s", e.text);
    // The last member alone has that clip in its share, and all are told.
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    team_run(3, run_cached, &c, results, errors);
    for (int i = 0; i < 3; i++)
        assert_true(results[i] == -1 && errors[i].code == ERR_DAMAGED);
    free(directory);
    free(out);
}

static void test_cache_in_a_team(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "team-cache");
    struct cached c = {directory, cache, data_usual, {0}};
    for (int round = 0; round < 2; round++) {
        int results[TEAM_MAX];
        struct error errors[TEAM_MAX];
        team_run(4, run_cached, &c, results, errors);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(results[i], 0);
            assert_string_equal(c.paths[i], c.paths[0]);
        }
        set_close(data_open_set(c.paths[0]));
        for (int i = 0; i < 4; i++)
            free(c.paths[i]);
    }
    assert_int_equal(data_count_files(cache, ""), 2 + 1);
    free(cache);
    free(directory);
}

// Two processes that want the same set: one makes it, the other waits for it.
static void test_cache_is_shared(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "shared-cache");
    struct cached c = {directory, cache, data_usual, {0}};
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        if (!children[i]) {
            struct error e;
            _exit(run_cached(&c, NULL, &e) ? 1 : 0);
        }
    }
    for (int i = 0; i < 3; i++) {
        int status;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(data_count_files(cache, ""), 2 + 1);
    free(cache);
    free(directory);
}

static bool stop_soon(void *context)
{
    return ++*(int *)context > 3;
}

// Who waits for a set that another process makes can be interrupted.
static void test_waiting_is_interrupted(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "waiting");
    struct cached c = {directory, cache, data_usual, {0}};
    char *path = cached_or_fail(&c), *lock_path = xprintf("%s.lock", path);
    struct file_lock lock;
    struct error e;
    int asked = 0;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_lock_try(&lock, lock_path, &e), 0);
    c.o.watch = (struct prepare_watch){.context = &asked, .stopped = stop_soon};
    assert_int_equal(run_cached(&c, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INTERRUPTED);
    file_lock_release(&lock);
    free(lock_path);
    free(path);
    free(cache);
    free(directory);
}

static void expect_unfit(struct cached *c, const char *fault)
{
    struct error e = {0};
    assert_int_equal(run_cached(c, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.text, fault))
        fail_msg("\"%s\" does not say \"%s\"", e.text, fault);
}

static void test_ready_made_set(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "ready.islr");
    data_prepare(directory, out, &data_usual);
    struct cached c = {out, "/nonexistent", data_usual, {0}};
    char *path = cached_or_fail(&c);
    assert_string_equal(path, out);
    free(path);
    c.o.max_len = 80;
    expect_unfit(&c, "was prepared for max_len 25, not 80");
    c.o = data_usual;
    c.o.k = 4;
    expect_unfit(&c, "was prepared with 3 folds, not 4");
    c.o = data_usual;
    c.o.fold_seed = 1;
    expect_unfit(&c, "was prepared with the fold seed 42, not 1");
    c.o.any_folds = true;
    free(cached_or_fail(&c));
    c.o = data_usual;
    c.data = "/nonexistent";
    struct error e;
    assert_int_equal(run_cached(&c, NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    free(directory);
    free(out);
}

// Four participants do not make five folds; where none are needed, that does not matter.
static void test_too_few_participants(void **state)
{
    char *directory = data_make(state, "data"), *cache = scratch_path(state, "few");
    struct cached c = {directory, cache, data_usual, {0}};
    c.o.k = 5;
    expect_unfit(&c, "5 folds need at least 5 participants");
    c.o.any_folds = true;
    char *path = cached_or_fail(&c);
    struct set *s = data_open_set(path);
    assert_int_equal(set_fold_count(s), 0);
    set_close(s);
    free(path);
    c.o.k = 4; // where they can be made, they are
    path = cached_or_fail(&c);
    s = data_open_set(path);
    assert_int_equal(set_fold_count(s), 4);
    set_close(s);
    free(path);
    free(cache);
    free(directory);
}

static void test_fold_file(void **state)
{
    char *directory = data_make(state, "data"), *out = scratch_path(state, "folds.islr");
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    struct strbuf csv = {0};
    strbuf_printf(&csv, "participant_id,sequence_id,fold\n");
    for (size_t i = 0; i < r->count; i++)
        strbuf_printf(&csv, "%lld,%lld,%zu\n", (long long)r->clips[i].participant, (long long)r->clips[i].sequence,
                      i % 2);
    char *folds = scratch_write(state, "folds.csv", csv.text);
    csv.text[csv.length - 2] ^= 1;
    char *others = scratch_write(state, "other-folds.csv", csv.text);
    struct prepare_options o = {.max_len = 25, .fold_file = folds};
    data_prepare(directory, out, &o);
    struct set *s = data_open_set(out);
    assert_true(set_folds_given(s));
    assert_int_equal(set_fold_count(s), 2);
    assert_int_equal(set_clip(s, 3)->fold, 1);
    set_close(s);
    struct cached c = {out, "/nonexistent", o, {0}};
    free(cached_or_fail(&c));
    c.o.fold_file = others;
    expect_unfit(&c, "was prepared with other folds than those in");
    recordings_free(r);
    free(csv.text);
    free(folds);
    free(others);
    free(directory);
    free(out);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache),           cmocka_unit_test(test_changed_recording),
        cmocka_unit_test(test_damaged_set),     cmocka_unit_test(test_cache_in_a_team),
        cmocka_unit_test(test_cache_is_shared), cmocka_unit_test(test_waiting_is_interrupted),
        cmocka_unit_test(test_ready_made_set),  cmocka_unit_test(test_too_few_participants),
        cmocka_unit_test(test_fold_file)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
