// A run's way over ranks: assignment, records, artifacts, the end; and what happens when ranks, connections or the server
// go away in between.
#include "tests/serve/rig.h"

#include <stdio.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED,
                                     STOPPED = ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED;

static struct rig rig;
static struct actor client;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    actor_close(&client);
    rig_close(&rig);
    return 0;
}

static void open_world(struct actor *ranks, uint32_t size, const char *name)
{
    for (uint32_t i = 0; i < size; i++)
        rank_open(&ranks[i], &rig, name, i, size);
}

static void close_world(struct actor *ranks, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        actor_close(&ranks[i]);
}

// Takes the Assign on all ranks; the attempt's number.
static uint32_t take_all(struct actor *ranks, uint32_t size, uint64_t run)
{
    uint32_t attempt = 0;
    for (uint32_t i = 0; i < size; i++) {
        Islr__Envelope *m = rank_take(&ranks[i], 1);
        assert_int_equal(m->assign->run, run);
        assert_int_equal(m->assign->n_gang, size);
        assert_int_equal(m->assign->next_seq, 1);
        attempt = m->assign->attempt;
        envelope_free(m);
    }
    return attempt;
}

static void expect_stop(struct actor *rank, uint64_t run, Islr__Stop__Why why, int save)
{
    Islr__Envelope *m = actor_next(rank, ISLR__ENVELOPE__BODY_STOP);
    assert_int_equal(m->stop->run, run);
    assert_int_equal(m->stop->why, why);
    assert_int_equal(m->stop->save, save);
    envelope_free(m);
}

static uint64_t follow(struct actor *a, uint64_t run, uint64_t after)
{
    Islr__Follow f = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &f);
    f.has_run = f.has_after_seq = f.has_progress = 1;
    f.run = run;
    f.after_seq = after;
    f.progress = 1;
    return actor_ask(a, &m);
}

// Reads what is followed to its end; checks that no record is missing or doubled. Returns the last seq.
static uint64_t follow_to_end(struct actor *a, uint64_t after, Islr__RunState wanted)
{
    Islr__Envelope *end = actor_next(a, ISLR__ENVELOPE__BODY_FOLLOW_END);
    while (actor_has(a, ISLR__ENVELOPE__BODY_RECORDS)) {
        Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_RECORDS);
        for (size_t i = 0; i < m->records->n_records; i++)
            assert_int_equal(m->records->records[i]->seq, ++after);
        envelope_free(m);
    }
    assert_int_equal(end->follow_end->last_seq, after);
    assert_int_equal(end->follow_end->state, wanted);
    envelope_free(end);
    return after;
}

static Islr__Envelope *checkpoints(uint64_t run)
{
    Islr__ListCheckpoints list = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &list);
    list.has_run = 1;
    list.run = run;
    return actor_call(&client, &m, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST);
}

static int artifact_exists(const struct hash *hash)
{
    char hex[65], path[200];
    hash_to_hex(hash, hex);
    snprintf(path, sizeof path, "%s/artifacts/%.2s/%s", rig.directory, hex, hex);
    return file_exists(path);
}

// ---- the whole way --------------------------------------------------------------------------------------------------

static void check_fetched(const struct hash *hash, const uint8_t *data, size_t size)
{
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    fetch.has_sha256 = fetch.has_offset = fetch.has_size = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    fetch.size = 1 << 20; // more than a chunk may hold
    while (fetch.offset < size) {
        Islr__Envelope *chunk = actor_call(&client, &m, ISLR__ENVELOPE__BODY_CHUNK);
        assert_int_equal(chunk->chunk->total, size);
        assert_int_equal(chunk->chunk->offset, fetch.offset);
        assert_in_range(chunk->chunk->data.len, 1, size - fetch.offset);
        assert_memory_equal(chunk->chunk->data.data, data + fetch.offset, chunk->chunk->data.len);
        fetch.offset += chunk->chunk->data.len;
        envelope_free(chunk);
    }
    fetch.offset = size + 1;
    actor_call_fault(&client, &m, ERR_INVALID);
}

