// Files between a worker rank and its server: what a job makes arrives, what it needs is fetched, and nobody else's is read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/ckpt/resume.h"
#include "core/rpc/protocol.h"
#include "daemon/work_scratch.h"
#include "tests/work/jobs.h"

// ---- files ----------------------------------------------------------------------------------------------------------

enum { LARGE = 5 * RPC_CHUNK_MAX + 77 };

static int saves(struct bench *b, const struct work_job *j, struct error *e)
{
    const char *members[2];
    char *paths[4];
    (void)e;
    (void)b;
    for (uint64_t step = 1; step <= 50; step++)
        job_say(j->sink, step);
    paths[0] = job_save(j, "one", 1000, 'a');
    job_tell_file(j, "distilled", paths[0], 1, 50);
    struct sink_metric found[] = {{"accuracy/student", 0.5}, {"accuracy/distilled", 0.75}, {"loss/valid", 1}};
    j->sink->metrics(j->sink->context,
                     &(struct sink_metrics){.step = 60, .epoch = 1, .evaluation = 1, .count = 3, .metrics = found});
    paths[1] = job_save(j, "two", LARGE, 'b');
    job_tell_file(j, "distilled", paths[1], 2, 60);
    for (uint64_t step = 51; step <= 100; step++)
        job_say(j->sink, step);
    for (int i = 0; i < 20; i++) { // each replaces the one before, faster than they can be sent
        char *point = job_save(j, "point", LARGE, i);
        job_tell_file(j, "resume", point, 0, 100 + (uint64_t)i);
        free(point);
    }
    paths[2] = job_save(j, "three", 0, 0);
    job_tell_file(j, "summary", paths[2], 0, 120);
    paths[3] = job_save(j, "soup", 2000, 'c');
    members[0] = paths[0];
    members[1] = paths[1];
    j->sink->file(
        j->sink->context,
        &(struct sink_file){.what = "soup", .path = paths[3], .step = 120, .member_count = 2, .members = members});
    for (int i = 0; i < 4; i++) {
        unlink(paths[i]); // the run has gone on
        free(paths[i]);
    }
    return 0;
}

static const struct bench_checkpoint *find(const struct bench *b, const char *what, uint64_t step)
{
    for (int i = 0; i < b->checkpoint_count; i++)
        if (!strcmp(b->checkpoints[i].what, what) && b->checkpoints[i].step == step)
            return &b->checkpoints[i];
    return NULL;
}

static void check_saved(const struct bench *b)
{
    const struct bench_checkpoint *one = find(b, "distilled", 50), *two = find(b, "distilled", 60);
    const struct bench_checkpoint *soup = find(b, "soup", 120);
    assert_int_equal(b->records, 111);
    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(soup);
    assert_true(one->records >= 55 && two->records >= 55); // the records before them were there
    assert_int_equal(one->figures, 0);
    assert_int_equal(two->figures, 1); // its own of the evaluation at its step
    assert_int_equal(soup->members, 2);
    assert_true(hash_equal(&soup->member[0], &one->sha256));
    assert_true(hash_equal(&soup->member[1], &two->sha256));
    assert_non_null(find(b, "summary", 120));
    assert_non_null(find(b, "resume", 119)); // the last one; of those before only what was under way
}

static void files_are_delivered(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, saves);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    check_saved(&b);
    bench_close(&b);
}

// A soup that the server refuses is lost: the run has not succeeded, and what it made stays where it is.
static void a_file_that_is_refused_fails_the_run(void **state)
{
    struct bench b = {.refuse_what = "soup"};
    (void)state;
    bench_open(&b, saves);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED);
    assert_string_equal(b.reason, "the server has not got the run's soup: it has too many ingredients");
    assert_int_equal(b.retryable, 0);
    assert_non_null(find(&b, "summary", 120)); // the others are there
    bench_settle(&b);
    char *directory = bench_directory(&b, 1);
    assert_int_equal(access(directory, F_OK), 0);
    free(directory);
    bench_close(&b);
}

