// Preparation of whole sets: the same bytes for any number of threads and members, broken clips, interruption, kills,
// and the cache.
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/data/recordings.h"
#include "core/data/parquet.h"
#include "core/data/prepare.h"
#include "core/data/set.h"
#include "core/data/set_format.h"
#include "core/data/synth.h"
#include "tests/data/scratch.h"
#include "tests/data/team.h"

enum { CLIPS = 40 };
static const struct prepare_options usual = {.max_len = 25, .k = 3, .fold_seed = 42, .threads = 2};

// A layout of 40 clips in "<scratch>/<name>".
static char *make_data(void **state, const char *name)
{
    char *directory = scratch_path(state, name);
    struct synth_options o = {.signs = 5, .participants = 4, .clips = CLIPS, .seed = 3, .replace = true};
    struct error e;
    if (synth_write(directory, &o, &e))
        fail_msg("%s", e.text);
    return directory;
}

// Writes `text` over the recording of row `row`.
static void break_clip(const char *directory, size_t row, const char *text)
{
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    assert_non_null(r);
    char *path = file_join(directory, r->clips[row].path);
    scratch_write_bytes(path, text, strlen(text));
    free(path);
    recordings_free(r);
}

static struct set *open_set(const char *path)
{
    struct error e;
    struct set *s = set_open(path, &e);
    if (!s)
        fail_msg("%s", e.text);
    if (set_verify(s, 0, &e))
        fail_msg("%s", e.text);
    return s;
}

static void expect_equal_files(const char *a, const char *b)
{
    struct hash x, y;
    struct error e;
    assert_int_equal(hash_file(a, &x, &e), 0);
    assert_int_equal(hash_file(b, &y, &e), 0);
    assert_true(hash_equal(&x, &y));
}

// Files in a directory whose names begin so.
static int count_files(const char *directory, const char *prefix)
{
    int count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += !strncmp(entry->d_name, prefix, strlen(prefix));
    closedir(d);
    return count;
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

static void prepare_or_fail(const char *directory, const char *out, const struct prepare_options *o)
{
    struct error e;
    if (prepare_set(directory, out, o, NULL, &e))
        fail_msg("%s", e.text);
}

static void test_set_is_the_layout(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "set.islr");
    prepare_or_fail(directory, out, &usual);
    struct set *s = open_set(out);
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    assert_int_equal(set_count(s), CLIPS);
    assert_int_equal(set_fold_count(s), 3);
    assert_int_equal(set_fold_seed(s), 42);
    for (size_t i = 0; i < CLIPS; i++) {
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
    assert_int_equal(count_files(*state, "set.islr"), 1); // nothing is left beside it
    free(directory);
    free(out);
}

static void test_threads_and_members_do_not_matter(void **state)
{
    static const int sizes[] = {1, 2, 3, 7, 31};
    char *directory = make_data(state, "data"), *out = scratch_path(state, "one.islr");
    char *other = scratch_path(state, "other.islr"), *moved = scratch_path(state, "moved");
    break_clip(directory, 11, "x");
    struct job j = {directory, other, usual};
    j.o.threads = 1;
    prepare_or_fail(directory, out, &j.o);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int results[TEAM_MAX];
        struct error errors[TEAM_MAX];
        j.o.threads = 1 + (int)i % 3;
        team_run(sizes[i], run_job, &j, results, errors);
        for (int m = 0; m < sizes[i]; m++)
            if (results[m])
                fail_msg("member %d: %s", m, errors[m].text);
        expect_equal_files(out, other);
        assert_int_equal(count_files(*state, "other.islr"), 1);
    }
    assert_int_equal(rename(directory, moved), 0); // where the recordings lie does not matter either
    prepare_or_fail(moved, other, &usual);
    expect_equal_files(out, other);
    free(directory);
    free(moved);
    free(out);
    free(other);
}

static void test_options_matter(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "a.islr");
    struct prepare_options o = usual;
    o.max_len = 5;
    o.k = 0;
    prepare_or_fail(directory, out, &o);
    struct set *s = open_set(out);
    assert_int_equal(set_max_len(s), 5);
    assert_int_equal(set_fold_count(s), 0);
    assert_int_equal(set_fold_seed(s), 0);
    for (size_t i = 0; i < CLIPS; i++) {
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
    char *directory = make_data(state, "data"), *out = scratch_path(state, "a.islr");
    break_clip(directory, 30, "");
    break_clip(directory, 7, "no parquet");
    struct seen seen = {0};
    struct prepare_options o = usual;
    o.watch = (struct prepare_watch){&seen, see_progress, see_broken, NULL};
    prepare_or_fail(directory, out, &o);
    assert_int_equal(seen.total, CLIPS);
    assert_int_equal(seen.calls, CLIPS);
    struct set *s = open_set(out);
    assert_int_equal(set_count(s), CLIPS - 2);
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
    char *directory = make_data(state, "data"), *out = scratch_path(state, "strict.islr");
    break_clip(directory, 30, "");
    break_clip(directory, 7, "");
    struct job j = {directory, out, usual};
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
    assert_int_equal(count_files(*state, "strict.islr"), 0);
    free(directory);
    free(out);
}

