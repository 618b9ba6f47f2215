// Groups of runs: the folds of a k-fold side by side and the join of what they leave, one word to all; sweeps.
#include "tests/serve/scene.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "daemon/serve_members.h"
#include "daemon/serve_server.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED,
                                     FAILED = ISLR__FINISHED__OUTCOME__OUTCOME_FAILED,
                                     STOPPED = ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED;

enum { K = 3 };

static Islr__JobSpec *cross_validated(uint32_t ranks)
{
    Islr__JobSpec *job = job_tiny(ranks, 1);
    free(job->data->fold);
    job->data->fold = xstrdup("all");
    job->data->k = K;
    return job;
}

static void expect(uint64_t run, Islr__RunState state, const char *reason)
{
    client_wait_state(&client, run, state);
    client_wait_reason(&client, run, reason);
}

static uint64_t wait_for(uint64_t run)
{
    Islr__Wait wait = ISLR__WAIT__INIT;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    wait.runs = &run;
    wait.n_runs = 1;
    return actor_ask(&client, &m);
}

static void expect_ended(uint64_t run, Islr__RunState state)
{
    Islr__Envelope *m = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED);
    assert_int_equal(m->run_ended->run, run);
    assert_int_equal(m->run_ended->state, state);
    envelope_free(m);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_OK));
}

// The fold that a rank was given.
static uint64_t take_fold(struct actor *rank, uint64_t group)
{
    Islr__Envelope *m = rank_take(rank, 1);
    char fold[16];
    uint64_t run = m->assign->run;
    assert_int_equal(m->assign->attempt, 1);
    assert_int_equal(m->assign->n_gang, 1);
    assert_int_equal(m->assign->n_folds, 0);
    snprintf(fold, sizeof fold, "%d", (int)(run - group - 1));
    assert_string_equal(m->assign->job->data->fold, fold);
    envelope_free(m);
    return run;
}

static void join(struct actor *rank, uint64_t group, Islr__Finished__Outcome outcome)
{
    Islr__Envelope *m = rank_take(rank, 1);
    assert_int_equal(m->assign->run, group);
    assert_int_equal(m->assign->n_gang, 1);
    assert_int_equal(m->assign->n_folds, K);
    for (size_t i = 0; i < K; i++)
        assert_int_equal(m->assign->folds[i], group + 1 + i);
    assert_string_equal(m->assign->job->data->fold, "all");
    uint32_t attempt = m->assign->attempt;
    envelope_free(m);
    rank_records(rank, group, attempt, 1, 5);
    rank_finish(rank, group, attempt, outcome, 0);
}

static void progress(struct actor *rank, uint64_t run, uint64_t step, uint64_t steps)
{
    Islr__Progress p = ISLR__PROGRESS__INIT;
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, &p);
    p.has_run = p.has_attempt = p.has_step = p.has_steps = p.has_clips_per_second = 1;
    p.run = run;
    p.attempt = 1;
    p.step = step;
    p.steps = steps;
    p.clips_per_second = 30;
    p.doing = (char *)"train";
    actor_send(rank, &m);
}

// ---- folds ----------------------------------------------------------------------------------------------------------

static void test_side_by_side(void **state)
{
    (void)state;
    struct actor ranks[4];
    uint64_t folds[K];
    world_open(ranks, &rig, 4, "w");
    uint64_t group = client_submit(&client, cross_validated(0));
    wait_for(group);
    client_follow(&client, group, 0);
    for (int i = 0; i < K; i++) // four ranks, three folds: one each
        folds[i] = take_fold(&ranks[i], group);
    expect(group, ISLR__RUN_STATE__RUN_RUNNING, "0 of 3 runs done");
    rank_records(&ranks[1], folds[1], 1, 1, 50);
    progress(&ranks[1], folds[1], 50, 90); // of one fold: the others are taken to be as long
    Islr__Envelope *told = actor_next(&client, ISLR__ENVELOPE__BODY_PROGRESS);
    while (!told->progress->steps) { // the first may come before the number of steps is stored
        envelope_free(told);
        rig_for(&rig, 1100);
        progress(&ranks[1], folds[1], 50, 90);
        told = actor_next(&client, ISLR__ENVELOPE__BODY_PROGRESS);
    }
    assert_int_equal(told->progress->run, group);
    assert_int_equal(told->progress->step, 50);
    assert_int_equal(told->progress->steps, K * 90);
    assert_string_equal(told->progress->doing, "3 of 3 runs at work, 0 done");
    envelope_free(told);
    rank_finish(&ranks[1], folds[1], 1, OK, 0);
    rank_finish(&ranks[2], folds[2], 1, OK, 0);
    expect(group, ISLR__RUN_STATE__RUN_RUNNING, "2 of 3 runs done");
    Islr__Envelope *m = client_show(&client, 0); // @last is the group
    assert_int_equal(m->run_detail->summary->run, group);
    assert_int_equal(m->run_detail->summary->children_ended, 2);
    assert_int_equal(m->run_detail->summary->children_running, 1);
    envelope_free(m);
    rank_finish(&ranks[0], folds[0], 1, OK, 0);
    join(&ranks[0], group, OK);
    expect_ended(group, ISLR__RUN_STATE__RUN_SUCCEEDED);
    client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED);
    world_close(ranks, 4);
}

