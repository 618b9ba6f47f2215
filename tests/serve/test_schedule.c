// Scheduling as users meet it: preemption, draining, limits, time limits, what may be done to a run in which state, and
// the sentence that says why a run waits. The rules themselves are tested in test_scheduler.c and test_policy.c.
#include "tests/serve/scene.h"

#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "daemon/serve_server.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED,
                                     FAILED = ISLR__FINISHED__OUTCOME__OUTCOME_FAILED,
                                     STOPPED = ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED;

static void restart(uint32_t settle_ms)
{
    rig_stop_server(&rig);
    rig.settle_ms = settle_ms;
    rig_start_server(&rig);
    actor_wait_up(&client);
}

static uint64_t submit_urgent(uint32_t ranks, int32_t priority)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(ranks, 1);
    s.has_priority = 1;
    s.priority = priority;
    Islr__Envelope *reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t run = reply->submitted->run;
    envelope_free(reply);
    spec_free(s.job);
    return run;
}

static void expect_reason(uint64_t run, const char *wanted)
{
    client_wait_reason(&client, run, wanted);
}

static void expect_no_assign(struct actor *ranks, uint32_t size)
{
    rig_for(&rig, 60);
    for (uint32_t i = 0; i < size; i++)
        assert_false(actor_has(&ranks[i], ISLR__ENVELOPE__BODY_ASSIGN));
}

// ---- preemption -----------------------------------------------------------------------------------------------------

// The first run saves, makes room, and goes on from there with all its tries when the other has ended.
static void test_preemption(void **state)
{
    (void)state;
    struct actor ranks[2];
    restart(1);
    uint64_t low = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, low);
    client_wait_state(&client, low, ISLR__RUN_STATE__RUN_RUNNING);
    uint64_t high = submit_urgent(2, 5);
    for (int i = 0; i < 2; i++)
        rank_expect_stop(&ranks[i], low, ISLR__STOP__WHY__WHY_PREEMPT, 1);
    client_wait_state(&client, low, ISLR__RUN_STATE__RUN_STOPPING);
    expect_reason(low, "makes room for run 2 (priority 5)");
    expect_reason(high, "waits until run 1 has saved and given its ranks back");
    struct hash point = rank_put(&ranks[0], "resume", 6);
    rank_checkpoint(&ranks[0], low, attempt, "resume", 17, &point);
    rank_finish(&ranks[0], low, attempt, STOPPED, 0);
    attempt = world_take(ranks, 2, high);
    expect_reason(low, "needs 2 free ranks of one world, 0 are free");
    rank_finish(&ranks[0], high, attempt, OK, 0);
    Islr__Envelope *m = rank_take(&ranks[0], 1);
    assert_int_equal(m->assign->run, low);
    assert_int_equal(m->assign->attempt, 2);
    assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
    envelope_free(m);
    envelope_free(rank_take(&ranks[1], 1));
    rank_finish(&ranks[0], low, 2, FAILED, 1);
    m = client_show(&client, low);
    assert_string_equal(m->run_detail->attempts[0]->outcome, "stopped");
    int counted = 0; // the failure was the first try that counts
    for (size_t i = 0; i < m->run_detail->n_events; i++)
        counted |= !strcmp(m->run_detail->events[i]->text, "attempt 1 of 5 failed: as the test says");
    assert_true(counted);
    envelope_free(m);
    world_close(ranks, 2);
}

// A run is left alone for a while after each start; then the other gets its turn without anything else happening.
static void test_preempted_later(void **state)
{
    (void)state;
    enum { SETTLE_MS = 700 };
    struct actor rank;
    restart(SETTLE_MS);
    uint64_t before = uv_now(&rig.loop), low = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    world_take(&rank, 1, low);
    uint64_t high = submit_urgent(1, 5);
    rig_for(&rig, 100);
    Islr__Envelope *d = client_show(&client, high);
    if (uv_now(&rig.loop) < before + SETTLE_MS) { // this machine has not stood still for so long
        assert_false(actor_has(&rank, ISLR__ENVELOPE__BODY_STOP));
        assert_string_equal(d->run_detail->summary->reason, "needs 1 free rank of one world, 0 are free");
    }
    envelope_free(d);
    rank_expect_stop(&rank, low, ISLR__STOP__WHY__WHY_PREEMPT, 1);
    assert_true(uv_now(&rig.loop) >= before + SETTLE_MS);
    world_close(&rank, 1);
}