// What the server cannot find or finds damaged is sent anew, but not for ever.
static void a_file_that_is_never_found_fails_the_run(void **state)
{
    struct bench b = {.refuse_what = "soup", .refuse_code = ERR_NOT_FOUND};
    (void)state;
    bench_open(&b, saves);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED);
    assert_string_equal(b.reason, "the server has not got the run's soup: it has too many ingredients");
    assert_int_equal(b.refused_files, 3);
    bench_close(&b);
}

static int saves_and_waits(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)e;
    for (uint64_t step = 1; step <= 50; step++)
        job_say(j->sink, step);
    char *path = job_save(j, "one", 1000, 'a');
    job_tell_file(j, "distilled", path, 1, 50);
    free(path);
    job_wait(b);
    return 0;
}

// It is there, but not named before the records that it stands on are.
static void a_file_waits_for_the_records_before_it(void **state)
{
    struct bench b = {.deaf = 1};
    (void)state;
    bench_open(&b, saves_and_waits);
    bench_assign(&b, 1, 1, NULL, 0);
    for (int i = 0; !b.artifact_count || b.artifacts[0].have < b.artifacts[0].total || b.passed_over < 55; i++) {
        assert_true(i < 100000);
        rig_run_for(&b.rig, 1);
    }
    rig_run_for(&b.rig, 100);
    assert_int_equal(b.checkpoint_count, 0);
    b.deaf = 0;
    peer_close(b.rank[0], NULL); // records without an answer are sent again
    atomic_store(&b.go_on, 1);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.checkpoint_count, 1);
    assert_int_equal(b.checkpoints[0].records, 55);
    bench_close(&b);
}

static int saves_when_told(struct bench *b, const struct work_job *j, struct error *e)
{
    job_wait(b);
    int rc = saves(b, j, e);
    atomic_store(&b->go_on, 0);
    return rc;
}

static void only_the_newest_resume_point_waits(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, saves_when_told);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.assign_ok);
    peer_close(b.rank[0], NULL);
    rig_unlisten(&b.rig);
    rig_run_for(&b.rig, 20);
    atomic_store(&b.go_on, 1);
    for (int i = 0; atomic_load(&b.go_on); i++) {
        assert_true(i < 50000);
        rig_run_for(&b.rig, 2);
    }
    rig_listen(&b.rig);
    rig_run_until(&b.rig, &b.finished);
    check_saved(&b);
    assert_int_equal(b.checkpoint_count, 5); // two models, a soup, a summary, one resume point
    bench_close(&b);
}

static void files_over_broken_connections(void **state)
{
    (void)state;
    for (unsigned every = 3; every < 8; every += 2) {
        struct bench b = {.hang_up_every = every};
        bench_open(&b, saves);
        bench_assign(&b, 1, 1, NULL, 0);
        while (!b.finished)
            uv_run(&b.rig.loop, UV_RUN_ONCE);
        check_saved(&b);
        bench_close(&b);
    }
}

static void full_disk_at_the_server_is_waited_out(void **state)
{
    struct bench b = {.refuse_files = 1};
    (void)state;
    bench_open(&b, saves);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    check_saved(&b);
    bench_close(&b);
}

// ---- resuming -------------------------------------------------------------------------------------------------------

static int resumes(struct bench *b, const struct work_job *j, struct error *e)
{
    struct resume_point point;
    char *resume = file_join(j->directory, "resume"),
         *epoch = file_join(j->directory, "checkpoints/epoch-0002/student.safetensors");
    char *later = file_join(j->directory, "checkpoints/epoch-0009/student.safetensors"), *data;
    size_t size;
    (void)b;
    assert_int_equal(j->resume, 1);
    assert_int_equal(resume_open(resume, NULL, &point, e), 0);
    assert_int_equal(point.step, 40);
    resume_close(&point);
    assert_int_equal(file_read(epoch, 100, &data, &size, e), 0);
    assert_string_equal(data, "weights");
    free(data);
    assert_false(file_exists(later));
    free(resume);
    free(epoch);
    free(later);
    for (uint64_t step = 41; step <= 41; step++)
        job_say(j->sink, step);
    return 0;
}

