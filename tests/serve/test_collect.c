// islrctl gc on a server at work: what is pulled, uploaded and trained meanwhile, and what the disk holds afterwards.
#include "tests/serve/world.h"

#include <stdatomic.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/store/artifact.h"
#include "core/store/fsck.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;

static struct rig rig;
static struct actor client;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static void say(void *context, enum fsck_kind kind, const char *sentence)
{
    (void)context;
    if (kind != FSCK_NOTE)
        print_message("%s\n", sentence);
}

// Whatever a test did: the database and the disk agree.
static int teardown(void **state)
{
    (void)state;
    struct fsck_result result;
    struct error e;
    struct fsck_options options = {.directory = rig.directory, .found = say};
    rig_hang_up(&rig);
    rig_stop_server(&rig);
    int rc = fsck(&options, &result, &e);
    rig_close(&rig);
    return rc || result.damaged || result.notes ? -1 : 0;
}

static Islr__Envelope *collect(int dry_run)
{
    Islr__Collect c = ISLR__COLLECT__INIT;
    Islr__Envelope m = ENVELOPE(COLLECT, collect, &c);
    c.has_dry_run = 1;
    c.dry_run = dry_run;
    return actor_call(&client, &m, ISLR__ENVELOPE__BODY_COLLECTED);
}

static void expect_collected(int dry_run, uint32_t count, uint64_t bytes)
{
    Islr__Envelope *m = collect(dry_run);
    assert_int_equal(m->collected->count, count);
    assert_int_equal(m->collected->bytes, bytes);
    envelope_free(m);
}

static int is_on_disk(const struct hash *hash)
{
    char hex[65], path[200];
    hash_to_hex(hash, hex);
    snprintf(path, sizeof path, "%s/artifacts/%.2s/%s", rig.directory, hex, hex);
    return file_exists(path);
}

static uint64_t begin_run(struct actor *rank, uint32_t *attempt)
{
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    *attempt = world_take(rank, 1, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    return run;
}

// A soup, where the file is there (or again).
static int try_soup(struct actor *rank, uint64_t run, uint32_t attempt, const struct hash *soup)
{
    struct error why;
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof soup->bytes, (uint8_t *)soup->bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    enum error_code code = actor_try(rank, &m, &why);
    assert_true(code == ERR_NONE || code == ERR_NOT_FOUND);
    return code == ERR_NONE;
}

// A soup of one ingredient.
static void add_soup(struct actor *rank, uint64_t run, uint32_t attempt, const struct hash *member)
{
    struct hash soup = rank_put(rank, "a soup", 6);
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    ProtobufCBinaryData members = {sizeof member->bytes, (uint8_t *)member->bytes};
    info.what = (char *)"soup";
    info.has_sha256 = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof soup.bytes, soup.bytes};
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    add.member_hashes = &members;
    add.n_member_hashes = 1;
    actor_call_ok(rank, &m);
}

// ---- pulls ----------------------------------------------------------------------------------------------------------

static Islr__Fetch fetch_of(const struct hash *hash, uint64_t offset)
{
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    fetch.has_sha256 = fetch.has_offset = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    fetch.offset = offset;
    return fetch;
}

// The rest of a pull from `offset` on; -1: the server has it no more, which is the one way that it may end.
static int pull_rest(const struct hash *hash, uint64_t offset, const uint8_t *content, size_t size)
{
    while (offset < size) {
        Islr__Fetch fetch = fetch_of(hash, offset);
        Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
        if (!is_on_disk(hash)) {
            assert_non_null(strstr(actor_call_fault(&client, &m, ERR_NOT_FOUND), "the server has no artifact"));
            return -1;
        }
        Islr__Envelope *chunk = actor_call(&client, &m, ISLR__ENVELOPE__BODY_CHUNK);
        assert_memory_equal(chunk->chunk->data.data, content + offset, chunk->chunk->data.len);
        offset += chunk->chunk->data.len;
        envelope_free(chunk);
    }
    return 0;
}

static void wait_gone(const struct hash *hash)
{
    for (unsigned ms = 0; is_on_disk(hash);)
        rig_wait(&rig, &ms, "a file's end");
}