// Asking for it with `set` is the same; equal priority stops nobody.
static void test_raised_priority(void **state)
{
    (void)state;
    struct actor rank;
    restart(1);
    uint64_t first = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    world_take(&rank, 1, first);
    client_wait_state(&client, first, ISLR__RUN_STATE__RUN_RUNNING);
    uint64_t second = client_submit(&client, job_tiny(1, 1)), third = client_submit(&client, job_tiny(1, 1));
    rig_for(&rig, 60);
    assert_false(actor_has(&rank, ISLR__ENVELOPE__BODY_STOP));
    expect_reason(third, "run 2 (priority 0) is before it");
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = c.has_priority = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_SET_PRIORITY;
    c.priority = 7;
    c.targets = &third;
    c.n_targets = 1;
    actor_call_ok(&client, &m);
    rank_expect_stop(&rank, first, ISLR__STOP__WHY__WHY_PREEMPT, 1);
    expect_reason(second, "run 3 (priority 7) is before it");
    world_close(&rank, 1);
}

// ---- draining -------------------------------------------------------------------------------------------------------

static void drain(int now)
{
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = c.has_now = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_DRAIN;
    c.now = now;
    actor_call_ok(&client, &m);
}

static void expect_note(int wanted)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__ListWorkers list = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get), w = ENVELOPE(LIST_WORKERS, list_workers, &list);
    Islr__Envelope *status = actor_call(&client, &q, ISLR__ENVELOPE__BODY_STATUS);
    Islr__Envelope *workers = actor_call(&client, &w, ISLR__ENVELOPE__BODY_WORKER_LIST);
    assert_int_equal(status->status->draining, wanted);
    assert_int_equal(
        status->status->n_notes && strstr(status->status->notes[0], "no more runs are started: drained by"), wanted);
    assert_int_equal(workers->worker_list->n_notes > 0, wanted);
    envelope_free(status);
    envelope_free(workers);
}

// What runs goes on unless it is to stop at once; nothing is started, also not by a server that was started again.
static void test_drain(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(0, 1)), next = client_submit(&client, job_tiny(0, 1));
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    drain(0);
    rig_for(&rig, 60);
    assert_false(actor_has(&rank, ISLR__ENVELOPE__BODY_STOP));
    rank_finish(&rank, run, attempt, OK, 0);
    expect_no_assign(&rank, 1);
    Islr__Envelope *d = client_show(&client, next);
    assert_non_null(strstr(d->run_detail->summary->reason, "scheduling is paused: drained by "));
    envelope_free(d);
    expect_note(1);
    restart(0);
    expect_note(1);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING, 0);
    actor_wait_up(&rank);
    envelope_free(rank_register(&rank, 0, 0));
    attempt = world_take(&rank, 1, next);
    expect_note(0);
    client_wait_state(&client, next, ISLR__RUN_STATE__RUN_RUNNING);
    drain(1);
    rank_expect_stop(&rank, next, ISLR__STOP__WHY__WHY_DRAIN, 1);
    rank_finish(&rank, next, attempt, STOPPED, 0);
    client_wait_state(&client, next, ISLR__RUN_STATE__RUN_QUEUED);
    expect_no_assign(&rank, 1);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING, 0);
    assert_int_equal(world_take(&rank, 1, next), 2);
    world_close(&rank, 1);
}

// ---- limits ---------------------------------------------------------------------------------------------------------

// "running", 2; NAN is for later: value < 0 unsets.
static Islr__Envelope *make_limit(const char *user, const char *name, double value)
{
    static Islr__SetLimits set;
    static Islr__Value v, *values[] = {&v};
    static char *unset[1];
    static Islr__Envelope m;
    islr__set_limits__init(&set);
    islr__value__init(&v);
    m = (Islr__Envelope)ENVELOPE(SET_LIMITS, set_limits, &set);
    set.user = (char *)user;
    v.name = unset[0] = (char *)name;
    v.has_value = 1;
    v.value = value;
    set.limits = values;
    set.unset = unset;
    set.n_limits = value >= 0;
    set.n_unset = value < 0;
    return &m;
}