static void test_nothing_to_prepare(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "none.islr");
    for (size_t i = 0; i < CLIPS; i++)
        break_clip(directory, i, "");
    struct job j = {directory, out, usual};
    struct error e;
    assert_int_equal(prepare_set(directory, out, &usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "none of the 40 clips can be prepared"));
    int results[TEAM_MAX];
    struct error errors[TEAM_MAX];
    team_run(2, run_job, &j, results, errors);
    assert_non_null(strstr(errors[1].text, "none of the 40 clips can be prepared"));
    assert_int_equal(count_files(*state, "none.islr"), 0);
    free(directory);
    free(out);
}

// Clips that cannot be read for want of descriptors are not broken: the preparation fails instead of leaving them out.
static void test_out_of_descriptors(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "descriptors.islr");
    struct rlimit before, few;
    struct error e;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    int next = dup(0); // the limit leaves room for the lock and the set, and for no recording
    close(next);
    few.rlim_cur = (rlim_t)next + 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct prepare_options o = usual;
    o.threads = 1;
    int rc = prepare_set(directory, out, &o, NULL, &e);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, -1);
    assert_int_equal(e.code, ERR_FAILED);
    assert_non_null(strstr(e.text, ".parquet: cannot be read: Too many open files"));
    assert_int_equal(count_files(*state, "descriptors.islr"), 0);
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
    char *directory = make_data(state, "data"), *out = scratch_path(state, "unreadable.islr");
    struct error e;
    struct recordings *r = recordings_read(directory, 1, &e);
    struct vanishing v = {.path = file_join(directory, r->clips[30].path), .aside = scratch_path(state, "aside")};
    struct prepare_options o = usual;
    o.watch = (struct prepare_watch){.context = &v, .stopped = vanish};
    assert_int_equal(prepare_set(directory, out, &o, NULL, &e), -1);
    assert_int_equal(e.code, ERR_FAILED);
    assert_non_null(strstr(e.text, v.path));
    assert_int_equal(count_files(*state, "unreadable.islr"), 0);
    assert_int_equal(rename(v.aside, v.path), 0);
    assert_int_equal(prepare_set(directory, out, &usual, NULL, &e), 0);
    struct set *s = open_set(out);
    assert_int_equal(set_count(s), CLIPS);
    set_close(s);
    recordings_free(r);
    free(v.path);
    free(v.aside);
    free(directory);
    free(out);
}

static void test_no_place_to_write(void **state)
{
    char *directory = make_data(state, "data");
    struct error e;
    assert_int_equal(prepare_set(directory, *state, &usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "exists and is no file"));
    assert_int_equal(prepare_set(directory, "/nonexistent/a.islr", &usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "/nonexistent/a.islr"));
    assert_int_equal(prepare_set("/nonexistent", "/tmp/a.islr", &usual, NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    free(directory);
}

// ---- interruption ---------------------------------------------------------------------------------------------------

static bool stop_after_twenty(void *context)
{
    return atomic_fetch_add((atomic_int *)context, 1) >= 20;
}

static void test_interrupted(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "stopped.islr");
    free(scratch_write(state, "stopped.islr", "what was there before"));
    atomic_int calls = 0;
    struct job j = {directory, out, usual};
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
    assert_int_equal(count_files(*state, "stopped.islr"), 1);
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
    char *directory = make_data(state, "data"), *out = scratch_path(state, "killed.islr");
    struct job j = {directory, out, usual};
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
        clock_sleep(0.02 + 0.02 * (i % 8));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        litter += count_files(*state, "killed.islr.");
        if (file_exists(out))
            set_close(open_set(out));
    }
    assert_true(litter > 0); // or the test has shown nothing
    unlink(out);
    prepare_or_fail(directory, out, &usual);
    assert_int_equal(count_files(*state, "killed.islr"), 1);
    set_close(open_set(out));
    free(directory);
    free(out);
}

static void test_two_at_once(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "busy.islr");
    char *lock_path = xprintf("%s.lock", out);
    struct file_lock lock;
    struct error e;
    assert_int_equal(file_lock_try(&lock, lock_path, &e), 0);
    assert_int_equal(prepare_set(directory, out, &usual, NULL, &e), -1);
    assert_non_null(strstr(e.text, "another preparation is writing"));
    file_lock_release(&lock);
    assert_int_equal(prepare_set(directory, out, &usual, NULL, &e), 0);
    free(lock_path);
    free(directory);
    free(out);
}

