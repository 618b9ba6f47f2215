// The server's clock is set while it works: back by hours, ahead by years, over a restart. Its clock_wall_ms() comes from
// here (-Wl,--wrap); what is measured and waited for goes by the monotonic clock, which nobody sets.
#include "tests/serve/world.h"

#include <stdatomic.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/memory.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;
// With half a minute more than is said: the machine may stand still while the server looks.
static const int64_t HOUR = 3600000, HOURS = 3 * 3600000ll + 30000, YEAR = 365 * 24 * 3600000ll + 30000;

static _Atomic int64_t shift_ms;

int64_t __real_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void)
{
    return __real_clock_wall_ms() + atomic_load(&shift_ms);
}

static struct rig rig;
static struct actor admin;
static char *said; // the server's log
static size_t said_size;

static int setup(void **state)
{
    (void)state;
    atomic_store(&shift_ms, 0);
    rig_open_with(&rig, 1, RIG_BRIEF_LEASE_MS);
    rig.log.stream = open_memstream(&said, &said_size);
    actor_open(&admin, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    FILE *log = rig.log.stream;
    rig_close(&rig);
    fclose(log);
    free(said);
    return 0;
}

static void wait_said(const char *text)
{
    for (unsigned ms = 0;; rig_wait(&rig, &ms, text)) {
        fflush(rig.log.stream);
        if (strstr(said, text))
            return;
    }
}

// Every event of a run, its start and its end lie in the order in which they happened.
static void check_times(uint64_t run)
{
    Islr__Envelope *m = client_show(&admin, run);
    const Islr__RunDetail *d = m->run_detail;
    for (size_t i = 1; i < d->n_events; i++)
        assert_true(d->events[i]->time_ms >= d->events[i - 1]->time_ms);
    for (size_t i = 0; i < d->n_attempts; i++)
        assert_true(!d->attempts[i]->ended_ms || d->attempts[i]->ended_ms >= d->attempts[i]->started_ms);
    assert_true(d->summary->started_ms >= d->summary->submitted_ms);
    assert_true(!d->summary->ended_ms || d->summary->ended_ms >= d->summary->started_ms);
    envelope_free(m);
}

static uint64_t newest(void)
{
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    Islr__Envelope *answer = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_RUN_LIST);
    uint64_t run = answer->run_list->runs[0]->run;
    envelope_free(answer);
    return run;
}

static double used_seconds(void)
{
    Islr__GetLimits get = ISLR__GET_LIMITS__INIT;
    Islr__Envelope m = ENVELOPE(GET_LIMITS, get_limits, &get);
    Islr__Envelope *answer = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_LIMIT_LIST);
    double used = 0;
    for (size_t i = 0; i < answer->limit_list->n_users; i++)
        used += answer->limit_list->users[i]->used_seconds;
    envelope_free(answer);
    return used;
}

// A run that may take an hour, under way.
static uint64_t begin_run(struct actor *rank, uint32_t *attempt)
{
    Islr__JobSpec *job = job_tiny(1, 1);
    job->limits->minutes = 60;
    uint64_t run = client_submit(&admin, job);
    *attempt = world_take(rank, 1, run);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_RUNNING);
    return run;
}

static void expect_undisturbed(struct actor *rank, uint64_t run)
{
    rig_for(&rig, 2 * RIG_BRIEF_LEASE_MS);
    assert_false(actor_has(rank, ISLR__ENVELOPE__BODY_STOP));
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_RUNNING);
}

static void restart(struct actor *rank)
{
    rig_stop_server(&rig);
    admin.up = rank->up = 0;
    rig_start_server(&rig);
    actor_wait_up(&admin);
    actor_wait_up(rank);
}