static Islr__UserLimits *find_user(const Islr__Envelope *list)
{
    assert_int_equal(list->limit_list->n_users, 2); // everybody, and the one who runs this test
    return list->limit_list->users[1];
}

static Islr__Envelope *get_limits(void)
{
    Islr__GetLimits get = ISLR__GET_LIMITS__INIT;
    Islr__Envelope m = ENVELOPE(GET_LIMITS, get_limits, &get);
    return actor_call(&client, &m, ISLR__ENVELOPE__BODY_LIMIT_LIST);
}

static void test_limits(void **state)
{
    (void)state;
    struct actor ranks[4];
    char wanted[200], user[64];
    uint64_t one = client_submit(&client, job_tiny(1, 1)), two = client_submit(&client, job_tiny(1, 1));
    Islr__Envelope *list = get_limits();
    snprintf(user, sizeof user, "%s", find_user(list)->user);
    assert_int_equal(find_user(list)->queued, 2);
    envelope_free(list);
    actor_call_ok(&client, make_limit("", "running", 1));
    world_open(ranks, &rig, 4, "w");
    world_take(ranks, 1, one);
    expect_no_assign(&ranks[1], 3);
    snprintf(wanted, sizeof wanted, "user limit of 1 running runs (%s)", user);
    expect_reason(two, wanted);
    restart(0); // remembered
    for (uint32_t i = 0; i < 4; i++) {
        actor_wait_up(&ranks[i]);
        envelope_free(rank_register(&ranks[i], i ? 0 : one, i ? 0 : 1));
    }
    expect_reason(two, wanted);
    actor_call_ok(&client, make_limit(user, "running", 0)); // his own goes before everybody's, at once
    world_take(&ranks[1], 1, two);
    actor_call_ok(&client, make_limit(user, "ranks", 3));
    uint64_t wide = client_submit(&client, job_tiny(2, 1));
    expect_no_assign(&ranks[2], 2);
    snprintf(wanted, sizeof wanted, "user limit of 3 ranks (%s), it needs 2", user);
    expect_reason(wide, wanted);
    actor_call_ok(&client, make_limit(user, "ranks", -1));
    world_take(&ranks[2], 2, wide);
    list = get_limits();
    assert_int_equal(find_user(list)->running, 3);
    assert_int_equal(find_user(list)->ranks, 4);
    assert_int_equal(find_user(list)->n_own, 1);
    envelope_free(list);
    world_close(ranks, 4);
}

static void test_limit_of_waiting_runs(void **state)
{
    (void)state;
    actor_call_ok(&client, make_limit("", "queued", 2));
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(0, 1);
    s.key = (char *)"k";
    envelope_free(actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED));
    client_submit(&client, job_tiny(0, 1));
    Islr__Envelope *again = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED); // the first one, not a third
    assert_int_equal(again->submitted->run, 1);
    envelope_free(again);
    s.key = NULL;
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_DENIED),
                           "has 2 runs waiting, these would be 1 more, and the limit is 2"));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, 1);
    envelope_free(actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED));
    // many at once are counted too
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, 2);
    for (int i = 0; i < 5; i++)
        actor_ask(&client, &m);
    for (int i = 0; i < 4; i++)
        envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_FAULT));
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED));
    spec_free(s.job);
    actor_call_fault(&client, make_limit("", "runing", 2), ERR_INVALID);
    actor_call_fault(&client, make_limit("", "running", 1.5), ERR_INVALID);
    actor_call_fault(&client, make_limit("", "share", 0), ERR_INVALID);
    actor_call_fault(&client, make_limit(NULL, "running", 1), ERR_INVALID);
}

// What users have had is known after a restart, from the attempts.
static void test_usage(void **state)
{
    (void)state;
    struct actor ranks[2];
    double begun = clock_seconds();
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    rig_for(&rig, 300);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    double most = 2 * (clock_seconds() - begun) + 0.01; // milliseconds are rounded
    for (int again = 0; again < 2; again++) {
        Islr__Envelope *list = get_limits();
        double used = find_user(list)->used_seconds;
        if (used < 2 * 0.29 || used > most)
            fail_msg("%g s of at most %g", used, most);
        envelope_free(list);
        if (!again)
            restart(0);
    }
    world_close(ranks, 2);
}

// ---- time -----------------------------------------------------------------------------------------------------------

