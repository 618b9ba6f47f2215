// Uploads whose pieces are sent without waiting for answers: more than a connection is read ahead of the disk, so that
// reading goes on and stops while answers are given.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_write_that_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