static void test_back(void **state)
{
    (void)state;
    struct actor rank;
    uint32_t attempt;
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t run = begin_run(&rank, &attempt);
    rank_records(&rank, run, attempt, 1, 10);
    atomic_store(&shift_ms, -HOURS);
    wait_said("the clock was set back by 3h 00m");
    uint64_t later = client_submit(&admin, job_tiny(1, 1));
    assert_int_equal(newest(), later); // by number, whatever the clock says
    expect_undisturbed(&rank, run);
    rank_records(&rank, run, attempt, 11, 10);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    check_times(run);
    attempt = world_take(&rank, 1, later);
    rank_finish(&rank, later, attempt, OK, 0);
    client_wait_state(&admin, later, ISLR__RUN_STATE__RUN_SUCCEEDED);
    check_times(later);
    client_follow(&admin, run, 0);
    client_follow_to_end(&admin, 0, ISLR__RUN_STATE__RUN_SUCCEEDED);
    assert_true(used_seconds() >= 0 && used_seconds() < 120);
    actor_close(&rank);
}

// Everything that the database knows lies in the future of the server that starts.
static void test_back_over_a_restart(void **state)
{
    (void)state;
    struct actor rank;
    uint32_t attempt;
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t run = begin_run(&rank, &attempt), waiting = client_submit(&admin, job_tiny(1, 1));
    rank_records(&rank, run, attempt, 1, 10);
    atomic_store(&shift_ms, -HOURS);
    restart(&rank);
    Islr__Envelope *m = rank_register(&rank, run, attempt);
    assert_false(m->registered->abandon);
    assert_int_equal(m->registered->acked_seq, 10);
    envelope_free(m);
    expect_undisturbed(&rank, run);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    check_times(run);
    world_take(&rank, 1, waiting);
    check_times(waiting);
    assert_true(used_seconds() >= 0 && used_seconds() < 120);
    actor_close(&rank);
}

// Leases and limits do not follow; tokens do, and say so, and are valid again when the clock is.
static void test_ahead(void **state)
{
    (void)state;
    struct actor rank, ann;
    uint32_t attempt;
    Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
    Islr__Envelope create = ENVELOPE(CREATE_TOKEN, create_token, &q);
    q.user = (char *)"ann";
    q.role = (char *)"viewer";
    q.has_expires_ms = 1;
    q.expires_ms = clock_wall_ms() + HOUR;
    Islr__Envelope *token = actor_call(&admin, &create, ISLR__ENVELOPE__BODY_TOKEN_CREATED);
    actor_dial(&ann, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token->token_created->token);
    actor_wait_up(&ann);
    rank_open(&rank, &rig, "w", 0, 1);
    uint64_t run = begin_run(&rank, &attempt);
    atomic_store(&shift_ms, YEAR);
    wait_said("the clock has jumped ahead by 8760h 00m");
    actor_wait_refused(&ann);
    assert_non_null(strstr(ann.why.text, "has expired (by the server's clock)"));
    actor_close(&ann);
    expect_undisturbed(&rank, run);
    atomic_store(&shift_ms, 0);
    wait_said("the clock was set back by 8760h 00m");
    actor_dial(&ann, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, token->token_created->token);
    actor_wait_up(&ann);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    check_times(run);
    envelope_free(token);
    actor_close(&ann);
    actor_close(&rank);
}

// An upload that is not named yet is old at once, and may be collected: its rank is told, and sends it again.
static void test_ahead_of_an_upload(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint32_t attempt, other;
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    world_open(ranks, &rig, 2, "w");
    uint64_t run = begin_run(&ranks[0], &attempt), second = begin_run(&ranks[1], &other);
    struct hash soup = rank_put(&ranks[0], "a soup", 6);
    atomic_store(&shift_ms, YEAR);
    rank_finish(&ranks[1], second, other, OK, 0); // an occasion to collect
    client_wait_state(&admin, second, ISLR__RUN_STATE__RUN_SUCCEEDED);
    wait_said("1 unneeded artifacts removed");
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof soup.bytes, soup.bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    assert_non_null(strstr(actor_call_fault(&ranks[0], &m, ERR_NOT_FOUND), "has not been uploaded"));
    rank_put(&ranks[0], "a soup", 6);
    actor_call_ok(&ranks[0], &m);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    world_close(ranks, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ahead_of_an_upload, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
