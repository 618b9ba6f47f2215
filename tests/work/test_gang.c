// Two ranks of a world: what goes wrong on the first one alone ends the run on both, with its reason, and they take the
// next one. Run by mpirun.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "tests/work/jobs.h"

enum { STEPS = 20 };

static const double SOON = 18; // seconds; the ranks of a run that failed look for each other for 20

// ---- the job, on both ranks -----------------------------------------------------------------------------------------

// One more step that the spool has no room for.
static void say_to_full_disk(const struct work_job *j)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, before.rlim_max}), 0);
    job_say(j->sink, STEPS + 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

// A file that can be given no second name.
static void save_what_is_not_kept(const struct work_job *j, const char *what)
{
    char *path = job_save(j, what, 1000, 'a'), *outbox = file_join(j->directory, "outbox");
    assert_int_equal(file_remove_tree(outbox, NULL), 0);
    job_tell_file(j, what, path, 0, STEPS);
    free(outbox);
    free(path);
}

static int until_stopped(const struct work_job *j, struct error *e)
{
    int64_t stop = 0;
    while (!stop) {
        stop = j->sink->should_stop(j->sink->context) != 0;
        if (comm_max_i64(j->comm, &stop, e))
            return -1;
    }
    return error_set(e, ERR_INTERRUPTED, "stopped");
}

// Its name says what happens.
static int scripted(struct bench *b, const struct work_job *j, struct error *e)
{
    const char *name = j->job->name;
    (void)b;
    if (comm_rank(j->comm) == 0) {
        for (uint64_t step = 1; step <= STEPS; step++)
            job_say(j->sink, step);
        if (!strncmp(name, "full disk", strlen("full disk")))
            say_to_full_disk(j);
        if (!strncmp(name, "lost ", strlen("lost ")))
            save_what_is_not_kept(j, name + strlen("lost "));
    }
    return strstr(name, "on the way") ? until_stopped(j, e) : comm_barrier(j->comm, e);
}

// ---- the server, beside rank 0 --------------------------------------------------------------------------------------

static void run(struct bench *b, uint64_t number, const char *name)
{
    double began = clock_seconds();
    b->finished = 0;
    b->job_name = name;
    bench_assign(b, number, 1, NULL, 0);
    rig_run_until(&b->rig, &b->finished);
    job_check_records(b, STEPS);
    if (clock_seconds() - began > SOON)
        fail_msg("'%s' took %.0f s: %s", name, clock_seconds() - began, b->reason);
}

static void must_fail(struct bench *b, const char *says)
{
    if (b->outcome != ISLR__FINISHED__OUTCOME__OUTCOME_FAILED || !b->retryable || !strstr(b->reason, says))
        fail_msg("'%s' ended as %d, retryable %d: %s", b->job_name, b->outcome, b->retryable, b->reason);
}

static void must_succeed(struct bench *b)
{
    if (b->outcome != ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED)
        fail_msg("'%s' ended as %d: %s", b->job_name, b->outcome, b->reason);
}

static void first_rank(void **state)
{
    struct bench b = {0};
    bench_open_in(&b, *state, scripted);
    run(&b, 1, "full disk at the end");
    must_fail(&b, "spool: File too large");
    assert_int_equal(strncmp(b.reason, "rank 0 on ", strlen("rank 0 on ")), 0);
    run(&b, 2, "full disk on the way");
    must_fail(&b, "spool: File too large");
    run(&b, 3, "lost soup");
    must_fail(&b, "soup cannot be delivered: cannot link ");
    run(&b, 4, "lost resume"); // these come and go
    must_succeed(&b);
    run(&b, 5, "undisturbed");
    must_succeed(&b);
    bench_close(&b);
}

static void other_rank(void **state)
{
    struct bench b = {0};
    bench_join(&b, *state, scripted);
}

int main(void)
{
    struct error e;
    struct comm *world = comm_open_world(&e);
    if (!world) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest first[] = {cmocka_unit_test_prestate(first_rank, world)};
    const struct CMUnitTest other[] = {cmocka_unit_test_prestate(other_rank, world)};
    if (comm_rank(world) ? cmocka_run_group_tests(other, NULL, NULL) : cmocka_run_group_tests(first, NULL, NULL))
        comm_abort(world, 1); // the other one waits
    comm_close(world);
    return 0;
}
