// A server whose disk is full: new work is refused with the reason, reading goes on, and what a rank delivers is taken
// when there is room again, each record once. Needs a small file system of its own, which takes root.
#include "tests/serve/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "tests/base/small_disk.h"

static struct rig rig;
static char ballast[100];

// Records without waiting for their acknowledgement.
static void send_lines(struct actor *rank, uint64_t run, uint64_t first, size_t count, char *line)
{
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    Islr__Record *list = xcalloc(count, sizeof *list), **pointers = xcalloc(count, sizeof *pointers);
    for (size_t i = 0; i < count; i++) {
        pointers[i] = &list[i];
        islr__record__init(&list[i]);
        list[i].has_seq = 1;
        list[i].seq = first + i;
        list[i].what_case = ISLR__RECORD__WHAT_LOG;
        list[i].log = line;
    }
    records.has_run = records.has_attempt = 1;
    records.run = run;
    records.attempt = 1;
    records.records = pointers;
    records.n_records = count;
    actor_send(rank, &m);
    free(list);
    free(pointers);
}

static void wait_ack(struct actor *rank, uint64_t seq)
{
    uint64_t acked;
    do {
        Islr__Envelope *ack = actor_next(rank, ISLR__ENVELOPE__BODY_RECORDS_ACK);
        acked = ack->records_ack->seq;
        envelope_free(ack);
    } while (acked < seq);
    assert_int_equal(acked, seq);
}

// Until what was sent has met the full disk.
static void wait_trouble(struct actor *client)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get);
    for (unsigned ms = 0;; rig_wait(&rig, &ms, "a word of the full disk")) {
        Islr__Envelope *status = actor_call(client, &q, ISLR__ENVELOPE__BODY_STATUS);
        int trouble = status->status->trouble && *status->status->trouble;
        envelope_free(status);
        if (trouble)
            return;
    }
}

static void check_refused(struct actor *client)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(0, 1);
    assert_non_null(strstr(actor_call_fault(client, &m, ERR_FAILED), "full"));
    spec_free(s.job);
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get);
    Islr__Envelope *status = actor_call(client, &q, ISLR__ENVELOPE__BODY_STATUS);
    assert_non_null(status->status->trouble);
    assert_int_equal(status->status->running, 2);
    envelope_free(status);
}

static void test_full(void **state)
{
    (void)state;
    struct actor client, rank, other;
    static char line[2001], content[300000];
    memset(line, 'x', sizeof line - 1);
    memset(content, 'c', sizeof content);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    rank_open(&rank, &rig, "w", 0, 1);
    envelope_free(rank_take(&rank, 1));
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    client_submit(&client, job_tiny(0, 1));
    rank_open(&other, &rig, "v", 0, 1);
    envelope_free(rank_take(&other, 1));
    small_disk_fill(ballast);
    // enough to overflow what the log still has room for; several messages, to see that their order is kept
    for (uint64_t i = 0; i < 20; i++)
        send_lines(&rank, run, 1 + i * 200, 200, line);
    wait_trouble(&client);
    check_refused(&client);
    // an upload of another connection, since this one is not read from
    struct hash hash = hash_memory(content, sizeof content);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    put.has_sha256 = put.has_total = put.has_data = put.has_offset = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = sizeof content;
    put.data = (ProtobufCBinaryData){200000, (uint8_t *)content};
    actor_call_fault(&other, &m, ERR_FAILED);
    unlink(ballast);
    wait_ack(&rank, 4000);
    struct hash uploaded = rank_put(&rank, content, sizeof content);
    rank_checkpoint(&rank, run, 1, "soup", 1, &uploaded);
    rank_finish(&rank, run, 1, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    Islr__Follow f = ISLR__FOLLOW__INIT;
    Islr__Envelope q = ENVELOPE(FOLLOW, follow, &f);
    f.has_run = 1;
    f.run = run;
    Islr__Envelope *end = actor_call(&client, &q, ISLR__ENVELOPE__BODY_FOLLOW_END);
    assert_int_equal(end->follow_end->last_seq, 4000 + 4);
    envelope_free(end);
    actor_close(&other);
    actor_close(&rank);
    actor_close(&client);
}

// A large sweep is acknowledged, and then there is no room for its runs: what is there is shown, nothing is said to the
// group, and once there is room it is made whole.
static void test_full_sweep(void **state)
{
    (void)state;
    enum { RUNS = 5000 };
    struct actor client;
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t before = client_submit(&client, job_tiny(0, 1));
    small_disk_fill(ballast);
    assert_int_equal(truncate(ballast, 43 << 20), 0); // the row and what the runs are made from fit in, they do not
    uint64_t group = client_sweep(&client, RUNS);
    size_t shown = client_count_members(&client, group);
    assert_true(shown < RUNS);
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_CANCEL;
    c.targets = &group;
    c.n_targets = 1;
    actor_call_fault(&client, &m, ERR_FAILED);
    envelope_free(client_show(&client, before));
    unlink(ballast);
    while ((shown = client_count_members(&client, group)) < RUNS)
        rig_for(&rig, 50);
    assert_int_equal(shown, RUNS);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, group);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_CANCELLED);
    actor_close(&client);
}

// A file that somebody has removed is said to be missing, and nothing else suffers.
static void test_removed_artifact(void **state)
{
    (void)state;
    struct actor client, rank;
    char hex[65], path[200];
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    rank_open(&rank, &rig, "w", 0, 1);
    envelope_free(rank_take(&rank, 1));
    struct hash hash = rank_put(&rank, "content", 7);
    rank_checkpoint(&rank, run, 1, "soup", 1, &hash);
    hash_to_hex(&hash, hex);
    snprintf(path, sizeof path, "%s/artifacts/%.2s/%s", rig.directory, hex, hex);
    assert_int_equal(unlink(path), 0);
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    fetch.has_sha256 = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_DAMAGED), "missing"));
    for (int lost = 0; !lost;) { // it is marked, so that nobody is given it again
        Islr__ListCheckpoints list = ISLR__LIST_CHECKPOINTS__INIT;
        Islr__Envelope q = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &list);
        list.has_run = 1;
        list.run = run;
        Islr__Envelope *answer = actor_call(&client, &q, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST);
        lost = answer->checkpoint_list->checkpoints[0]->lost;
        envelope_free(answer);
        rig_for(&rig, 10);
    }
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_DAMAGED), "lost"));
    hash = rank_put(&rank, "content", 7); // the same content again heals it
    envelope_free(actor_call(&client, &m, ISLR__ENVELOPE__BODY_CHUNK));
    hash.bytes[0] ^= 1;
    actor_call_fault(&client, &m, ERR_NOT_FOUND);
    actor_close(&rank);
    actor_close(&client);
}

static int setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    strcpy(rig.directory, "/tmp/islr-full-XXXXXX");
    if (small_disk_mount(rig.directory, "48m"))
        exit(77);
    snprintf(ballast, sizeof ballast, "%s/ballast", rig.directory);
    rig.log = (struct log){getenv("ISLR_TEST_LOG") ? stderr : NULL, LOG_DEBUG, NULL};
    uv_loop_init(&rig.loop);
    rig_start_server(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_hang_up(&rig);
    rig_stop_server(&rig);
    small_disk_unmount(rig.directory);
    rig_close(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_full, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_full_sweep, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_removed_artifact, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