// The others go on, the server is restarted in between, and a retry is for the failed one alone.
static void test_failed_fold(void **state)
{
    (void)state;
    struct actor rank;
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t group = client_submit(&client, cross_validated(0)), after = client_submit_after(&client, group, 0);
    wait_for(group);
    rank_finish(&rank, take_fold(&rank, group), 1, OK, 0);
    rank_finish(&rank, take_fold(&rank, group), 1, FAILED, 0);
    uint64_t last = take_fold(&rank, group);
    expect(group, ISLR__RUN_STATE__RUN_RUNNING, "1 of 3 runs done; run 3 (tiny/fold-1) failed: as the test says");
    rig_stop_server(&rig);
    rig_start_server(&rig);
    actor_wait_up(&client);
    expect(group, ISLR__RUN_STATE__RUN_RUNNING, "1 of 3 runs done; run 3 (tiny/fold-1) failed: as the test says");
    actor_wait_up(&rank);
    envelope_free(rank_register(&rank, last, 1));
    wait_for(group);
    rank_finish(&rank, last, 1, OK, 0);
    expect_ended(group, ISLR__RUN_STATE__RUN_FAILED);
    expect(group, ISLR__RUN_STATE__RUN_FAILED, "2 of 3 runs done; run 3 (tiny/fold-1) failed: as the test says");
    client_wait_state(&client, after, ISLR__RUN_STATE__RUN_CANCELLED); // it could never start
    client_control(&client, ISLR__CONTROL__VERB__VERB_RETRY, group);
    Islr__Envelope *m = rank_take(&rank, 1);
    assert_int_equal(m->assign->run, group + 2);
    assert_int_equal(m->assign->attempt, 2);
    envelope_free(m);
    rank_finish(&rank, group + 2, 2, OK, 0);
    join(&rank, group, FAILED); // the join is tried again by itself
    expect(group, ISLR__RUN_STATE__RUN_FAILED, "as the test says");
    client_control(&client, ISLR__CONTROL__VERB__VERB_RETRY, group);
    join(&rank, group, OK);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_SUCCEEDED);
    actor_close(&rank);
}

static void test_cancel(void **state)
{
    (void)state;
    struct actor ranks[2];
    world_open(ranks, &rig, 2, "w");
    uint64_t group = client_submit(&client, cross_validated(1)), first = take_fold(&ranks[0], group);
    uint64_t second = take_fold(&ranks[1], group);
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, group); // the third
    client_wait_state(&client, group + 3, ISLR__RUN_STATE__RUN_HELD);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, group);
    rank_expect_stop(&ranks[0], first, ISLR__STOP__WHY__WHY_CANCEL, 1);
    rank_expect_stop(&ranks[1], second, ISLR__STOP__WHY__WHY_CANCEL, 1);
    client_wait_state(&client, group + 3, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_STOPPING);
    rank_finish(&ranks[0], first, 1, STOPPED, 0);
    rank_finish(&ranks[1], second, 1, STOPPED, 0);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_CANCELLED);
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_HOLD;
    c.targets = &group;
    c.n_targets = 1;
    assert_string_equal(actor_call_fault(&client, &m, ERR_INVALID), "run 1 has no queued run");
    world_close(ranks, 2);
}

// ---- sweeps ---------------------------------------------------------------------------------------------------------

struct sweep {
    Islr__Submit submit;
    Islr__Variation *variations, **pointers;
    Islr__JobSpec *differs;
    Islr__Train *trains;
};

