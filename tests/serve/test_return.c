// Ranks, connections and the server go away in the middle of a run, and come back or do not.
#define SCENE_LEASE_MS RIG_BRIEF_LEASE_MS
#include "tests/serve/scene.h"

#include "core/base/clock.h"
#include "core/spec/spec.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;

// ---- ranks ----------------------------------------------------------------------------------------------------------

static void test_lost(void **state)
{
    (void)state;
    struct actor ranks[2], others[2];
    Islr__JobSpec *job = job_tiny(2, 1);
    job->retry->max_attempts = 2;
    uint64_t run = client_submit(&client, job);
    world_open(ranks, &rig, 2, "w1");
    uint32_t attempt = world_take(ranks, 2, run);
    rank_records(&ranks[0], run, attempt, 1, 10);
    struct hash point = rank_put(&ranks[0], "point", 5);
    rank_checkpoint(&ranks[0], run, attempt, "resume", 5, &point);
    actor_close(&ranks[1]); // does not come back within the lease
    rank_expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    actor_close(&ranks[0]);
    world_open(others, &rig, 2, "w2");
    Islr__Envelope *m = rank_take(&others[0], 1);
    assert_int_equal(m->assign->attempt, 2);
    assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
    envelope_free(m);
    envelope_free(rank_take(&others[1], 1));
    client_follow(&client, run, 0);
    rank_records(&others[0], run, 2, 1, 4);
    world_close(others, 2);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED); // two attempts are all it gets
    assert_int_equal(client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_FAILED), 7 + 10 + 4);
    Islr__Envelope *d = client_show(&client, run);
    assert_string_equal(d->run_detail->attempts[0]->outcome, "lost");
    assert_non_null(strstr(d->run_detail->summary->reason, "attempt 2 of 2 lost: rank"));
    envelope_free(d);
}

static void test_failed_and_refused(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    world_open(&rank, &rig, 1, "w");
    envelope_free(rank_take(&rank, 0)); // would not begin
    uint32_t attempt = world_take(&rank, 1, run);
    assert_int_equal(attempt, 2);
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 1);
    attempt = world_take(&rank, 1, run); // after a pause
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    Islr__Envelope *d = client_show(&client, run);
    assert_string_equal(d->run_detail->summary->reason, "as the test says");
    assert_non_null(strstr(d->run_detail->attempts[0]->reason, "the disk of this node is full"));
    envelope_free(d);
    world_close(&rank, 1);
}

// A connection that is lost alone changes nothing.
static void test_reconnect(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    rank_records(&ranks[0], run, attempt, 1, 10);
    struct error why;
    error_set(&why, ERR_UNREACHABLE, "the cable was pulled");
    peer_close(link_peer(ranks[0].link), &why);
    ranks[0].up = 0;
    actor_wait_up(&ranks[0]);
    Islr__Envelope *m = rank_register(&ranks[0], run, attempt);
    assert_int_equal(m->registered->acked_seq, 10);
    assert_false(m->registered->abandon);
    envelope_free(m);
    rank_records(&ranks[0], run, attempt, 6, 10); // sends again what it is not sure of
    // somebody else's attempt is not its any more
    m = rank_register(&ranks[1], run, attempt + 1);
    assert_true(m->registered->abandon);
    envelope_free(m);
    m = rank_register(&ranks[1], run, attempt);
    assert_false(m->registered->abandon);
    envelope_free(m);
    rig_for(&rig, 2 * RIG_BRIEF_LEASE_MS);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_follow(&client, run, 0);
    assert_int_equal(client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 15 + 4);
    world_close(ranks, 2);
}

// A server that is held up for longer than a lease has not listened: nobody is given up for that, neither who is there nor
// who has just lost his connection, whether the server had noticed or finds out after. (Everybody is held up here: all are
// in this process.)
enum { HELD_UP_LEASE_MS = 2 * RIG_BRIEF_LEASE_MS }; // several of the server's ticks

