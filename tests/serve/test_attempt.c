// A run's way over ranks: assignment, records, artifacts, cancel, the end; messages that are wrong; slow followers.
#include "tests/serve/scene.h"

#include <stdio.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED,
                                     STOPPED = ISLR__FINISHED__OUTCOME__OUTCOME_STOPPED;

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

static void wait_gone(const struct hash *hash)
{
    for (unsigned ms = 0; artifact_exists(hash);)
        rig_wait(&rig, &ms, "an artifact's end");
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

static void check_progress(struct actor *reporter, uint64_t run, uint32_t attempt)
{
    Islr__Progress progress = ISLR__PROGRESS__INIT;
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, &progress);
    progress.has_run = progress.has_attempt = progress.has_step = progress.has_steps = 1;
    progress.run = run;
    progress.attempt = attempt;
    progress.step = 70;
    progress.steps = 100;
    progress.doing = (char *)"train";
    actor_send(reporter, &m);
    Islr__Envelope *pushed = actor_next(&client, ISLR__ENVELOPE__BODY_PROGRESS);
    assert_int_equal(pushed->progress->step, 70);
    envelope_free(pushed);
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(d->run_detail->summary->step, 70);
    assert_int_equal(d->run_detail->summary->steps, 100);
    assert_int_equal(d->run_detail->attempts[0]->n_ranks, 2);
    envelope_free(d);
}

// Two resume points are kept while the run goes on, none when it has succeeded.
static void check_resume_points(struct actor *reporter, uint64_t run, uint32_t attempt)
{
    struct hash points[3];
    char content[] = "resume point 0";
    for (int i = 0; i < 3; i++) {
        content[sizeof content - 2] = (char)('0' + i);
        points[i] = rank_put(reporter, content, sizeof content);
        rank_checkpoint(reporter, run, attempt, "resume", (uint64_t)i, &points[i]);
    }
    wait_gone(&points[0]);
    assert_true(artifact_exists(&points[1]));
    rank_finish(reporter, run, attempt, OK, 0);
    rank_finish(reporter, run, attempt, OK, 0); // said twice
    client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED);
    wait_gone(&points[2]);
}

static void test_run(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    client_follow(&client, run, 0);
    rank_open(&ranks[0], &rig, "w", 0, 2);
    rig_for(&rig, 50);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_ASSIGN)); // half a world gets no work
    rank_open(&ranks[1], &rig, "w", 1, 2);
    uint32_t attempt = world_take(ranks, 2, run);
    assert_int_equal(attempt, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_records(&ranks[0], run, attempt, 1, 50);
    rank_records(&ranks[0], run, attempt, 41, 30);
    check_progress(&ranks[0], run, attempt);

    size_t size = 700001;
    uint8_t *data = xmalloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    struct hash soup = rank_put(&ranks[0], data, size), again = rank_put(&ranks[0], data, size);
    assert_true(hash_equal(&soup, &again));
    rank_checkpoint(&ranks[0], run, attempt, "soup", 100, &soup);
    rank_checkpoint(&ranks[0], run, attempt, "soup", 100, &soup); // said twice: one checkpoint
    check_resume_points(&ranks[0], run, attempt);
    Islr__Envelope *list = checkpoints(run);
    assert_int_equal(list->checkpoint_list->n_checkpoints, 1);
    assert_string_equal(list->checkpoint_list->checkpoints[0]->what, "soup");
    assert_int_equal(list->checkpoint_list->checkpoints[0]->size_bytes, size);
    envelope_free(list);
    check_fetched(&soup, data, size);
    free(data);
    // the ranks are free for the next
    run = client_submit(&client, job_tiny(2, 1));
    world_take(ranks, 2, run);
    world_close(ranks, 2);
}

static void test_gangs_side_by_side(void **state)
{
    (void)state;
    struct actor ranks[4];
    uint64_t one = client_submit(&client, job_tiny(1, 1)), two = client_submit(&client, job_tiny(2, 1));
    uint64_t four = client_submit(&client, job_tiny(4, 1));
    world_open(ranks, &rig, 4, "w");
    uint32_t a = world_take(&ranks[0], 1, one), b = world_take(&ranks[1], 2, two);
    rank_finish(&ranks[1], two, b, OK, 0);
    rig_for(&rig, 50);
    for (int i = 0; i < 4; i++) // all or none
        assert_false(actor_has(&ranks[i], ISLR__ENVELOPE__BODY_ASSIGN));
    client_wait_reason(&client, four, "needs 4 free ranks of one world, 3 are free");
    rank_finish(&ranks[0], one, a, OK, 0);
    world_take(ranks, 4, four);
    world_close(ranks, 4);
}

// ---- cancel ---------------------------------------------------------------------------------------------------------

static void expect_reason(uint64_t run, const char *reason)
{
    client_wait_reason(&client, run, reason);
}

// Who has cancelled it stays to be read when it has ended.
static void expect_cancelled_by_me(uint64_t run, const char *rest)
{
    char name[64], reason[200];
    Islr__Envelope *m = client_show(&client, run);
    snprintf(name, sizeof name, "%s", m->run_detail->summary->user);
    envelope_free(m);
    snprintf(reason, sizeof reason, "cancelled by %s%s", name, rest);
    expect_reason(run, reason);
}

static void test_cancel_and_retry(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    for (int i = 0; i < 2; i++)
        rank_expect_stop(&ranks[i], run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_STOPPING);
    struct hash point = rank_put(&ranks[0], "resume", 6);
    rank_checkpoint(&ranks[0], run, attempt, "resume", 17, &point);
    rank_finish(&ranks[0], run, attempt, STOPPED, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED);
    expect_cancelled_by_me(run, "");
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
    rank_expect_stop(&ranks[1], run, ISLR__STOP__WHY__WHY_CANCEL, 1);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    rank_expect_stop(&ranks[1], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_CANCELLED);
    expect_cancelled_by_me(run, "; it could not save where it was: cancelled again before its ranks had saved");
    world_close(ranks, 2);
}