// ---- the cache ------------------------------------------------------------------------------------------------------

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
    struct set *s = open_set(path);
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
    char *directory = make_data(state, "data"), *cache = scratch_path(state, "cache/sets");
    struct cached c = {directory, cache, usual, {0}};
    char *first = cached_or_fail(&c);
    ino_t made = inode(first);
    set_close(open_set(first));
    char *second = cached_or_fail(&c);
    assert_string_equal(first, second);
    assert_int_equal(inode(second), made); // not made again
    free(second);

    static const char damage[] = "damaged";
    scratch_write_bytes(first, damage, sizeof damage);
    second = cached_or_fail(&c);
    set_close(open_set(second)); // made again
    free(second);
    spoil_frames(first);
    second = cached_or_fail(&c);
    set_close(open_set(second)); // its frames too
    free(second);

    c.o.k = 2;
    char *other = cached_or_fail(&c);
    assert_string_not_equal(first, other);
    free(other);
    c.o.k = 3;
    break_clip(directory, 0, "broken");
    other = cached_or_fail(&c);
    assert_string_not_equal(first, other);
    c.o.strict = true;
    struct error e;
    assert_int_equal(run_cached(&c, NULL, &e), -1);
    assert_non_null(strstr(e.text, "lacks 1 broken clips"));
    assert_int_equal(count_files(cache, ""), 2 + 3);
    free(other);
    free(first);
    free(cache);
    free(directory);
}

static void test_damaged_set(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "set.islr");
    struct cached c = {out, "/nonexistent", usual, {0}};
    struct error e;
    assert_int_equal(prepare_set(directory, out, &usual, NULL, &e), 0);
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
    char *directory = make_data(state, "data"), *cache = scratch_path(state, "team-cache");
    struct cached c = {directory, cache, usual, {0}};
    for (int round = 0; round < 2; round++) {
        int results[TEAM_MAX];
        struct error errors[TEAM_MAX];
        team_run(4, run_cached, &c, results, errors);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(results[i], 0);
            assert_string_equal(c.paths[i], c.paths[0]);
        }
        set_close(open_set(c.paths[0]));
        for (int i = 0; i < 4; i++)
            free(c.paths[i]);
    }
    assert_int_equal(count_files(cache, ""), 2 + 1);
    free(cache);
    free(directory);
}

// Two processes that want the same set: one makes it, the other waits for it.
static void test_cache_is_shared(void **state)
{
    char *directory = make_data(state, "data"), *cache = scratch_path(state, "shared-cache");
    struct cached c = {directory, cache, usual, {0}};
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
    assert_int_equal(count_files(cache, ""), 2 + 1);
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
    char *directory = make_data(state, "data"), *out = scratch_path(state, "ready.islr");
    prepare_or_fail(directory, out, &usual);
    struct cached c = {out, "/nonexistent", usual, {0}};
    char *path = cached_or_fail(&c);
    assert_string_equal(path, out);
    free(path);
    c.o.max_len = 80;
    expect_unfit(&c, "was prepared for max_len 25, not 80");
    c.o = usual;
    c.o.k = 4;
    expect_unfit(&c, "was prepared with 3 folds, not 4");
    c.o = usual;
    c.o.fold_seed = 1;
    expect_unfit(&c, "was prepared with the fold seed 42, not 1");
    c.o.any_folds = true;
    free(cached_or_fail(&c));
    c.o = usual;
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
    char *directory = make_data(state, "data"), *cache = scratch_path(state, "few");
    struct cached c = {directory, cache, usual, {0}};
    c.o.k = 5;
    expect_unfit(&c, "5 folds need at least 5 participants");
    c.o.any_folds = true;
    char *path = cached_or_fail(&c);
    struct set *s = open_set(path);
    assert_int_equal(set_fold_count(s), 0);
    set_close(s);
    free(path);
    c.o.k = 4; // where they can be made, they are
    path = cached_or_fail(&c);
    s = open_set(path);
    assert_int_equal(set_fold_count(s), 4);
    set_close(s);
    free(path);
    free(cache);
    free(directory);
}

static void test_fold_file(void **state)
{
    char *directory = make_data(state, "data"), *out = scratch_path(state, "folds.islr");
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
    prepare_or_fail(directory, out, &o);
    struct set *s = open_set(out);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_is_the_layout),
                                       cmocka_unit_test(test_threads_and_members_do_not_matter),
                                       cmocka_unit_test(test_options_matter),
                                       cmocka_unit_test(test_broken_clips),
                                       cmocka_unit_test(test_strict),
                                       cmocka_unit_test(test_nothing_to_prepare),
                                       cmocka_unit_test(test_out_of_descriptors),
                                       cmocka_unit_test(test_unreadable),
                                       cmocka_unit_test(test_no_place_to_write),
                                       cmocka_unit_test(test_interrupted),
                                       cmocka_unit_test(test_killed),
                                       cmocka_unit_test(test_two_at_once),
                                       cmocka_unit_test(test_cache),
                                       cmocka_unit_test(test_damaged_set),
                                       cmocka_unit_test(test_cache_in_a_team),
                                       cmocka_unit_test(test_cache_is_shared),
                                       cmocka_unit_test(test_ready_made_set),
                                       cmocka_unit_test(test_too_few_participants),
                                       cmocka_unit_test(test_fold_file)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