// Seeds 1, 2, ..
static struct sweep sweep_make(size_t count, Islr__JobSpec *job)
{
    struct sweep s = {.submit = ISLR__SUBMIT__INIT};
    s.submit.job = job;
    s.variations = xcalloc(count, sizeof *s.variations);
    s.pointers = xcalloc(count, sizeof *s.pointers);
    s.differs = xcalloc(count, sizeof *s.differs);
    s.trains = xcalloc(count, sizeof *s.trains);
    for (size_t i = 0; i < count; i++) {
        islr__train__init(&s.trains[i]);
        islr__job_spec__init(&s.differs[i]);
        islr__variation__init(&s.variations[i]);
        s.trains[i].has_seed = 1;
        s.trains[i].seed = i + 1;
        s.differs[i].train = &s.trains[i];
        s.variations[i].differs = &s.differs[i];
        s.variations[i].label = xprintf("train.seed=%zu", i + 1);
        s.pointers[i] = &s.variations[i];
    }
    s.submit.variations = s.pointers;
    s.submit.n_variations = count;
    return s;
}

static void sweep_free(struct sweep *s)
{
    for (size_t i = 0; i < s->submit.n_variations; i++)
        free(s->variations[i].label);
    spec_free(s->submit.job);
    free(s->variations);
    free(s->pointers);
    free(s->differs);
    free(s->trains);
}

static void test_sweep(void **state)
{
    (void)state;
    struct sweep s = sweep_make(5, job_tiny(1, 1));
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s.submit), *reply;
    s.submit.key = (char *)"sweep";
    // every fault of every run is named, and none is submitted
    s.trains[1].has_lr = 1;
    s.trains[1].lr = -1;
    s.trains[3].has_batch = 1;
    s.trains[3].batch = 33;
    const char *text = actor_call_fault(&client, &m, ERR_INVALID);
    assert_non_null(strstr(text, "train.seed=2: train.lr"));
    assert_non_null(strstr(text, "train.seed=4"));
    assert_non_null(strstr(text, "train.batch"));
    s.trains[1].lr = 0.5;
    s.trains[3].has_batch = 0;
    s.submit.has_dry_run = s.submit.dry_run = 1;
    reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    assert_int_equal(reply->submitted->run, 0);
    assert_int_equal(reply->submitted->runs, 5);
    envelope_free(reply);
    s.submit.dry_run = 0;
    for (int again = 0; again < 2; again++) {
        reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
        assert_int_equal(reply->submitted->run, 1);
        assert_int_equal(reply->submitted->existed, again);
        assert_int_equal(reply->submitted->runs, again ? 0 : 5);
        envelope_free(reply);
    }
    reply = client_show(&client, 3);
    assert_string_equal(reply->run_detail->summary->name, "tiny/train.seed=2");
    assert_int_equal(reply->run_detail->summary->parent, 1);
    assert_int_equal(reply->run_detail->job->train->seed, 2);
    assert_true(reply->run_detail->job->train->lr == 0.5);
    assert_string_equal(reply->run_detail->job->preset, "tiny"); // the rest is the job's
    envelope_free(reply);
    struct actor rank;
    rank_open(&rank, &rig, "w", 0, 1);
    for (uint64_t i = 0; i < 5; i++) {
        reply = rank_take(&rank, 1);
        assert_int_equal(reply->assign->job->train->seed, i + 1);
        rank_finish(&rank, reply->assign->run, 1, OK, 0);
        envelope_free(reply);
    }
    client_wait_state(&client, 1, ISLR__RUN_STATE__RUN_SUCCEEDED); // nothing is joined
    actor_close(&rank);
    s.submit.key = NULL;
    free(s.variations[2].label);
    s.variations[2].label = xstrdup("");
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "no label"));
    sweep_free(&s);
}

