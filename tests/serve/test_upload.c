// Uploads whose pieces are sent without waiting for answers: more than a connection is read ahead of the disk, so that
// reading goes on and stops while answers are given. And whose an artifact is: the run's that has brought all of it.
#include <string.h>

#include "tests/serve/scene.h"

enum { PIECES = 64, PIECE_BYTES = 1000 };

static uint8_t content[PIECES * PIECE_BYTES];

static void fill_content(void)
{
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
}

// All pieces in one go.
static void put_at_once(struct actor *rank, const struct hash *hash)
{
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    put.has_sha256 = put.has_total = put.has_offset = put.has_data = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    put.total = sizeof content;
    for (size_t i = 0; i < PIECES; i++) {
        put.offset = i * PIECE_BYTES;
        put.data = (ProtobufCBinaryData){PIECE_BYTES, content + put.offset};
        actor_ask(rank, &m);
    }
}

static void test_one_write(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    world_take(&rank, 1, run);
    fill_content();
    struct hash hash = hash_memory(content, sizeof content);
    put_at_once(&rank, &hash);
    for (size_t i = 1; i <= PIECES; i++) {
        Islr__Envelope *m = actor_next(&rank, ISLR__ENVELOPE__BODY_PUT_STATE);
        assert_int_equal(m->put_state->have, i * PIECE_BYTES);
        assert_int_equal(m->put_state->done, i == PIECES);
        envelope_free(m);
    }
    world_close(&rank, 1);
}

// The content is not what its name says: the last piece, and what came behind it, is told so; the right one gets in
// then.
static void test_one_write_that_fails(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    world_take(&rank, 1, run);
    fill_content();
    struct hash hash = hash_memory(content, sizeof content);
    content[0] ^= 1;
    put_at_once(&rank, &hash);
    put_at_once(&rank, &hash);
    Islr__Envelope *fault = actor_next(&rank, ISLR__ENVELOPE__BODY_FAULT);
    assert_int_equal(fault->fault->code, ERR_DAMAGED);
    envelope_free(fault);
    rank_put(&rank, "another", 7); // in line behind all of them
    content[0] ^= 1;
    struct hash whole = rank_put(&rank, content, sizeof content);
    assert_true(hash_equal(&whole, &hash));
    world_close(&rank, 1);
}

// ---- whose it is ----------------------------------------------------------------------------------------------------

// What the server says of it: whether it is done, and how much it has.
static int put(struct actor *rank, const struct hash *hash, uint64_t total, uint64_t offset, const void *data,
               size_t size, uint64_t *have)
{
    Islr__Put q = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &q);
    q.has_sha256 = q.has_total = q.has_offset = 1;
    q.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    q.total = total;
    q.offset = offset;
    q.has_data = size > 0;
    q.data = (ProtobufCBinaryData){size, (uint8_t *)data};
    Islr__Envelope *reply = actor_call(rank, &m, ISLR__ENVELOPE__BODY_PUT_STATE);
    int done = reply->put_state->done;
    *have = reply->put_state->have;
    envelope_free(reply);
    return done;
}

static void expect_not_its_own(struct actor *rank, uint64_t run, uint32_t attempt, const struct hash *hash)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    char hex[65];
    uint64_t have;
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    hash_to_hex(hash, hex);
    assert_non_null(strstr(actor_call_fault(rank, &m, ERR_NOT_FOUND), hex));
    assert_int_equal(put(rank, hash, sizeof content, 0, NULL, 0, &have), 0);
    assert_int_equal(have, 0); // whatever others have brought of it
}

static void expect_read(struct actor *a, const Islr__ReadAs *as, const struct hash *hash, enum error_code denied)
{
    Islr__Fetch q = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &q);
    q.has_sha256 = 1;
    q.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    q.as = (Islr__ReadAs *)as;
    if (denied) {
        actor_call_fault(a, &m, denied);
        return;
    }
    Islr__Envelope *chunk = actor_call(a, &m, ISLR__ENVELOPE__BODY_CHUNK);
    assert_int_equal(chunk->chunk->data.len, sizeof content);
    assert_memory_equal(chunk->chunk->data.data, content, sizeof content);
    envelope_free(chunk);
}

// Two runs, one of which knows the hash of what the other has made, and of its content the end.
static void test_not_its_own(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t have, run = client_submit(&client, job_tiny(1, 1)), other;
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 1, run), others;
    other = client_submit(&client, job_tiny(1, 1));
    others = world_take(&ranks[1], 1, other);
    Islr__ReadAs as = ISLR__READ_AS__INIT;
    as.has_run = as.has_attempt = as.has_rank = 1;
    as.run = other;
    as.attempt = others;
    as.world = (char *)"w";
    as.rank = 1;
    fill_content();
    struct hash hash = hash_memory(content, sizeof content);
    enum { FIRST = sizeof content - 100 };
    assert_int_equal(put(&ranks[0], &hash, sizeof content, 0, content, FIRST, &have), 0);
    expect_not_its_own(&ranks[1], other, others, &hash);
    assert_int_equal(put(&ranks[1], &hash, sizeof content, FIRST, content + FIRST, 100, &have), 0); // the end alone
    assert_int_equal(have, 0);
    assert_int_equal(put(&ranks[0], &hash, sizeof content, FIRST, content + FIRST, 100, &have), 1);
    expect_not_its_own(&ranks[1], other, others, &hash);
    rank_checkpoint(&ranks[0], run, attempt, "soup", 1, &hash);
    expect_not_its_own(&ranks[1], other, others, &hash);
    expect_read(&ranks[1], &as, &hash, ERR_DENIED);
    static uint8_t wrong[sizeof content];
    Islr__Put q = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &q);
    q.has_sha256 = q.has_total = q.has_data = 1;
    q.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    q.total = sizeof wrong;
    q.data = (ProtobufCBinaryData){sizeof wrong, wrong};
    actor_call_fault(&ranks[1], &m, ERR_DAMAGED);
    expect_read(&client, NULL, &hash, ERR_NONE);  // which does nothing to the other's
    rank_put(&ranks[1], content, sizeof content); // it has it after all
    rank_checkpoint(&ranks[1], other, others, "soup", 1, &hash);
    expect_read(&ranks[1], &as, &hash, ERR_NONE);
    world_close(ranks, 2);
}

// What was brought before the server's restart is its run's after it; and what its run has named it need not bring again
// in another attempt.
static void test_its_own(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t have, run = client_submit(&client, job_tiny(1, 1)), other;
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 1, run), others;
    other = client_submit(&client, job_tiny(1, 1));
    others = world_take(&ranks[1], 1, other);
    fill_content();
    struct hash hash = rank_put(&ranks[0], content, sizeof content);
    rig_stop_server(&rig);
    client.up = ranks[0].up = ranks[1].up = 0;
    rig_start_server(&rig);
    actor_wait_up(&client);
    for (int i = 0; i < 2; i++) {
        actor_wait_up(&ranks[i]);
        envelope_free(rank_register(&ranks[i], i ? other : run, i ? others : attempt));
    }
    expect_not_its_own(&ranks[1], other, others, &hash);
    rank_checkpoint(&ranks[0], run, attempt, "distilled", 1, &hash);
    rank_finish(&ranks[0], run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 1);
    attempt = world_take(&ranks[0], 1, run);
    assert_int_equal(attempt, 2);
    assert_int_equal(put(&ranks[0], &hash, sizeof content, 0, NULL, 0, &have), 1);
    rank_checkpoint(&ranks[0], run, attempt, "distilled", 1, &hash);
    world_close(ranks, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_write_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_its_own, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