static int setup_held_up(void **state)
{
    (void)state;
    rig_open_with(&rig, 0, HELD_UP_LEASE_MS);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static void lose_and_hold_up(struct actor *rank, uint64_t run, uint32_t attempt, int noticed)
{
    struct error why;
    envelope_free(rank_register(rank, run, attempt)); // heard of just now
    error_set(&why, ERR_UNREACHABLE, "the cable was pulled");
    peer_close(link_peer(rank->link), &why);
    rank->up = 0;
    if (noticed)
        rig_for(&rig, 1);
    clock_sleep(HELD_UP_LEASE_MS * 1.1 / 1e3);
    rig_for(&rig, HELD_UP_LEASE_MS / 2);
    actor_wait_up(rank);
    Islr__Envelope *m = rank_register(rank, run, attempt);
    assert_false(m->registered->abandon);
    envelope_free(m);
}

static void test_held_up(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    for (int i = 0; i < 3; i++) { // at moments of all kinds
        clock_sleep(HELD_UP_LEASE_MS * (1.1 + 0.1 * i) / 1e3);
        rig_for(&rig, 130);
    }
    lose_and_hold_up(&ranks[0], run, attempt, 0);
    lose_and_hold_up(&ranks[0], run, attempt, 1);
    for (int i = 0; i < 2; i++)
        assert_false(actor_has(&ranks[i], ISLR__ENVELOPE__BODY_STOP) || ranks[i].closed);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    world_close(ranks, 2);
}

// ---- the server -----------------------------------------------------------------------------------------------------

static void restart(struct actor *ranks, uint32_t size)
{
    rig_stop_server(&rig);
    client.up = 0;
    for (uint32_t i = 0; i < size; i++)
        ranks[i].up = 0;
    rig_start_server(&rig);
    actor_wait_up(&client);
    for (uint32_t i = 0; i < size; i++)
        actor_wait_up(&ranks[i]);
}

static void test_restart_while_running(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    rank_records(&ranks[0], run, attempt, 1, 10);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    restart(ranks, 2);
    for (int i = 0; i < 2; i++) {
        Islr__Envelope *m = rank_register(&ranks[i], run, attempt);
        assert_false(m->registered->abandon);
        assert_int_equal(m->registered->acked_seq, 10);
        envelope_free(m);
    }
    rank_records(&ranks[0], run, attempt, 11, 10);
    rig_for(&rig, 2 * RIG_BRIEF_LEASE_MS);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_follow(&client, run, 0);
    assert_int_equal(client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 20 + 4);
    world_close(ranks, 2);
}

static void test_restart_without_one(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    restart(ranks, 2);
    envelope_free(rank_register(&ranks[0], run, attempt)); // the other one stays away
    rank_expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    Islr__Envelope *m = rank_register(&ranks[1], run, attempt); // too late
    assert_true(m->registered->abandon);
    envelope_free(m);
    assert_int_equal(world_take(ranks, 2, run), 2);
    world_close(ranks, 2);
}

// The attempt is in the database, but the ranks have not heard of it, or only some.
static void test_restart_while_starting(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    envelope_free(rank_take(&ranks[0], 1));
    envelope_free(actor_next(&ranks[1], ISLR__ENVELOPE__BODY_ASSIGN)); // lost on its way
    restart(ranks, 2);
    envelope_free(rank_register(&ranks[0], run, 1));
    envelope_free(rank_register(&ranks[1], 0, 0));
    Islr__Envelope *m = rank_take(&ranks[1], 1);
    assert_int_equal(m->assign->attempt, 1);
    assert_string_equal(m->assign->job->preset, "tiny");
    envelope_free(m);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    rig_for(&rig, 2 * RIG_BRIEF_LEASE_MS);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_STOP));
    world_close(ranks, 2);
}

static void test_restart_while_stopping(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    envelope_free(actor_next(&rank, ISLR__ENVELOPE__BODY_STOP));
    restart(&rank, 1);
    envelope_free(rank_register(&rank, run, attempt));
    rank_expect_stop(&rank, run, ISLR__STOP__WHY__WHY_CANCEL, 1); // told again
    world_close(&rank, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED); // not queued again, though it was lost
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_and_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reconnect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_up, setup_held_up, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_without_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_starting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_stopping, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