// Many at once, and a sweep over cross-validated jobs, which is cancelled as one.
static void test_large_sweep(void **state)
{
    (void)state;
    struct sweep s = sweep_make(1000, job_tiny(1, 1));
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s.submit), *reply;
    reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    assert_int_equal(reply->submitted->runs, 1000);
    envelope_free(reply);
    sweep_free(&s);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, 1);
    client_wait_state(&client, 1001, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, 1, ISLR__RUN_STATE__RUN_CANCELLED);
    s = sweep_make(11, cross_validated(1));
    s.submit.job->data->k = 1000; // 11,011 runs
    m.submit = &s.submit;
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "at most 10000 runs"));
    sweep_free(&s);
    s = sweep_make(2, cross_validated(1));
    m.submit = &s.submit;
    reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t group = reply->submitted->run;
    envelope_free(reply);
    sweep_free(&s);
    struct actor rank;
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t fold = take_fold(&rank, group + 2);
    assert_int_equal(fold, group + 3);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, group);
    rank_expect_stop(&rank, fold, ISLR__STOP__WHY__WHY_CANCEL, 1);
    rank_finish(&rank, fold, 1, STOPPED, 0);
    client_wait_state(&client, group + 1, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_CANCELLED);
    actor_close(&rank);
}

static void set_queued_limit(double most)
{
    Islr__SetLimits set = ISLR__SET_LIMITS__INIT;
    Islr__Envelope m = ENVELOPE(SET_LIMITS, set_limits, &set);
    Islr__Value value = ISLR__VALUE__INIT, *values = &value;
    value.name = (char *)"queued";
    value.has_value = 1;
    value.value = most;
    set.user = (char *)""; // everybody's
    set.limits = &values;
    set.n_limits = 1;
    actor_call_ok(&client, &m);
}

// A group is acknowledged before its runs are made; nobody can tell. Everything below is asked right after.
static void test_acknowledged_first(void **state)
{
    (void)state;
    set_queued_limit(1200);
    uint64_t group = client_sweep(&client, 1000), other = client_submit(&client, job_tiny(1, 1));
    assert_int_equal(group, 1);
    assert_int_equal(other, group + 1001); // the numbers between are taken
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    Islr__Axis axis = ISLR__AXIS__INIT, *axes = &axis;
    axis.key = (char *)"train.seed";
    axis.has_count = 1;
    axis.count = 200;
    s.job = job_tiny(1, 1);
    s.axes = &axes;
    s.n_axes = 1;
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_DENIED), "1001 runs waiting, these would be 200 more"));
    spec_free(s.job);
    set_queued_limit(0);
    group = client_sweep(&client, 1000);
    uint64_t after = client_submit_after(&client, group + 1000, 0);
    assert_int_equal(after, group + 1001);
    assert_int_equal(client_count_members(&client, group), 1000);
    Islr__Envelope *shown = client_show(&client, group);
    assert_int_equal(shown->run_detail->summary->children, 1000);
    envelope_free(shown);
    group = client_sweep(&client, 300);
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, group + 300);
    group = client_sweep(&client, 300);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, group);
    client_wait_state(&client, group + 300, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_CANCELLED);
}

// Asks for a run while the connection's own submission of it is on its way: the answers are read later.
static void ask_run(struct actor *a, uint64_t run)
{
    Islr__GetRun q = ISLR__GET_RUN__INIT;
    Islr__Envelope m = ENVELOPE(GET_RUN, get_run, &q);
    q.has_run = 1;
    q.run = run;
    actor_ask(a, &m);
}

// The answers to two of them, which come in any order.
static void expect_group_and_last(struct actor *a, uint64_t group, uint32_t count)
{
    for (int i = 0; i < 2; i++) {
        Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_RUN_DETAIL);
        const Islr__RunSummary *r = m->run_detail->summary;
        assert_int_equal(r->children, r->run == group ? count : 0);
        assert_true(r->run == group || r->run == group + count);
        envelope_free(m);
    }
}

// Whoever asks, right behind the acknowledgement or before it, as long as it is behind the submission.
static void test_seen_whole(void **state)
{
    (void)state;
    static const uint32_t counts[] = {51, 99, 100, 101, 150};
    struct actor other;
    uint64_t group = 1;
    actor_open(&other, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    for (int i = 0; i < 60; i++) {
        uint32_t count = counts[i % 5];
        client_ask_sweep(&client, count);
        ask_run(&client, group);
        ask_run(&client, group + count);
        Islr__Envelope *m = actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED);
        assert_int_equal(m->submitted->run, group);
        envelope_free(m);
        ask_run(&other, group + count);
        ask_run(&other, group);
        assert_int_equal(client_count_members(&other, group), count);
        expect_group_and_last(&other, group, count);
        expect_group_and_last(&client, group, count);
        group += count + 1;
    }
    actor_close(&other);
}

// How many more pieces of groups may be made (-Wl,--wrap): the rest stands still until a test lets it go on.
static const unsigned ALL = UINT_MAX;
static atomic_uint may_make = UINT_MAX;