// Of three epochs the last stays as the newest, the first as a soup's ingredient; pulls of all three are under way. Of a
// run that is under way nothing goes.
static void test_pulls(void **state)
{
    (void)state;
    enum { SIZE = 2 * RPC_CHUNK_MAX + 1000 };
    struct actor ranks[2];
    struct hash epochs[3], running[2];
    uint32_t attempt, other;
    static uint8_t content[3][SIZE];
    world_open(ranks, &rig, 2, "w");
    uint64_t run = begin_run(&ranks[0], &attempt), second = begin_run(&ranks[1], &other);
    for (uint32_t i = 0; i < 3; i++) {
        memset(content[i], (int)i + 1, SIZE);
        epochs[i] = rank_epoch(&ranks[0], run, attempt, i + 1, content[i], SIZE);
    }
    for (uint32_t i = 0; i < 2; i++)
        running[i] = rank_epoch(&ranks[1], second, other, i + 1, i ? "b" : "a", 1);
    add_soup(&ranks[0], run, attempt, &epochs[0]);
    expect_collected(0, 0, 0);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    for (int i = 0; i < 3; i++) {
        Islr__Fetch fetch = fetch_of(&epochs[i], 0);
        Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
        Islr__Envelope *chunk = actor_call(&client, &m, ISLR__ENVELOPE__BODY_CHUNK);
        assert_int_equal(chunk->chunk->data.len, RPC_CHUNK_MAX);
        envelope_free(chunk);
    }
    expect_collected(1, 1, SIZE);
    rig_for(&rig, 100);
    assert_true(is_on_disk(&epochs[1]));
    expect_collected(0, 1, SIZE);
    wait_gone(&epochs[1]);
    assert_int_equal(pull_rest(&epochs[1], RPC_CHUNK_MAX, content[1], SIZE), -1);
    assert_int_equal(pull_rest(&epochs[0], RPC_CHUNK_MAX, content[0], SIZE), 0);
    assert_int_equal(pull_rest(&epochs[2], RPC_CHUNK_MAX, content[2], SIZE), 0);
    expect_collected(0, 0, 0);
    assert_true(is_on_disk(&running[0]) && is_on_disk(&running[1]));
    rank_finish(&ranks[1], second, other, OK, 0);
    client_wait_state(&client, second, ISLR__RUN_STATE__RUN_SUCCEEDED);
    expect_collected(0, 1, 1);
    wait_gone(&running[0]);
    assert_true(is_on_disk(&running[1]));
    world_close(ranks, 2);
}

// The server's own look at a file (-Wl,--wrap): while it is held, whoever wants to read a piece waits before it does,
// having found the row, until the file is gone.
static atomic_int hold;

int __real_artifact_read(const struct artifact_store *s, const struct hash *hash, uint64_t total, uint64_t offset,
                         void *out, size_t size, size_t *got, struct error *e);
int __wrap_artifact_read(const struct artifact_store *s, const struct hash *hash, uint64_t total, uint64_t offset,
                         void *out, size_t size, size_t *got, struct error *e);
int __wrap_artifact_read(const struct artifact_store *s, const struct hash *hash, uint64_t total, uint64_t offset,
                         void *out, size_t size, size_t *got, struct error *e)
{
    char *path = artifact_path(s, hash);
    if (atomic_exchange(&hold, 0))
        while (file_exists(path))
            clock_sleep(0.001);
    free(path);
    return __real_artifact_read(s, hash, total, offset, out, size, got, e);
}

// A piece is collected between the server's look at the database and that at the file: it is gone, not damaged.
static void test_pull_at_that_moment(void **state)
{
    (void)state;
    struct actor rank;
    uint32_t attempt;
    world_open(&rank, &rig, 1, "w");
    uint64_t run = begin_run(&rank, &attempt);
    struct hash first = rank_epoch(&rank, run, attempt, 1, "first", 5);
    rank_epoch(&rank, run, attempt, 2, "second", 6);
    rank_finish(&rank, run, attempt, OK, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    Islr__Fetch fetch = fetch_of(&first, 0);
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    atomic_store(&hold, 1);
    actor_ask(&client, &m);
    while (atomic_load(&hold))
        rig_for(&rig, 5);
    expect_collected(0, 1, 5);
    Islr__Envelope *fault = actor_next(&client, ISLR__ENVELOPE__BODY_FAULT);
    assert_int_equal(fault->fault->code, ERR_NOT_FOUND);
    assert_non_null(strstr(fault->fault->text, "any more"));
    envelope_free(fault);
    actor_close(&rank);
}

// ---- uploads --------------------------------------------------------------------------------------------------------

// Another run makes the same file while the first one's is collected: it has its checkpoint in the end, at worst by
// sending the file once more, as ranks do.
static void test_same_content(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint32_t attempt, other;
    Islr__Collect c = ISLR__COLLECT__INIT;
    Islr__Envelope q = ENVELOPE(COLLECT, collect, &c);
    world_open(ranks, &rig, 2, "w");
    uint64_t run = begin_run(&ranks[0], &attempt), second = begin_run(&ranks[1], &other);
    struct hash same = rank_epoch(&ranks[0], run, attempt, 1, "the same", 8);
    rank_epoch(&ranks[0], run, attempt, 2, "newer", 5);
    rank_finish(&ranks[0], run, attempt, OK, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    rank_put(&ranks[1], "the same", 8); // not named yet
    actor_ask(&client, &q);
    rank_put(&ranks[1], "the same", 8);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_COLLECTED));
    while (!try_soup(&ranks[1], second, other, &same))
        rank_put(&ranks[1], "the same", 8);
    assert_true(is_on_disk(&same));
    expect_collected(0, 0, 0);
    rig_for(&rig, 100);
    assert_true(is_on_disk(&same));
    world_close(ranks, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pulls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pull_at_that_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_content, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
