// A worker rank against good and bad servers: everything that a job says arrives, once and in order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/rpc/protocol.h"
#include "tests/work/jobs.h"

static int hundred_steps(struct bench *b, const struct work_job *j, struct error *e)
{
    struct stat st;
    (void)b;
    (void)e;
    assert_int_equal(stat(j->directory, &st), 0);
    assert_int_equal(j->resume, 0);
    assert_string_equal(j->job->data->path, "/data");
    for (uint64_t step = 1; step <= 100; step++)
        job_say(j->sink, step);
    return 0;
}

static void runs_and_reports(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, hundred_steps);
    assert_int_equal(b.claim_run, 0);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.assign_ok, 1);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED);
    job_check_records(&b, 100);
    assert_true(b.progress >= 1);
    bench_settle(&b);
    char *directory = bench_directory(&b, 1);
    assert_false(file_exists(directory)); // the server has it all
    free(directory);
    b.finished = 0;
    bench_assign(&b, 2, 1, NULL, 0); // and is free for the next one
    rig_run_until(&b.rig, &b.finished);
    job_check_records(&b, 100);
    bench_close(&b);
}

static int thousand_steps(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)e;
    for (uint64_t step = 1; step <= 1000; step++) {
        job_say(j->sink, step);
        if (step % 5 == 0)
            clock_sleep(0.001);
    }
    (void)b;
    return 0;
}

static void broken_connections(void **state)
{
    (void)state;
    for (unsigned every = 2; every < 6; every++) {
        struct bench b = {.hang_up_every = every};
        bench_open(&b, thousand_steps);
        bench_assign(&b, 1, 1, NULL, 0);
        while (!b.finished || b.records < 1100)
            uv_run(&b.rig.loop, UV_RUN_ONCE);
        job_check_records(&b, 1000);
        assert_true(b.registered > 3);
        bench_close(&b);
    }
}

static int many_steps_and_wait(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)e;
    job_wait(b);
    for (uint64_t step = 1; step <= 20000; step++)
        job_say(j->sink, step);
    atomic_store(&b->go_on, 0);
    return 0;
}

static void server_away_for_long(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, many_steps_and_wait);
    bench_assign(&b, 7, 3, NULL, 0);
    rig_run_until(&b.rig, &b.assign_ok);
    rig_unlisten(&b.rig);
    rig_run_for(&b.rig, 20);
    atomic_store(&b.go_on, 1); // it trains on, to its end, without a server
    for (int i = 0; atomic_load(&b.go_on); i++) {
        assert_true(i < 50000);
        rig_run_for(&b.rig, 2);
    }
    rig_listen(&b.rig);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.claim_run, 7); // it came back as what it was
    assert_int_equal(b.claim_attempt, 3);
    job_check_records(&b, 20000);
    bench_close(&b);
}

// ---- ends that are no success ---------------------------------------------------------------------------------------

static void stops_when_asked(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, job_until_stopped);
    bench_assign(&b, 1, 1, NULL, 0);
    while (!atomic_load(&b.running))
        rig_run_for(&b.rig, 1);
    bench_stop(&b, 1, 2, ISLR__STOP__WHY__WHY_CANCEL); // of another attempt: not meant
    rig_run_for(&b.rig, 30);
    assert_int_equal(b.finished, 0);
    bench_stop(&b, 1, 1, ISLR__STOP__WHY__WHY_CANCEL);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED);
    assert_non_null(strstr(b.reason, "stopped after step"));
    bench_settle(&b);
    char *directory = bench_directory(&b, 1);
    assert_true(file_exists(directory)); // a retry here finds its files
    free(directory);
    bench_close(&b);
}

// How a run ends whose server stays away: saved, and told when the server is back at last.
static void ends_without_server(struct bench *b)
{
    bench_open(b, job_until_stopped);
    bench_assign(b, 5, 2, NULL, 0);
    rig_run_until(&b->rig, &b->assign_ok);
    while (!atomic_load(&b->running))
        rig_run_for(&b->rig, 1);
    rig_unlisten(&b->rig);
    for (unsigned long ms = 0; atomic_load(&b->running); ms += 2) {
        assert_true(ms < 100000);
        rig_run_for(&b->rig, 2);
    }
    rig_listen(&b->rig);
    rig_run_until(&b->rig, &b->finished);
    assert_int_equal(b->claim_run, 5);
    assert_int_equal(b->outcome, ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED);
    uint64_t steps = strtoull(b->reason + strlen("stopped after step "), NULL, 10);
    job_check_records(b, steps); // none is lost
    bench_close(b);
}

