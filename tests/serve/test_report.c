// Ranks that report on runs that are not theirs: whatever they send and however they came in, it is refused, counted and
// changes nothing, also after the server's restart and on attempts that have ended; the run's own rank is not disturbed.
#include "tests/serve/world.h"

#include <stdio.h>

#include "core/base/memory.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;

static struct rig rig;
static struct actor admin;

static int setup_lease(uint32_t lease_ms)
{
    rig_open_with(&rig, 1, lease_ms);
    actor_open(&admin, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_lease(RIG_LEASE_MS);
}

static int setup_brief(void **state)
{
    (void)state;
    return setup_lease(RIG_BRIEF_LEASE_MS);
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

// A worker by a token of its own, over the network.
static void dial_worker(struct actor *a, const char *user)
{
    Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
    Islr__Envelope m = ENVELOPE(CREATE_TOKEN, create_token, &q);
    q.user = (char *)user;
    q.role = (char *)"worker";
    Islr__Envelope *reply = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_TOKEN_CREATED);
    actor_dial(a, &rig, ISLR__HELLO__ROLE__ROLE_WORKER, reply->token_created->token);
    envelope_free(reply);
    actor_wait_up(a);
}

static uint64_t refused_reports(void)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get);
    Islr__Envelope *status = actor_call(&admin, &q, ISLR__ENVELOPE__BODY_STATUS);
    uint64_t n = status->status->refused_reports;
    envelope_free(status);
    return n;
}

// ---- what it tries --------------------------------------------------------------------------------------------------

static void send_line(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Record record = ISLR__RECORD__INIT, *list = &record;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    record.has_seq = records.has_run = records.has_attempt = 1;
    record.seq = 1;
    record.what_case = ISLR__RECORD__WHAT_LOG;
    record.log = (char *)"a line that the run has not said";
    records.run = run;
    records.attempt = attempt;
    records.records = &list;
    records.n_records = 1;
    actor_send(a, &m);
}

// Records end the connection; it comes back, and registers again if it had.
static void try_records(struct actor *a, uint64_t run, uint32_t attempt)
{
    a->up = 0;
    *a->why.text = 0;
    send_line(a, run, attempt);
    actor_wait_up(a);
    assert_int_equal(a->why.code, ERR_DENIED);
    if (a->facts.world)
        envelope_free(rank_register(a, 0, 0));
}

static void try_put(struct actor *a)
{
    struct hash hash = hash_memory("abc", 3);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    put.has_sha256 = put.has_total = put.has_offset = put.has_data = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = 3;
    put.data = (ProtobufCBinaryData){3, (uint8_t *)"abc"};
    actor_call_fault(a, &m, ERR_DENIED);
}

static void try_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const struct hash *hash)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_fault(a, &m, ERR_DENIED);
}

static void try_finish(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope m = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = OK;
    actor_call_fault(a, &m, ERR_DENIED);
}

static void expect_abandon(struct actor *a, uint64_t run)
{
    rank_expect_stop(a, run, ISLR__STOP__WHY__WHY_ABANDON, 0);
}

static void try_progress(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Progress progress = ISLR__PROGRESS__INIT;
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, &progress);
    progress.has_run = progress.has_attempt = progress.has_step = progress.has_steps = 1;
    progress.run = run;
    progress.attempt = attempt;
    progress.step = progress.steps = 4711;
    actor_send(a, &m);
    expect_abandon(a, run);
}

static void try_pulse(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Pulse pulse = ISLR__PULSE__INIT;
    Islr__Envelope m = ENVELOPE(PULSE, pulse, &pulse);
    pulse.has_run = pulse.has_attempt = pulse.has_stuck = 1;
    pulse.run = run;
    pulse.attempt = attempt;
    pulse.stuck = 1;
    actor_send(a, &m);
    expect_abandon(a, run);
}

// All of it, of an attempt under way; `hash` is an artifact that is there.
static void try_all(struct actor *a, uint64_t run, uint32_t attempt, const struct hash *hash)
{
    uint64_t before = refused_reports();
    try_records(a, run, attempt);
    try_put(a);
    try_checkpoint(a, run, attempt, hash);
    try_finish(a, run, attempt);
    try_progress(a, run, attempt);
    try_pulse(a, run, attempt);
    assert_int_equal(refused_reports(), before + 6);
}

// ---- who tries ------------------------------------------------------------------------------------------------------

static void check_unregistered(struct actor *a, uint64_t run, uint32_t attempt, const struct hash *hash)
{
    uint64_t before = refused_reports();
    try_records(a, run, attempt);
    try_put(a);
    try_checkpoint(a, run, attempt, hash);
    try_finish(a, run, attempt);
    assert_int_equal(refused_reports(), before + 4);
}

// Under a rank's own name: as another process, and, over the network, as the same one.
static void check_impostors(const struct actor *rank)
{
    struct actor other;
    actor_open(&other, &rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    other.facts = rank->facts;
    other.facts.pid++;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &other.facts);
    assert_non_null(strstr(actor_call_fault(&other, &m, ERR_INVALID), "cannot be the same"));
    actor_close(&other);
    dial_worker(&other, "eve");
    other.facts = rank->facts;
    assert_non_null(strstr(actor_call_fault(&other, &m, ERR_DENIED), "not eve's"));
    actor_close(&other);
}

// Nor may a connection that has registered go on as another rank.
static void check_second_name(struct actor *a)
{
    Islr__Register facts = a->facts;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &facts);
    facts.world = (char *)"w";
    facts.rank = 0;
    facts.size = 2;
    actor_call_fault(a, &m, ERR_INVALID);
}