static void test_run(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    follow(&client, run, 0);
    rank_open(&ranks[0], &rig, "w", 0, 2);
    rig_for(&rig, 50);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_ASSIGN)); // half a world gets no work
    rank_open(&ranks[1], &rig, "w", 1, 2);
    uint32_t attempt = take_all(ranks, 2, run);
    assert_int_equal(attempt, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    Islr__Progress progress = ISLR__PROGRESS__INIT;
    Islr__Envelope p = ENVELOPE(PROGRESS, progress, &progress);
    progress.has_run = progress.has_attempt = progress.has_step = progress.has_steps = 1;
    progress.run = run;
    progress.attempt = attempt;
    progress.step = 70;
    progress.steps = 100;
    progress.doing = (char *)"train";
    actor_send(&ranks[0], &p);
    rank_records(&ranks[0], run, attempt, 1, 50);
    rank_records(&ranks[0], run, attempt, 41, 30);
    Islr__Envelope *pushed = actor_next(&client, ISLR__ENVELOPE__BODY_PROGRESS);
    assert_int_equal(pushed->progress->step, 70);
    envelope_free(pushed);
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(d->run_detail->summary->step, 70);
    assert_int_equal(d->run_detail->summary->steps, 100);
    assert_int_equal(d->run_detail->attempts[0]->n_ranks, 2);
    envelope_free(d);

    size_t size = 700001;
    uint8_t *data = xmalloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    struct hash soup = rank_put(&ranks[0], data, size), again = rank_put(&ranks[0], data, size);
    assert_true(hash_equal(&soup, &again));
    rank_checkpoint(&ranks[0], run, attempt, "soup", 100, &soup);
    rank_checkpoint(&ranks[0], run, attempt, "soup", 100, &soup); // said twice: one checkpoint
    struct hash points[3];
    for (int i = 0; i < 3; i++) {
        data[0] = (uint8_t)i;
        points[i] = rank_put(&ranks[0], data, 5000);
        rank_checkpoint(&ranks[0], run, attempt, "resume", (uint64_t)i, &points[i]);
    }
    rig_for(&rig, 100);
    assert_false(artifact_exists(&points[0])); // two resume points are enough
    assert_true(artifact_exists(&points[1]));
    rank_finish(&ranks[0], run, attempt, OK, 0);
    rank_finish(&ranks[0], run, attempt, OK, 0); // said twice
    follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED);
    rig_for(&rig, 100);
    assert_false(artifact_exists(&points[2]));
    Islr__Envelope *list = checkpoints(run);
    assert_int_equal(list->checkpoint_list->n_checkpoints, 1);
    assert_string_equal(list->checkpoint_list->checkpoints[0]->what, "soup");
    assert_int_equal(list->checkpoint_list->checkpoints[0]->size_bytes, size);
    envelope_free(list);
    data[0] = 0;
    check_fetched(&soup, data, size);
    free(data);
    // the ranks are free for the next
    run = client_submit(&client, job_tiny(2, 1));
    take_all(ranks, 2, run);
    close_world(ranks, 2);
}

static void test_gangs_side_by_side(void **state)
{
    (void)state;
    struct actor ranks[4];
    uint64_t one = client_submit(&client, job_tiny(1, 1)), two = client_submit(&client, job_tiny(2, 1));
    uint64_t four = client_submit(&client, job_tiny(4, 1));
    open_world(ranks, 4, "w");
    uint32_t a = take_all(&ranks[0], 1, one), b = take_all(&ranks[1], 2, two);
    rank_finish(&ranks[1], two, b, OK, 0);
    rig_for(&rig, 50);
    for (int i = 0; i < 4; i++) // all or none
        assert_false(actor_has(&ranks[i], ISLR__ENVELOPE__BODY_ASSIGN));
    Islr__Envelope *d = client_show(&client, four);
    assert_string_equal(d->run_detail->summary->reason, "needs 4 free ranks, there are 3");
    envelope_free(d);
    rank_finish(&ranks[0], one, a, OK, 0);
    take_all(ranks, 4, four);
    close_world(ranks, 4);
}

// ---- cancel ---------------------------------------------------------------------------------------------------------