static void alone_for_too_long(void **state)
{
    struct bench b = {0};
    (void)state;
    ends_without_server(&b);
}

// Back in time, it is not held against the server. 0: it was not back in time.
static int back_in_time(uint32_t alone_ms)
{
    struct bench b = {.alone_ms = alone_ms};
    bench_open(&b, job_until_stopped);
    bench_assign(&b, 1, 1, NULL, 0);
    while (!atomic_load(&b.running))
        rig_run_for(&b.rig, 1);
    b.registered = 0;
    double began = clock_seconds();
    peer_close(b.rank[0], NULL);
    rig_run_until(&b.rig, &b.registered);
    int in_time = clock_seconds() - began < alone_ms / 1e3;
    rig_run_for(&b.rig, alone_ms + alone_ms / 2);
    if (in_time)
        assert_int_equal(atomic_load(&b.running), 1);
    if (atomic_load(&b.running))
        bench_stop(&b, 1, 1, ISLR__STOP__WHY__WHY_CANCEL);
    rig_run_until(&b.rig, &b.finished);
    bench_close(&b);
    return in_time;
}

static void alone_for_a_moment(void **state)
{
    uint32_t ms = 1000;
    (void)state;
    while (!back_in_time(ms)) // as long as this machine needs
        assert_true((ms *= 3) < 60000);
}

static void too_much_to_deliver(void **state)
{
    struct bench b = {.spool_max = 5000, .alone_ms = 600000}; // not because of the time
    (void)state;
    ends_without_server(&b);
}

// What ends a job, and whether another attempt may do better.
static const struct failing {
    enum error_code code;
    int lasts, passing;
} failings[] = {{ERR_INVALID, 0, 0}, {ERR_NOT_FOUND, 0, 0}, {ERR_DENIED, 0, 0},      {ERR_DAMAGED, 0, 0},
                {ERR_FAILED, 1, 0},  {ERR_FAILED, 0, 1},    {ERR_UNREACHABLE, 0, 1}, {ERR_TIMEOUT, 0, 1}};

static int fails(struct bench *b, const struct work_job *j, struct error *e)
{
    const struct failing *f = &failings[atomic_load(&b->go_on)];
    job_say(j->sink, 1);
    error_set(e, f->code, "no such d\xe4ta");
    return f->lasts ? error_lasts(e) : -1;
}

static void failure_is_told(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, fails);
    for (int i = 0; i < (int)(sizeof failings / sizeof *failings); i++) {
        atomic_store(&b.go_on, i);
        b.finished = 0;
        bench_assign(&b, 1 + (uint64_t)i, 1, NULL, 0);
        rig_run_until(&b.rig, &b.finished);
        assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED);
        assert_non_null(strstr(b.reason, "no such d?ta"));
        assert_int_equal(b.retryable, failings[i].passing);
    }
    bench_close(&b);
}

// Another machine may have a place for it.
static void no_place_for_a_run(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, fails);
    assert_int_equal(file_write_atomic(b.scratch, "", 0, NULL), 0); // no directory
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED);
    assert_int_equal(b.retryable, 1);
    assert_int_equal(atomic_load(&b.jobs), 0);
    unlink(b.scratch);
    bench_close(&b);
}

static int at_once(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)b;
    (void)j;
    (void)e;
    return 0;
}