static int may_go_on(void)
{
    unsigned left = atomic_load(&may_make);
    while (left && left != ALL && !atomic_compare_exchange_weak(&may_make, &left, left - 1))
        ;
    return left != 0;
}

void __real_members_take(struct members *m, size_t first, size_t count, struct run_member *out);
void __wrap_members_take(struct members *m, size_t first, size_t count, struct run_member *out);
void __wrap_members_take(struct members *m, size_t first, size_t count, struct run_member *out)
{
    while (!may_go_on())
        clock_sleep(0.001);
    __real_members_take(m, first, count, out);
}

static int teardown_made(void **state)
{
    atomic_store(&may_make, ALL);
    return teardown(state);
}

// While one user's sweeps are made, others are answered: at once on what has nothing to do with them, lists soon. Who
// asks for one of the sweeps waits for it.
static void test_others_do_not_wait(void **state)
{
    (void)state;
    enum { SWEEPS = 4, RUNS = 5000, PIECES = 60 }; // the first sweep, and some of the second
    const struct expansions *under_way = &rig.server->expansions;
    struct actor other;
    actor_open(&other, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&other, job_tiny(1, 1)), last = run + 1 + (SWEEPS - 1) * (RUNS + 1);
    atomic_store(&may_make, PIECES); // however fast this machine is
    for (int i = 0; i < SWEEPS; i++)
        client_ask_sweep(&client, RUNS);
    for (int i = 0; i < SWEEPS; i++)
        envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED));
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope status = ENVELOPE(GET_STATUS, get_status, &get);
    envelope_free(actor_call(&other, &status, ISLR__ENVELOPE__BODY_STATUS));
    envelope_free(client_show(&other, run));
    client_control(&other, ISLR__CONTROL__VERB__VERB_HOLD, run);
    assert_true(under_way->ended < SWEEPS);
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope list = ENVELOPE(LIST_RUNS, list_runs, &q);
    Islr__Envelope *m = actor_call(&other, &list, ISLR__ENVELOPE__BODY_RUN_LIST);
    assert_int_equal(m->run_list->n_runs, 1 + SWEEPS); // their members are not in it
    envelope_free(m);
    assert_true(under_way->ended < SWEEPS);
    atomic_store(&may_make, ALL);
    m = client_show(&other, last);
    assert_int_equal(m->run_detail->summary->children, RUNS);
    envelope_free(m);
    actor_close(&other);
}

// Long lists come in pieces, which are whole whatever their number; who hangs up in the middle is missed by nobody.
static void test_lists_in_pieces(void **state)
{
    (void)state;
    static const uint32_t counts[] = {255, 256, 257, 512};
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    q.has_children = q.children = q.has_limit = 1;
    q.limit = 10000;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(client_count_members(&client, client_sweep(&client, counts[i])), counts[i]);
    for (int i = 0; i < 10; i++) {
        struct actor other;
        actor_open(&other, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
        actor_ask(&other, &m);
        if (i % 2)
            envelope_free(actor_next(&other, ISLR__ENVELOPE__BODY_RUN_LIST));
        actor_close(&other);
    }
}

// What is announced and then not made holds nobody up: the key is known, or too many runs would wait.
static void test_not_made(void **state)
{
    (void)state;
    uint64_t group = client_sweep(&client, 60);
    set_queued_limit(100);
    for (int i = 0; i < 3; i++) {
        client_ask_sweep(&client, 60);
        ask_run(&client, group);
        ask_run(&client, group + 60);
        Islr__Envelope *m = actor_next(&client, ISLR__ENVELOPE__BODY_FAULT);
        assert_int_equal(m->fault->code, ERR_DENIED);
        envelope_free(m);
        expect_group_and_last(&client, group, 60);
    }
}

// An idle rank is given the first of the runs.
static void test_started_in_order(void **state)
{
    (void)state;
    struct actor rank;
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t group = client_sweep(&client, 1000);
    Islr__Envelope *m = rank_take(&rank, 1);
    assert_int_equal(m->assign->run, group + 1);
    assert_int_equal(m->assign->job->train->seed, 1);
    envelope_free(m);
    actor_close(&rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_fold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_acknowledged_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seen_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_do_not_wait, setup, teardown_made),
        cmocka_unit_test_setup_teardown(test_lists_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_started_in_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
