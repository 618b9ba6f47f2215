// A backup of a server at work, restored: runs go on from its moment, and ranks that still work on what the restored
// server has never heard of are told to leave it.
#include "tests/serve/world.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/artifact.h"
#include "core/store/backup.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static char *server_id(struct actor *client)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get);
    Islr__Envelope *status = actor_call(client, &q, ISLR__ENVELOPE__BODY_STATUS);
    char *id = xstrdup(status->status->server_id);
    envelope_free(status);
    return id;
}

static void restore(const char *archive)
{
    char command[200];
    struct error e;
    rig_stop_server(&rig);
    assert_int_equal(file_remove_tree(rig.directory, &e), 0);
    assert_int_equal(file_make_dirs(rig.directory, &e), 0);
    snprintf(command, sizeof command, "tar -xf %s -C %s", archive, rig.directory);
    assert_int_equal(system(command), 0);
    rig_start_server(&rig);
}

static void settle_collection(void)
{
    struct artifact_store artifacts;
    int hold;
    artifact_store_name(&artifacts, rig.directory);
    while ((hold = artifact_store_hold(&artifacts, ARTIFACT_KEEP)) < 0)
        rig_for(&rig, 5);
    close(hold);
    artifact_store_close(&artifacts);
}

static void expect_fetch(struct actor *client, const struct hash *hash, size_t size)
{
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    fetch.has_sha256 = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    Islr__Envelope *chunk = actor_call(client, &m, ISLR__ENVELOPE__BODY_CHUNK);
    struct hash got = hash_memory(chunk->chunk->data.data, chunk->chunk->data.len);
    assert_int_equal(chunk->chunk->data.len, size);
    assert_true(hash_equal(&got, hash));
    envelope_free(chunk);
}

static void test_restore(void **state)
{
    (void)state;
    struct actor client, ranks[2];
    struct backup_facts facts;
    struct error e;
    char archive[100];
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&client, job_tiny(2, 2));
    world_open(ranks, &rig, 2, "w");
    assert_int_equal(world_take(ranks, 2, run), 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_records(&ranks[0], run, 1, 1, 10);
    struct hash point = rank_put(&ranks[0], "a resume point", 14);
    rank_checkpoint(&ranks[0], run, 1, "resume", 5, &point);
    char *id = server_id(&client);
    snprintf(archive, sizeof archive, "%s.tar", rig.directory);
    settle_collection(); // the backup waits for its end, and the server is on this thread
    struct backup_options o = {.directory = rig.directory, .out = archive};
    if (backup_write(&o, &facts, &e))
        fail_msg("%s", e.text);
    rank_records(&ranks[0], run, 1, 11, 10); // what the backup does not know
    struct hash later = rank_put(&ranks[0], "a later resume point", 20);
    rank_checkpoint(&ranks[0], run, 1, "resume", 9, &later);
    restore(archive);
    actor_wait_up(&client);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    char *now = server_id(&client);
    assert_string_not_equal(now, id);
    expect_fetch(&client, &point, 14);
    for (int i = 0; i < 2; i++) { // they come back with the old attempt
        actor_wait_up(&ranks[i]);
        Islr__Envelope *m = rank_register(&ranks[i], run, 1);
        assert_true(m->registered->abandon);
        envelope_free(m);
        envelope_free(rank_register(&ranks[i], 0, 0));
    }
    for (int i = 0; i < 2; i++) {
        Islr__Envelope *m = rank_take(&ranks[i], 1);
        assert_int_equal(m->assign->attempt, 2);
        assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
        envelope_free(m);
    }
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    rig_stop_server(&rig); // a plain start afterwards is no restoring
    rig_start_server(&rig);
    actor_wait_up(&client);
    char *again = server_id(&client);
    assert_string_equal(again, now);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    free(id);
    free(now);
    free(again);
    unlink(archive);
    world_close(ranks, 2);
    actor_close(&client);
}

// Collecting waits while a backup holds the artifacts: what it has read of the database it finds on the disk.
static void test_hold(void **state)
{
    (void)state;
    struct actor client, rank;
    struct artifact_store artifacts;
    char hex[65];
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    rank_open(&rank, &rig, "w", 0, 1);
    envelope_free(rank_take(&rank, 1));
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    artifact_store_name(&artifacts, rig.directory);
    int hold = artifact_store_hold(&artifacts, ARTIFACT_KEEP);
    assert_true(hold >= 0);
    struct hash points[4];
    for (int i = 0; i < 4; i++) { // only the two newest stay
        snprintf(hex, sizeof hex, "resume point %d", i);
        points[i] = rank_put(&rank, hex, strlen(hex));
        rank_checkpoint(&rank, run, 1, "resume", (uint64_t)i, &points[i]);
    }
    rig_for(&rig, 300);
    char *first = artifact_path(&artifacts, &points[0]), *last = artifact_path(&artifacts, &points[3]);
    assert_true(file_exists(first));
    close(hold);
    rank_finish(&rank, run, 1, ISLR__FINISHED__OUTCOME__OUTCOME_FAILED, 0); // an occasion to collect
    for (unsigned ms = 0; file_exists(first);)
        rig_wait(&rig, &ms, "a file's end");
    assert_true(file_exists(last));
    free(first);
    free(last);
    artifact_store_close(&artifacts);
    actor_close(&rank);
    actor_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_restore, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_hold, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