// A job that names a file outside of what the worker allows, directly or through a link, fails before it begins.
static void jobs_read_what_is_allowed(void **state)
{
    struct bench b = {0};
    char root[] = "/tmp/islr-allow-XXXXXX", inside[64], link_out[64];
    struct error e;
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(inside, sizeof inside, "%s/model", root);
    snprintf(link_out, sizeof link_out, "%s/link", root);
    assert_int_equal(file_write_atomic(inside, "x", 1, &e), 0);
    assert_int_equal(symlink("/etc/passwd", link_out), 0);
    assert_int_equal(work_allowed_add(&b.allowed, "/no/such/directory", &e), -1);
    assert_int_equal(work_allowed_add(&b.allowed, root, &e), 0);
    bench_open(&b, at_once);
    const char *const paths[] = {"/etc/passwd", link_out, inside, "/tmp/../etc/passwd"};
    for (uint64_t i = 0; i < 4; i++) {
        b.finished = 0;
        b.init_student = paths[i];
        bench_assign(&b, i + 1, 1, NULL, 0);
        rig_run_until(&b.rig, &b.finished);
        int allowed = paths[i] == inside;
        assert_int_equal(b.outcome == ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, allowed);
        if (!allowed)
            assert_non_null(strstr(b.reason, "init.student"));
        assert_false(b.retryable);
    }
    assert_int_equal(atomic_load(&b.jobs), 1);
    bench_close(&b);
    work_allowed_free(&b.allowed);
    file_remove_tree(root, NULL);
}

static void abandoned_when_it_comes_back(void **state)
{
    struct bench b = {.abandon = 1};
    (void)state;
    bench_open(&b, job_until_stopped);
    bench_assign(&b, 1, 1, NULL, 0);
    while (!atomic_load(&b.running))
        rig_run_for(&b.rig, 1);
    b.registered = 0;
    peer_close(b.rank[0], NULL);
    rig_run_until(&b.rig, &b.registered);
    assert_int_equal(b.claim_run, 1);
    for (int i = 0; atomic_load(&b.running); i++) {
        assert_true(i < 100000);
        rig_run_for(&b.rig, 1);
    }
    b.abandon = 0;
    rig_run_for(&b.rig, 50);
    assert_int_equal(b.finished, 0); // nothing is told of it
    b.registered = 0;
    peer_close(b.rank[0], NULL);
    rig_run_until(&b.rig, &b.registered);
    assert_int_equal(b.claim_run, 0);
    b.job = hundred_steps;
    bench_assign(&b, 1, 2, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    job_check_records(&b, 100);
    bench_close(&b);
}

static int lingers(struct bench *b, const struct work_job *j, struct error *e)
{
    int rc = job_until_stopped(b, j, e);
    job_wait(b);
    return rc;
}

static void assignments_are_taken_once(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, lingers);
    bench_assign(&b, 1, 1, NULL, 0);
    bench_assign(&b, 1, 1, NULL, 0); // again: the first Ok was lost
    while (b.assign_ok < 2)
        uv_run(&b.rig.loop, UV_RUN_ONCE);
    while (!atomic_load(&b.running))
        rig_run_for(&b.rig, 1);
    bench_stop(&b, 1, 1, ISLR__STOP__WHY__WHY_ABANDON);
    bench_assign(&b, 2, 1, NULL, 0); // begun when the first is wound down
    bench_assign(&b, 3, 1, NULL, 0); // one too many
    b.records_run = 2;
    rig_run_until(&b.rig, &b.assign_fault);
    assert_int_equal(b.assign_ok, 3);
    atomic_store(&b.go_on, 1);
    while (atomic_load(&b.jobs) < 2)
        rig_run_for(&b.rig, 1);
    rig_run_for(&b.rig, 20);
    bench_stop(&b, 2, 1, ISLR__STOP__WHY__WHY_CANCEL);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(atomic_load(&b.jobs), 2);
    bench_close(&b);
}

// One that waits for its turn is begun all the same, for the other ranks' sake, and leaves at the first step.
static void a_waiting_task_is_stopped(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, lingers);
    bench_assign(&b, 1, 1, NULL, 0);
    while (!atomic_load(&b.running))
        rig_run_for(&b.rig, 1);
    bench_stop(&b, 1, 1, ISLR__STOP__WHY__WHY_ABANDON);
    bench_assign(&b, 2, 1, NULL, 0);
    while (b.assign_ok < 2)
        uv_run(&b.rig.loop, UV_RUN_ONCE);
    bench_stop(&b, 2, 1, ISLR__STOP__WHY__WHY_CANCEL);
    bench_assign(&b, 3, 1, NULL, 0); // one too many: with its answer the rank has heard what was before it
    b.records_run = 2;
    rig_run_until(&b.rig, &b.assign_fault);
    assert_int_equal(atomic_load(&b.jobs), 1);
    atomic_store(&b.go_on, 1);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED);
    assert_string_equal(b.reason, "stopped after step 0");
    bench_close(&b);
}