static void test_cancel_and_retry(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    open_world(ranks, 2, "w");
    uint32_t attempt = take_all(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    for (int i = 0; i < 2; i++)
        expect_stop(&ranks[i], run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_STOPPING);
    struct hash point = rank_put(&ranks[0], "resume", 6);
    rank_checkpoint(&ranks[0], run, attempt, "resume", 17, &point);
    rank_finish(&ranks[0], run, attempt, STOPPED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED);
    // goes on from there
    client_control(&client, ISLR__CONTROL__VERB__VERB_RETRY, run);
    Islr__Envelope *m = rank_take(&ranks[0], 1);
    assert_int_equal(m->assign->attempt, 2);
    assert_int_equal(m->assign->resume_size, 6);
    assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
    envelope_free(m);
    envelope_free(rank_take(&ranks[1], 1));
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(d->run_detail->attempts[1]->resumed_from_step, 17);
    envelope_free(d);
    // a second cancel does not wait for them
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    expect_stop(&ranks[1], run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    expect_stop(&ranks[1], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED);
    close_world(ranks, 2);
}

static void test_drain(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    open_world(&rank, 1, "w");
    uint32_t attempt = take_all(&rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_control(&client, ISLR__CONTROL__VERB__VERB_DRAIN, 0);
    expect_stop(&rank, run, ISLR__STOP__WHY__WHY_DRAIN, 1);
    rank_finish(&rank, run, attempt, STOPPED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    rig_for(&rig, 50);
    assert_false(actor_has(&rank, ISLR__ENVELOPE__BODY_ASSIGN));
    client_control(&client, ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING, 0);
    assert_int_equal(take_all(&rank, 1, run), 2);
    close_world(&rank, 1);
}

static void test_time_limit(void **state)
{
    (void)state;
    struct actor rank;
    Islr__JobSpec *job = job_tiny(0, 1);
    job->limits->minutes = 0.3 / 60;
    uint64_t run = client_submit(&client, job);
    open_world(&rank, 1, "w");
    uint32_t attempt = take_all(&rank, 1, run);
    expect_stop(&rank, run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    rank_finish(&rank, run, attempt, STOPPED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    close_world(&rank, 1);
}

// ---- ranks that go away ---------------------------------------------------------------------------------------------

static void test_lost(void **state)
{
    (void)state;
    struct actor ranks[2], others[2];
    Islr__JobSpec *job = job_tiny(2, 1);
    job->retry->max_attempts = 2;
    uint64_t run = client_submit(&client, job);
    open_world(ranks, 2, "w1");
    uint32_t attempt = take_all(ranks, 2, run);
    rank_records(&ranks[0], run, attempt, 1, 10);
    struct hash point = rank_put(&ranks[0], "point", 5);
    rank_checkpoint(&ranks[0], run, attempt, "resume", 5, &point);
    actor_close(&ranks[1]); // does not come back within the lease
    expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    actor_close(&ranks[0]);
    open_world(others, 2, "w2");
    Islr__Envelope *m = rank_take(&others[0], 1);
    assert_int_equal(m->assign->attempt, 2);
    assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
    envelope_free(m);
    envelope_free(rank_take(&others[1], 1));
    follow(&client, run, 0);
    rank_records(&others[0], run, 2, 1, 4);
    close_world(others, 2);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED); // two attempts are all it gets
    assert_int_equal(follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_FAILED), 7 + 10 + 4);
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
    open_world(&rank, 1, "w");
    envelope_free(rank_take(&rank, 0)); // would not begin
    uint32_t attempt = take_all(&rank, 1, run);
    assert_int_equal(attempt, 2);
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 1);
    attempt = take_all(&rank, 1, run); // after a pause
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    Islr__Envelope *d = client_show(&client, run);
    assert_string_equal(d->run_detail->summary->reason, "as the test says");
    assert_non_null(strstr(d->run_detail->attempts[0]->reason, "the disk of this node is full"));
    envelope_free(d);
    close_world(&rank, 1);
}

// A connection that is lost alone changes nothing.
static void test_reconnect(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    open_world(ranks, 2, "w");
    uint32_t attempt = take_all(ranks, 2, run);
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
    rig_for(&rig, 2 * RIG_LEASE_MS);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    follow(&client, run, 0);
    assert_int_equal(follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 15 + 4);
    close_world(ranks, 2);
}

// ---- a server that goes away ----------------------------------------------------------------------------------------

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
    open_world(ranks, 2, "w");
    uint32_t attempt = take_all(ranks, 2, run);
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
    rig_for(&rig, 2 * RIG_LEASE_MS);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    follow(&client, run, 0);
    assert_int_equal(follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 20 + 4);
    close_world(ranks, 2);
}

static void test_restart_without_one(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    open_world(ranks, 2, "w");
    uint32_t attempt = take_all(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    restart(ranks, 2);
    envelope_free(rank_register(&ranks[0], run, attempt)); // the other one stays away
    expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    Islr__Envelope *m = rank_register(&ranks[1], run, attempt); // too late
    assert_true(m->registered->abandon);
    envelope_free(m);
    assert_int_equal(take_all(ranks, 2, run), 2);
    close_world(ranks, 2);
}

// The attempt is in the database, but the ranks have not heard of it, or only some.
static void test_restart_while_starting(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    open_world(ranks, 2, "w");
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
    rig_for(&rig, 2 * RIG_LEASE_MS);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_STOP));
    close_world(ranks, 2);
}

static void test_restart_while_stopping(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    open_world(&rank, 1, "w");
    uint32_t attempt = take_all(&rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    envelope_free(actor_next(&rank, ISLR__ENVELOPE__BODY_STOP));
    restart(&rank, 1);
    envelope_free(rank_register(&rank, run, attempt));
    expect_stop(&rank, run, ISLR__STOP__WHY__WHY_CANCEL, 1); // told again
    close_world(&rank, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED); // not queued again, though it was lost
}

// ---- what is wrong --------------------------------------------------------------------------------------------------

static void test_wrong_messages(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    open_world(ranks, 2, "w");
    uint32_t attempt = take_all(ranks, 2, run);
    // an upload whose content is not what it says
    struct hash hash = hash_memory("abc", 3);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    put.has_sha256 = put.has_total = put.has_offset = put.has_data = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = 3;
    put.data = (ProtobufCBinaryData){3, (uint8_t *)"abd"};
    assert_non_null(strstr(actor_call_fault(&ranks[0], &m, ERR_DAMAGED), "not"));
    put.data = (ProtobufCBinaryData){3, (uint8_t *)"abcd"};
    put.offset = 2;
    actor_call_fault(&ranks[0], &m, ERR_INVALID);
    put.sha256.len = 5;
    actor_call_fault(&ranks[0], &m, ERR_INVALID);
    // a checkpoint of nothing
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope c = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_fault(&ranks[0], &c, ERR_NOT_FOUND);
    add.attempt = 9;
    actor_call_fault(&ranks[0], &c, ERR_NOT_FOUND);
    // not the first rank's word; an attempt that never was
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope end = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;
    actor_call_fault(&ranks[1], &end, ERR_INVALID);
    f.attempt = 7;
    actor_call_fault(&ranks[0], &end, ERR_NOT_FOUND);
    f.outcome = (Islr__Finished__Outcome)12;
    actor_call_fault(&ranks[0], &end, ERR_INVALID);
    // another size of the same world
    struct actor third;
    actor_open(&third, &rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    third.facts = ranks[0].facts;
    third.facts.size = 3;
    third.facts.rank = 2;
    third.facts.world = third.world;
    strcpy(third.world, "w");
    Islr__Envelope r = ENVELOPE(REGISTER, register_, &third.facts);
    assert_non_null(strstr(actor_call_fault(&third, &r, ERR_INVALID), "others said 2"));
    // records with a hole end the connection; it comes back and is told where to go on
    rank_records(&ranks[0], run, attempt, 1, 4);
    Islr__Record record = ISLR__RECORD__INIT, *list = &record;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope bad = ENVELOPE(RECORDS, records, &records);
    record.has_seq = records.has_run = records.has_attempt = 1;
    record.seq = 9;
    record.what_case = ISLR__RECORD__WHAT_LOG;
    record.log = (char *)"too far";
    records.run = run;
    records.attempt = attempt;
    records.records = &list;
    records.n_records = 1;
    actor_send(&ranks[0], &bad);
    ranks[0].up = 0;
    actor_wait_up(&ranks[0]);
    Islr__Envelope *back = rank_register(&ranks[0], run, attempt);
    assert_int_equal(back->registered->acked_seq, 4);
    envelope_free(back);
    actor_close(&third);
    close_world(ranks, 2);
}

// More than a connection's queue takes, to a follower that does not read for a while: nothing is lost, and the server
// does not pile it up.
static void test_slow_follower(void **state)
{
    (void)state;
    struct actor rank, slow;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    open_world(&rank, 1, "w");
    uint32_t attempt = take_all(&rank, 1, run);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    follow(&slow, run, 0);
    peer_throttle(link_peer(slow.link), 1);
    enum { MESSAGES = 40, LINES = 8000 };
    for (int i = 0; i < MESSAGES; i++)
        rank_records(&rank, run, attempt, (uint64_t)(1 + i * LINES), LINES);
    rank_finish(&rank, run, attempt, OK, 0);
    peer_throttle(link_peer(slow.link), 0);
    assert_int_equal(follow_to_end(&slow, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), MESSAGES * LINES + 4);
    actor_close(&slow);
    close_world(&rank, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gangs_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_and_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_and_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reconnect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_without_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_starting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_while_stopping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_follower, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