// A resume point of step 40 at the server, in a file as core/ckpt writes it.
static void make_point(struct bench *b, uint64_t step, struct hash *sha256, uint64_t *size)
{
    char directory[128], file[160], *data;
    size_t n;
    static uint8_t content[3 * RPC_CHUNK_MAX];
    struct resume_section section = {"weights", content, sizeof content};
    snprintf(directory, sizeof directory, "%s/made", b->rig.directory);
    snprintf(file, sizeof file, "%s/point-%llu.islr-resume", directory, (unsigned long long)step);
    assert_int_equal(resume_save(directory, step, &section, 1, NULL), 0);
    assert_int_equal(file_read(file, 1 << 26, &data, &n, NULL), 0);
    bench_add_artifact(b, data, n, sha256);
    *size = n;
    free(data);
    assert_int_equal(file_remove_tree(directory, NULL), 0);
}

static void resume_point_and_checkpoints_are_fetched(void **state)
{
    struct bench b = {0};
    struct hash point, weights;
    uint64_t size;
    (void)state;
    bench_open(&b, resumes);
    make_point(&b, 40, &point, &size);
    bench_add_artifact(&b, "weights", 7, &weights);
    bench_add_checkpoint(&b, "student", 2, 20, &weights);
    bench_add_checkpoint(&b, "student", 9, 90, &weights); // of an attempt that got further and was lost
    bench_add_checkpoint(&b, "soup", 0, 40, &weights);
    for (int local = 0; local < 2; local++) { // first from the server, then what that left here
        b.finished = 0;
        if (local) {
            b.job = job_until_stopped;
            bench_assign(&b, 1, 2, &point, size);
            while (!atomic_load(&b.running))
                rig_run_for(&b.rig, 1);
            bench_stop(&b, 1, 2, ISLR__STOP__WHY__WHY_PREEMPT);
            rig_run_until(&b.rig, &b.finished);
            b.finished = 0;
            b.job = resumes;
            bench_settle(&b);
        }
        bench_assign(&b, 1, 1 + 2 * (uint32_t)local, &point, size);
        rig_run_until(&b.rig, &b.finished);
        assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED);
        bench_settle(&b);
    }
    bench_close(&b);
}

static void damaged_resume_point_is_said(void **state)
{
    struct bench b = {0};
    struct hash point;
    (void)state;
    bench_open(&b, resumes);
    bench_add_artifact(&b, "no resume point", 15, &point);
    bench_assign(&b, 1, 1, &point, 15);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED);
    assert_non_null(strstr(b.reason, "resume"));
    assert_int_equal(b.retryable, 1); // another attempt may be given an older one
    b.finished = 0;
    memset(point.bytes, 7, sizeof point.bytes);
    bench_assign(&b, 2, 1, &point, 15);
    rig_run_until(&b.rig, &b.finished);
    assert_non_null(strstr(b.reason, "there is no such artifact"));
    bench_close(&b);
}

static int checks_fresh(struct bench *b, const struct work_job *j, struct error *e)
{
    char *old = file_join(j->directory, "metrics.jsonl");
    (void)b;
    (void)e;
    assert_false(file_exists(old));
    assert_int_equal(j->resume, 0);
    free(old);
    return 0;
}

// What a lost attempt left where the server knows of no resume point stands on figures that were not delivered.
static void leftovers_are_not_gone_on_with(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, checks_fresh);
    char *directory = bench_directory(&b, 1), *left = file_join(directory, "metrics.jsonl");
    assert_int_equal(file_make_dirs(directory, NULL), 0);
    assert_int_equal(file_write_atomic(left, "old", 3, NULL), 0);
    bench_assign(&b, 1, 2, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED);
    free(left);
    free(directory);
    bench_close(&b);
}

static int reads_input(struct bench *b, const struct work_job *j, struct error *e)
{
    char *data;
    size_t size;
    (void)b;
    if (file_read(j->job->init->student, 100, &data, &size, e))
        return -1;
    assert_string_equal(data, "weights");
    free(data);
    return 0;
}