static void test_time_limit(void **state)
{
    (void)state;
    struct actor rank;
    Islr__JobSpec *job = job_tiny(0, 1);
    job->limits->minutes = 0.3 / 60;
    uint64_t run = client_submit(&client, job);
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    rank_expect_stop(&rank, run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    rank_finish(&rank, run, attempt, STOPPED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    expect_reason(run, "it took longer than its limit (limits.minutes)");
    expect_no_assign(&rank, 1); // it is not tried again
    world_close(&rank, 1);
}

// The time before the server was started again counts.
static void test_time_limit_over_restart(void **state)
{
    (void)state;
    struct actor rank;
    Islr__JobSpec *job = job_tiny(0, 1);
    job->limits->minutes = 3.0 / 60;
    uint64_t before = uv_now(&rig.loop), run = client_submit(&client, job);
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    uint64_t begun = uv_now(&rig.loop); // before it, really
    rig_for(&rig, 1000);
    restart(0);
    const struct run *r = runs_find(&rig.server->runs, run);
    assert_non_null(r);
    uint64_t now = uv_now(&rig.loop);
    assert_true(r->ran_ms + (double)((int64_t)now - r->begun_at) >
                (double)(now - begun) - 200); // clocks differ a little
    actor_wait_up(&rank);
    envelope_free(rank_register(&rank, run, attempt));
    rank_expect_stop(&rank, run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    assert_true(uv_now(&rig.loop) - before > 3000 - 200);
    world_close(&rank, 1);
}

// ---- trying again ---------------------------------------------------------------------------------------------------

static uint32_t take_next(struct actor *rank, uint64_t run)
{
    Islr__Envelope *m = rank_take(rank, 1);
    uint32_t attempt = m->assign->attempt;
    assert_int_equal(m->assign->run, run);
    envelope_free(m);
    return attempt;
}

// What may pass is tried again: at once, then after longer and longer waits, and not for ever. What cannot is not.
static void test_trying_again(void **state)
{
    (void)state;
    enum { WAIT_MS = 1000 }; // before the third
    struct actor rank;
    Islr__JobSpec *job = job_tiny(1, 1);
    job->retry->max_attempts = 3;
    uint64_t run = client_submit(&client, job);
    world_open(&rank, &rig, 1, "w");
    rank_finish(&rank, run, take_next(&rank, run), FAILED, 1);
    Islr__Envelope *d = client_show(&client, run);
    assert_null(strstr(d->run_detail->summary->reason, "tried again in ")); // as it would say while it waits
    envelope_free(d);
    uint32_t attempt = take_next(&rank, run);
    uint64_t before = uv_now(&rig.loop);
    rank_finish(&rank, run, attempt, FAILED, 1);
    d = client_show(&client, run);
    if (uv_now(&rig.loop) < before + WAIT_MS) // this machine has not stood still for so long
        assert_non_null(
            strstr(d->run_detail->summary->reason, "attempt 2 of 3 failed: as the test says; tried again in "));
    envelope_free(d);
    attempt = take_next(&rank, run); // nothing else happens meanwhile
    assert_true(uv_now(&rig.loop) >= before + WAIT_MS);
    rank_finish(&rank, run, attempt, FAILED, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    expect_reason(run, "attempt 3 of 3 failed: as the test says");
    client_control(&client, ISLR__CONTROL__VERB__VERB_RETRY, run); // by hand: with all its attempts again
    rank_finish(&rank, run, take_next(&rank, run), FAILED, 1);
    rank_finish(&rank, run, take_next(&rank, run), FAILED, 0); // not finite, data that is missing or damaged, ..
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    expect_reason(run, "as the test says");
    world_close(&rank, 1);
}

// A small run is let past one that waits for all ranks only if it is sure to end before.
static void test_backfill(void **state)
{
    (void)state;
    struct actor ranks[3];
    Islr__JobSpec *first = job_tiny(1, 1), *small = job_tiny(1, 1);
    first->limits->minutes = 10;
    small->limits->minutes = 5;
    uint64_t run = client_submit(&client, first);
    world_open(ranks, &rig, 3, "w");
    world_take(ranks, 1, run);
    uint64_t all = submit_urgent(3, 0), unlimited = client_submit(&client, job_tiny(1, 1));
    expect_no_assign(&ranks[1], 2);
    expect_reason(all, "needs 3 free ranks of one world, 2 are free");
    expect_reason(unlimited, "run 2 (priority 0) is before it");
    run = client_submit(&client, small);
    Islr__Envelope *m = rank_take(&ranks[1], 1);
    assert_int_equal(m->assign->run, run);
    envelope_free(m);
    world_close(ranks, 3);
}

// ---- what may be done when ------------------------------------------------------------------------------------------

static int may_do(Islr__Control__Verb verb, uint64_t run, struct error *why)
{
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = c.has_priority = 1;
    c.verb = verb;
    c.targets = &run;
    c.n_targets = 1;
    return (int)actor_try(&client, &m, why);
}

enum { A_QUEUED, A_HELD, A_RUNNING, A_SUCCEEDED, A_FAILED, A_CANCELLED, A_STRANGER, STATES };

// A run in that state, on a rank that is there.
static uint64_t bring_to(int wanted, struct actor *rank)
{
    if (wanted == A_STRANGER)
        return 4711;
    uint64_t run = client_submit(&client, job_tiny(wanted == A_QUEUED ? 8 : 1, 1)); // 8 ranks are never there
    if (wanted == A_QUEUED)
        return run;
    for (uint64_t given = 0; given != run;) { // one before it may have been given and cancelled at once
        Islr__Envelope *m = rank_take(rank, 1);
        given = m->assign->run;
        envelope_free(m);
    }
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    if (wanted == A_SUCCEEDED || wanted == A_FAILED)
        rank_finish(rank, run, 1, wanted == A_FAILED ? FAILED : OK, 0);
    if (wanted == A_CANCELLED || wanted == A_HELD) {
        client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
        rank_finish(rank, run, 1, STOPPED, 0);
        client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED);
    }
    return run;
}

static void test_every_verb_on_every_state(void **state)
{
    (void)state;
    static const struct {
        Islr__Control__Verb verb;
        int allowed[STATES];
    } table[] = {
        // queued, held, running, succeeded, failed, cancelled
        {ISLR__CONTROL__VERB__VERB_CANCEL, {1, 1, 1, 0, 0, 1}},
        {ISLR__CONTROL__VERB__VERB_HOLD, {1, 0, 0, 0, 0, 0}},
        {ISLR__CONTROL__VERB__VERB_RELEASE, {0, 1, 0, 0, 0, 0}},
        {ISLR__CONTROL__VERB__VERB_RETRY, {0, 0, 0, 0, 1, 1}},
        {ISLR__CONTROL__VERB__VERB_SET_PRIORITY, {1, 1, 1, 0, 0, 0}},
    };
    static const char *const names[] = {"queued", "held", "running", "succeeded", "failed", "cancelled"};
    struct actor rank;
    struct error why;
    world_open(&rank, &rig, 1, "w");
    for (size_t v = 0; v < sizeof table / sizeof *table; v++) {
        for (int s = 0; s < STATES; s++) {
            uint64_t run = bring_to(s == A_HELD ? A_QUEUED : s, &rank);
            if (s == A_HELD)
                client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, run);
            int code = may_do(table[v].verb, run, &why);
            int wanted = s == A_STRANGER ? ERR_NOT_FOUND : table[v].allowed[s] ? ERR_NONE : ERR_INVALID;
            if (code != wanted)
                fail_msg("verb %d on a run that is %s: %d (%s)", (int)table[v].verb, names[s], code, why.text);
            if (s == A_STRANGER)
                assert_string_equal(why.text, "there is no run 4711");
            else if (code)
                assert_true(strstr(why.text, names[s]) || strstr(why.text, "cannot"));
            // the rank is free again for the next
            if (s != A_STRANGER)
                may_do(ISLR__CONTROL__VERB__VERB_CANCEL, run, &why);
            if (s != A_STRANGER)
                may_do(ISLR__CONTROL__VERB__VERB_CANCEL, run, &why);
            rig_for(&rig, 10);
            while (actor_has(&rank, ISLR__ENVELOPE__BODY_ASSIGN))
                envelope_free(rank_take(&rank, 1));
        }
    }
    world_close(&rank, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_preemption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preempted_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_raised_priority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_of_waiting_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit_over_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trying_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backfill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_verb_on_every_state, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