// ---- what comes and goes is kept within bounds ----------------------------------------------------------------------

static int says_much(struct bench *b, const struct work_job *j, struct error *e)
{
    (void)e;
    for (uint64_t step = 1; step <= 20000; step++)
        job_say(j->sink, step);
    job_wait(b);
    return 0;
}

static void records_on_the_way_are_bounded(void **state)
{
    enum { MOST = 9000 }; // and one message; of 22,000
    struct bench b = {.deaf = 1};
    (void)state;
    bench_open(&b, says_much);
    bench_assign(&b, 1, 1, NULL, 0);
    for (uint64_t before = 0, same = 0; same < 100; before = b.passed_over) { // until no more come
        rig_run_for(&b.rig, 2);
        same = b.passed_over >= 1000 && b.passed_over == before ? same + 1 : 0;
    }
    assert_in_range(b.passed_over, 1000, MOST);
    b.deaf = 0;
    peer_close(b.rank[0], NULL);
    atomic_store(&b.go_on, 1);
    rig_run_until(&b.rig, &b.finished);
    job_check_records(&b, 20000);
    bench_close(&b);
}

// A server that acknowledges what was never said is not believed.
static void acknowledgements_of_the_future(void **state)
{
    struct bench b = {0};
    Islr__RecordsAck ack = ISLR__RECORDS_ACK__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS_ACK, records_ack, &ack);
    (void)state;
    bench_open(&b, job_until_stopped);
    bench_assign(&b, 1, 1, NULL, 0);
    while (b.records < 10)
        uv_run(&b.rig.loop, UV_RUN_ONCE);
    ack.has_run = ack.has_attempt = ack.has_seq = 1;
    ack.run = ack.attempt = 1;
    ack.seq = 1000000;
    assert_int_equal(peer_send(b.rank[0], &m, NULL), 0);
    for (uint64_t until = b.records + 20; b.records < until;)
        uv_run(&b.rig.loop, UV_RUN_ONCE);
    bench_stop(&b, 1, 1, ISLR__STOP__WHY__WHY_CANCEL);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.outcome, ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED);
    job_check_records(&b, strtoull(b.reason + strlen("stopped after step "), NULL, 10));
    bench_close(&b);
}

static int says_odd_lines(struct bench *b, const struct work_job *j, struct error *e)
{
    static char line[2 * RPC_LINE_MAX];
    (void)b;
    (void)e;
    memset(line, 'x', sizeof line - 1);
    j->sink->log(j->sink->context, LOG_WARN, line);
    j->sink->log(j->sink->context, LOG_ERROR, "no \xff text");
    j->sink->log(j->sink->context, LOG_DEBUG, "not for the server");
    return 0;
}

static void lines_are_made_fit(void **state)
{
    struct bench b = {0};
    (void)state;
    bench_open(&b, says_odd_lines);
    bench_assign(&b, 1, 1, NULL, 0);
    rig_run_until(&b.rig, &b.finished);
    assert_int_equal(b.records, 2);
    assert_int_equal(strncmp(b.lines[0], "warning: xxx", strlen("warning: xxx")), 0);
    assert_in_range(strlen(b.lines[0]), RPC_LINE_MAX - 16, RPC_LINE_MAX);
    assert_string_equal(b.lines[1], "error: no ? text");
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_reports),
        cmocka_unit_test(broken_connections),
        cmocka_unit_test(server_away_for_long),
        cmocka_unit_test(stops_when_asked),
        cmocka_unit_test(alone_for_too_long),
        cmocka_unit_test(alone_for_a_moment),
        cmocka_unit_test(too_much_to_deliver),
        cmocka_unit_test(failure_is_told),
        cmocka_unit_test(no_place_for_a_run),
        cmocka_unit_test(jobs_read_what_is_allowed),
        cmocka_unit_test(abandoned_when_it_comes_back),
        cmocka_unit_test(assignments_are_taken_once),
        cmocka_unit_test(a_waiting_task_is_stopped),
        cmocka_unit_test(records_on_the_way_are_bounded),
        cmocka_unit_test(acknowledgements_of_the_future),
        cmocka_unit_test(lines_are_made_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