// ---- what is wrong --------------------------------------------------------------------------------------------------

// An upload whose content or place is not what it says, or that has no proper name.
static void check_wrong_uploads(struct actor *rank)
{
    struct hash hash = hash_memory("abc", 3);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    put.has_sha256 = put.has_total = put.has_offset = put.has_data = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = 3;
    put.data = (ProtobufCBinaryData){3, (uint8_t *)"abd"};
    assert_non_null(strstr(actor_call_fault(rank, &m, ERR_DAMAGED), "not"));
    put.data = (ProtobufCBinaryData){3, (uint8_t *)"abcd"};
    put.offset = 2;
    actor_call_fault(rank, &m, ERR_INVALID);
    put.sha256.len = 5;
    actor_call_fault(rank, &m, ERR_INVALID);
}

// A checkpoint whose file was not uploaded, or of an attempt that never was.
static void check_wrong_checkpoints(struct actor *rank, uint64_t run, uint32_t attempt)
{
    struct hash hash = hash_memory("abc", 3);
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_fault(rank, &m, ERR_NOT_FOUND);
    add.attempt = 9;
    actor_call_fault(rank, &m, ERR_NOT_FOUND);
}

enum { BULKY = 40 }; // have no room in one message

// What has no room in one message comes in several, and a run's detail has the newest of it.
static void test_many_checkpoints(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    struct hash file = rank_put(&rank, "file", 4);
    for (uint32_t epoch = 1; epoch <= BULKY; epoch++)
        rank_bulky_epoch(&rank, run, attempt, epoch, &file);
    Islr__ListCheckpoints list = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &list);
    list.has_run = 1;
    list.run = run;
    uint32_t epoch = 0;
    actor_ask(&client, &m);
    for (int more = 1; more;) {
        Islr__Envelope *piece = actor_next(&client, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST);
        more = piece->checkpoint_list->more;
        assert_true(more || epoch); // several
        for (size_t i = 0; i < piece->checkpoint_list->n_checkpoints; i++)
            assert_int_equal(piece->checkpoint_list->checkpoints[i]->epoch, ++epoch);
        envelope_free(piece);
    }
    assert_int_equal(epoch, BULKY);
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(d->run_detail->checkpoint_count, BULKY);
    size_t newest = d->run_detail->n_checkpoints;
    assert_in_range(newest, 1, BULKY - 1);
    for (size_t i = 0; i < newest; i++)
        assert_int_equal(d->run_detail->checkpoints[i]->epoch, BULKY - newest + 1 + i);
    envelope_free(d);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    world_close(&rank, 1);
}

// Not the first rank's word; an attempt that never was; an outcome that is none.
static void check_wrong_ends(struct actor *ranks, uint64_t run, uint32_t attempt)
{
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope m = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = OK;
    actor_call_fault(&ranks[1], &m, ERR_DENIED);
    f.attempt = 7;
    actor_call_fault(&ranks[0], &m, ERR_NOT_FOUND);
    f.outcome = (Islr__Finished__Outcome)12;
    actor_call_fault(&ranks[0], &m, ERR_INVALID);
}

// A rank that says something else of its world than the others.
static void check_wrong_world(const struct actor *known)
{
    struct actor other;
    actor_open(&other, &rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    other.facts = known->facts;
    other.facts.size = 3;
    other.facts.rank = 2;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &other.facts);
    assert_non_null(strstr(actor_call_fault(&other, &m, ERR_INVALID), "others said 2"));
    actor_close(&other);
}

// Records with a hole end the connection; the rank comes back and is told where to go on.
static void check_wrong_records(struct actor *rank, uint64_t run, uint32_t attempt)
{
    Islr__Record record = ISLR__RECORD__INIT, *list = &record;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    rank_records(rank, run, attempt, 1, 4);
    record.has_seq = records.has_run = records.has_attempt = 1;
    record.seq = 9;
    record.what_case = ISLR__RECORD__WHAT_LOG;
    record.log = (char *)"too far";
    records.run = run;
    records.attempt = attempt;
    records.records = &list;
    records.n_records = 1;
    actor_send(rank, &m);
    rank->up = 0;
    actor_wait_up(rank);
    Islr__Envelope *back = rank_register(rank, run, attempt);
    assert_int_equal(back->registered->acked_seq, 4);
    envelope_free(back);
}

static void test_wrong_messages(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    check_wrong_uploads(&ranks[0]);
    check_wrong_checkpoints(&ranks[0], run, attempt);
    check_wrong_ends(ranks, run, attempt);
    check_wrong_world(&ranks[0]);
    check_wrong_records(&ranks[0], run, attempt);
    world_close(ranks, 2);
}

// More than a connection's queue takes, to a follower that does not read for a while: nothing is lost, and the server
// does not pile it up.
static void test_slow_follower(void **state)
{
    (void)state;
    struct actor rank, slow;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    client_follow(&slow, run, 0);
    peer_throttle(link_peer(slow.link), 1);
    enum { MESSAGES = 40, LINES = 8000 };
    for (int i = 0; i < MESSAGES; i++)
        rank_records(&rank, run, attempt, (uint64_t)(1 + i * LINES), LINES);
    rank_finish(&rank, run, attempt, OK, 0);
    peer_throttle(link_peer(slow.link), 0);
    assert_int_equal(client_follow_to_end(&slow, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), MESSAGES * LINES + 4);
    actor_close(&slow);
    world_close(&rank, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gangs_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_and_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_checkpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_follower, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