static void inputs_are_fetched(void **state)
{
    struct bench b = {0};
    struct hash weights;
    char by_hash[80] = "sha256:";
    (void)state;
    bench_open(&b, reads_input);
    bench_add_artifact(&b, "weights", 7, &weights);
    bench_add_checkpoint(&b, "soup", 0, 40, &weights);
    hash_to_hex(&weights, by_hash + 7);
    const struct {
        const char *name, *reason;
    } rows[] = {{"5:soup", NULL},
                {by_hash, NULL},
                {"5:teacher", "has no 'teacher'; there is: soup"},
                {"5:all", NULL},
                {"@last:soup", "@last"},
                {"sha256:12", "64 hexadecimal digits"},
                {"/nowhere", "/nowhere"},
                {"0:soup", "does not name a run"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        b.finished = 0;
        b.init_student = rows[i].name;
        bench_assign(&b, i + 1, 1, NULL, 0);
        rig_run_until(&b.rig, &b.finished);
        if (!rows[i].reason && b.outcome != ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED)
            fail_msg("%s: %s", rows[i].name, b.reason);
        if (rows[i].reason && !strstr(b.reason, rows[i].reason))
            fail_msg("%s: %s", rows[i].name, b.reason);
        assert_int_equal(b.retryable, 0);
    }
    bench_close(&b);
}

static int notes_directory(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)e;
    assert_non_null(strstr(j->directory, "/run-1.5"));
    atomic_store(&b->go_on, 2);
    return 0;
}

static void place_in_use_is_left_alone(void **state)
{
    struct bench b = {0};
    struct file_lock lock;
    (void)state;
    bench_open(&b, notes_directory);
    char *directory = bench_directory(&b, 1), *name = xprintf("%s.lock", directory),
         *inside = file_join(directory, "x");
    assert_int_equal(file_make_dirs(directory, NULL), 0);
    assert_int_equal(file_write_atomic(inside, "x", 1, NULL), 0);
    assert_int_equal(file_lock_try(&lock, name, NULL), 0); // an orphan of an earlier world
    bench_assign(&b, 1, 5, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(atomic_load(&b.go_on), 2);
    assert_true(file_exists(inside));
    file_lock_release(&lock);
    free(directory);
    free(name);
    free(inside);
    bench_close(&b);
}

static void make_old(const char *path)
{
    time_t then = time(NULL) - (SCRATCH_DAYS * 24 + 1) * 3600;
    const struct timespec times[2] = {{.tv_sec = then}, {.tv_sec = then}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

// A run's directory with a file in it; both, one or none has not been touched for days.
static char *make_left(const struct bench *b, uint64_t run, int old, int old_file)
{
    char *directory = bench_directory(b, run), *file = file_join(directory, "x");
    assert_int_equal(file_make_dirs(directory, NULL), 0);
    assert_int_equal(file_write_atomic(file, "x", 1, NULL), 0);
    if (old_file)
        make_old(file);
    if (old)
        make_old(directory);
    free(file);
    return directory;
}

// What earlier runs left is removed after some days, unless it goes on or somebody is at it.
static void what_is_left_goes_after_days(void **state)
{
    struct bench b = {0};
    struct file_lock lock;
    (void)state;
    bench_open(&b, checks_fresh);
    char *left[] = {make_left(&b, 2, 1, 1), make_left(&b, 3, 0, 0), make_left(&b, 4, 1, 0), make_left(&b, 5, 1, 1)};
    char *name = xprintf("%s.lock", left[3]);
    assert_int_equal(file_lock_try(&lock, name, NULL), 0);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(file_exists(left[i]), i > 0);
        free(left[i]);
    }
    file_lock_release(&lock);
    free(name);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_delivered),
        cmocka_unit_test(a_file_that_is_refused_fails_the_run),
        cmocka_unit_test(a_file_that_is_never_found_fails_the_run),
        cmocka_unit_test(a_file_waits_for_the_records_before_it),
        cmocka_unit_test(only_the_newest_resume_point_waits),
        cmocka_unit_test(files_over_broken_connections),
        cmocka_unit_test(full_disk_at_the_server_is_waited_out),
        cmocka_unit_test(resume_point_and_checkpoints_are_fetched),
        cmocka_unit_test(damaged_resume_point_is_said),
        cmocka_unit_test(leftovers_are_not_gone_on_with),
        cmocka_unit_test(inputs_are_fetched),
        cmocka_unit_test(place_in_use_is_left_alone),
        cmocka_unit_test(what_is_left_goes_after_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