static void check_run(uint64_t run, Islr__RunState state)
{
    Islr__Envelope *d = client_show(&admin, run);
    assert_int_equal(d->run_detail->summary->state, state);
    assert_int_not_equal(d->run_detail->summary->step, 4711);
    assert_int_equal(d->run_detail->n_checkpoints, 1);
    envelope_free(d);
}

static void wait_all_up(struct actor **actors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        actor_wait_up(actors[i]);
}

static void restart(struct actor **actors, size_t count)
{
    rig_stop_server(&rig);
    for (size_t i = 0; i < count; i++)
        actors[i]->up = 0;
    rig_start_server(&rig);
    wait_all_up(actors, count);
}

static void test_forged(void **state)
{
    (void)state;
    struct actor ranks[2], near, far;
    uint64_t run = client_submit(&admin, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_records(&ranks[0], run, attempt, 1, 10);
    struct hash soup = rank_put(&ranks[0], "a soup", 6);
    rank_checkpoint(&ranks[0], run, attempt, "soup", 3, &soup);
    actor_open(&near, &rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    dial_worker(&far, "eve");
    check_unregistered(&near, run, attempt, &soup);
    check_unregistered(&far, run, attempt, &soup);
    rank_introduce(&near, "near", 0, 1);
    rank_introduce(&far, "far", 0, 1);
    try_all(&near, run, attempt, &soup);
    try_all(&far, run, attempt, &soup);
    check_second_name(&far);
    check_impostors(&ranks[0]);
    // The gang's second rank does not report either; its signs of life are welcome.
    try_finish(&ranks[1], run, attempt);
    try_checkpoint(&ranks[1], run, attempt, &soup);
    try_put(&ranks[1]);
    check_run(run, ISLR__RUN_STATE__RUN_RUNNING);
    // The claim to be in the middle of it gets nothing.
    Islr__Envelope *m = rank_register(&far, run, attempt);
    assert_true(m->registered->abandon);
    assert_int_equal(m->registered->acked_seq, 0);
    envelope_free(m);
    envelope_free(rank_register(&far, 0, 0));
    rank_records(&ranks[0], run, attempt, 11, 10);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    // What has ended is not anybody's to say again, but the one's whose it was.
    rank_finish(&ranks[0], run, attempt, OK, 0);
    try_finish(&far, run, attempt);
    try_records(&far, run, attempt);
    try_checkpoint(&far, run, attempt, &soup);
    actor_close(&near);
    actor_close(&far);
    world_close(ranks, 2);
}

// The server has just started: it knows ranks by what they say, and attempts by its database.
static void test_after_restart(void **state)
{
    (void)state;
    struct actor rank, far, *all[] = {&admin, &rank, &far};
    uint64_t run = client_submit(&admin, job_tiny(1, 1));
    rank_open(&rank, &rig, "w", 0, 1);
    uint32_t attempt = world_take(&rank, 1, run);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_records(&rank, run, attempt, 1, 10);
    struct hash soup = rank_put(&rank, "a soup", 6);
    rank_checkpoint(&rank, run, attempt, "soup", 3, &soup);
    dial_worker(&far, "eve");
    rank_introduce(&far, "far", 0, 1);
    rig.keep_network = 1;
    restart(all, 3);
    Islr__Envelope *m = rank_register(&far, run, attempt);
    assert_true(m->registered->abandon);
    envelope_free(m);
    try_all(&far, run, attempt, &soup); // before the rank is back
    m = rank_register(&rank, run, attempt);
    assert_false(m->registered->abandon);
    assert_int_equal(m->registered->acked_seq, 10);
    envelope_free(m);
    try_all(&far, run, attempt, &soup);
    check_run(run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_records(&rank, run, attempt, 11, 5);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    restart(all, 3);
    envelope_free(rank_register(&far, 0, 0));
    try_finish(&far, run, attempt);
    envelope_free(rank_register(&rank, run, attempt));
    rank_finish(&rank, run, attempt, OK, 0); // it had not heard the answer
    actor_close(&far);
    actor_close(&rank);
}

// A rank whose run was given to others is told to leave its own attempt, which is no offence, and kept from theirs.
static void test_fenced(void **state)
{
    (void)state;
    struct actor old[2], fresh;
    uint64_t run = client_submit(&admin, job_tiny(0, 1));
    world_open(old, &rig, 2, "w1");
    assert_int_equal(world_take(old, 2, run), 1);
    struct hash soup = rank_put(&old[0], "a soup", 6);
    rank_checkpoint(&old[0], run, 1, "soup", 3, &soup);
    actor_close(&old[1]);
    rank_expect_stop(&old[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_QUEUED);
    rank_open(&fresh, &rig, "w2", 0, 1);
    assert_int_equal(world_take(&fresh, 1, run), 2);
    uint64_t before = refused_reports();
    send_line(&old[0], run, 1);
    expect_abandon(&old[0], run);
    rank_finish(&old[0], run, 1, OK, 0); // its own, which has ended: nothing happens
    assert_int_equal(refused_reports(), before);
    try_finish(&old[0], run, 2);
    try_progress(&old[0], run, 2);
    try_checkpoint(&old[0], run, 2, &soup);
    assert_int_equal(refused_reports(), before + 3);
    check_run(run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_finish(&fresh, run, 2, OK, 0);
    client_wait_state(&admin, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    actor_close(&fresh);
    actor_close(&old[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_after_restart, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_fenced, setup_brief, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
