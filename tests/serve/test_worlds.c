// Worlds and whether they get anywhere: ranks that are stuck, that wait for each other, that never come, that are claimed
// twice; two worlds side by side; a run that goes on in another one.
#define SCENE_LEASE_MS RIG_BRIEF_LEASE_MS
#include "tests/serve/scene.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"

static Islr__Pulse pulse_of(uint64_t run, uint32_t attempt, uint32_t quiet_ms)
{
    Islr__Pulse p = ISLR__PULSE__INIT;
    p.has_run = p.has_attempt = p.has_step = p.has_quiet_ms = 1;
    p.run = run;
    p.attempt = attempt;
    p.step = 17;
    p.quiet_ms = quiet_ms;
    p.doing = "train";
    return p;
}

static void rank_pulse(struct actor *rank, Islr__Pulse *p)
{
    Islr__Envelope m = ENVELOPE(PULSE, pulse, p);
    actor_send(rank, &m);
}

static void rank_waits(struct actor *rank, uint64_t run, uint32_t attempt, uint32_t quiet_ms, uint32_t waits_for)
{
    Islr__Pulse p = pulse_of(run, attempt, quiet_ms);
    p.waits = "a sum";
    p.has_waits_for = 1;
    p.waits_for = waits_for;
    rank_pulse(rank, &p);
}

static Islr__Envelope *list_workers(void)
{
    Islr__ListWorkers list = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_WORKERS, list_workers, &list);
    return actor_call(&client, &m, ISLR__ENVELOPE__BODY_WORKER_LIST);
}

static const Islr__WorkerInfo *worker_of(const Islr__Envelope *m, const char *world, uint32_t rank)
{
    for (size_t i = 0; i < m->worker_list->n_workers; i++)
        if (!strcmp(m->worker_list->workers[i]->world, world) && m->worker_list->workers[i]->rank == rank)
            return m->worker_list->workers[i];
    return NULL;
}

// ---- ranks that get nowhere -----------------------------------------------------------------------------------------

static void test_stuck(void **state)
{
    (void)state;
    struct actor ranks[2], others[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w1");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    rank_waits(&ranks[0], run, attempt, 12000, 1);
    Islr__Envelope *m = NULL;
    do { // the pulse may come after the question
        envelope_free(m);
        m = list_workers();
    } while (!strcmp(worker_of(m, "w1", 0)->health, "ok"));
    assert_non_null(strstr(worker_of(m, "w1", 0)->health, "waits 12 s in a sum for rank 1"));
    assert_string_equal(worker_of(m, "w1", 1)->health, "ok");
    assert_int_equal(m->worker_list->n_notes, 1);
    assert_non_null(strstr(m->worker_list->notes[0], "rank 0 (host "));
    envelope_free(m);
    Islr__Pulse p = pulse_of(run, attempt, 61000);
    p.has_stuck = p.stuck = 1;
    p.where = "open64 < read_clip";
    p.stacks = "thread 7:\n  #0 open64\n  #1 read_clip\n";
    Islr__Pulse late = p;
    late.attempt = attempt + 1; // of an attempt that is not under way: nothing comes of it
    rank_pulse(&ranks[1], &late);
    rank_pulse(&ranks[1], &p);
    m = actor_next(&ranks[0], ISLR__ENVELOPE__BODY_STOP);
    assert_int_equal(m->stop->why, ISLR__STOP__WHY__WHY_ABANDON);
    assert_true(m->stop->gone);
    envelope_free(m);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    m = client_show(&client, run);
    const char *reason = m->run_detail->attempts[0]->reason;
    assert_string_equal(m->run_detail->attempts[0]->outcome, "lost");
    assert_non_null(strstr(reason, "rank 1 (host "));
    assert_non_null(strstr(reason, "is stuck: it has done nothing for 61 s (train, step 17), at open64 < read_clip"));
    envelope_free(m);
    // Its world gets no work now; another one does.
    rig_for(&rig, 300);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_ASSIGN));
    world_open(others, &rig, 2, "w2");
    assert_int_equal(world_take(others, 2, run), attempt + 1);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    // The stacks are in the log: 4 lines between the states.
    client_follow(&client, run, 0);
    rank_finish(&others[0], run, attempt + 1, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    assert_int_equal(client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 7 + 4);
    world_close(ranks, 2);
    world_close(others, 2);
}

static void test_all_wait(void **state)
{
    (void)state;
    struct actor ranks[2];
    Islr__JobSpec *job = job_tiny(2, 1);
    job->retry->max_attempts = 1;
    uint64_t run = client_submit(&client, job);
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    // One waits for one that works, for as long as it takes.
    Islr__Pulse p = pulse_of(run, attempt, 4 * RIG_HANG_MS);
    rank_pulse(&ranks[0], &p);
    rank_waits(&ranks[1], run, attempt, 100 * RIG_HANG_MS, 0);
    rig_for(&rig, 1200);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_STOP));
    // Both wait, one not for long yet.
    rank_waits(&ranks[0], run, attempt, RIG_HANG_MS - 1, 1);
    rig_for(&rig, 1200);
    assert_false(actor_has(&ranks[0], ISLR__ENVELOPE__BODY_STOP));
    rank_waits(&ranks[0], run, attempt, RIG_HANG_MS, 1);
    rank_expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_FAILED);
    Islr__Envelope *m = client_show(&client, run);
    assert_non_null(strstr(m->run_detail->summary->reason, "no rank gets anywhere: rank 0 (host "));
    assert_non_null(strstr(m->run_detail->summary->reason, "in a sum for rank 1 (train, step 17); rank 1 (host "));
    envelope_free(m);
    world_close(ranks, 2);
}

// A rank that falls silent without losing its connection.
static void test_silent(void **state)
{
    (void)state;
    struct actor ranks[2];
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_open(ranks, &rig, 2, "w");
    uint32_t attempt = world_take(ranks, 2, run);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    Islr__Pulse p = pulse_of(run, attempt, 0);
    rank_pulse(&ranks[1], &p);
    peer_set_keepalive(link_peer(ranks[1].link), 0, 0); // says nothing from now on
    rank_expect_stop(&ranks[0], run, ISLR__STOP__WHY__WHY_ABANDON, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    Islr__Envelope *m = client_show(&client, run);
    assert_non_null(strstr(m->run_detail->attempts[0]->reason,
                           "is gone: nothing was heard of it for too long; it was at: train (step 17)"));
    envelope_free(m);
    world_close(ranks, 2);
}

// ---- worlds that come and go ----------------------------------------------------------------------------------------

static void test_half_a_world(void **state)
{
    (void)state;
    struct actor one, other;
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    rank_open(&one, &rig, "halfworld", 0, 3);
    rank_open(&other, &rig, "halfworld", 2, 3);
    Islr__Envelope *m = list_workers();
    for (unsigned ms = 0; !m->worker_list->n_notes;) { // not before the lease is over
        envelope_free(m);
        rig_wait(&rig, &ms, "a note on the world");
        m = list_workers();
    }
    assert_int_equal(m->worker_list->n_notes, 1);
    assert_non_null(strstr(m->worker_list->notes[0], "world halfworl of 3 ranks lacks 1, for "));
    assert_non_null(strstr(m->worker_list->notes[0], " s: it is given no work"));
    envelope_free(m);
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope ask = ENVELOPE(GET_STATUS, get_status, &get);
    m = actor_call(&client, &ask, ISLR__ENVELOPE__BODY_STATUS);
    assert_int_equal(m->status->n_notes, 1);
    envelope_free(m);
    assert_false(actor_has(&one, ISLR__ENVELOPE__BODY_ASSIGN));
    struct actor last;
    rank_open(&last, &rig, "halfworld", 1, 3);
    m = rank_take(&one, 1);
    assert_int_equal(m->assign->run, run);
    envelope_free(m);
    m = list_workers();
    for (unsigned ms = 0; m->worker_list->n_notes;) {
        envelope_free(m);
        rig_wait(&rig, &ms, "no note on the world");
        m = list_workers();
    }
    envelope_free(m);
    actor_close(&one);
    actor_close(&other);
    actor_close(&last);
}

static const char *register_fault(struct actor *a, enum error_code code)
{
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &a->facts);
    return actor_call_fault(a, &m, code);
}

// The same world and rank from another process, another size, a rank beyond it, two ranks on one connection.
static void test_claims(void **state)
{
    (void)state;
    struct actor ranks[2], impostor;
    world_open(ranks, &rig, 2, "w");
    actor_open(&impostor, &rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    impostor.facts = ranks[0].facts;
    impostor.facts.has_pid = 1;
    impostor.facts.pid = ranks[0].facts.pid + 1;
    const char *said = register_fault(&impostor, ERR_INVALID);
    assert_non_null(strstr(said, "rank 0 of world w is there already (host "));
    impostor.facts.pid = ranks[0].facts.pid;
    impostor.facts.host = "elsewhere";
    assert_non_null(strstr(register_fault(&impostor, ERR_INVALID), "host elsewhere, pid"));
    impostor.facts = ranks[0].facts;
    impostor.facts.size = 3;
    impostor.facts.rank = 2;
    assert_non_null(strstr(register_fault(&impostor, ERR_INVALID), "has 3 ranks, others said 2"));
    impostor.facts = ranks[0].facts;
    impostor.facts.rank = 2;
    assert_non_null(strstr(register_fault(&impostor, ERR_INVALID), "rank 2 of 2 cannot be"));
    struct actor first = ranks[0];
    ranks[0].facts.rank = 1;
    assert_non_null(strstr(register_fault(&ranks[0], ERR_INVALID), "rank 0 has registered on this connection already"));
    ranks[0].facts.rank = first.facts.rank;
    // Nobody was put out, and a rank may register again.
    envelope_free(rank_register(&ranks[0], 0, 0));
    uint64_t run = client_submit(&client, job_tiny(2, 1));
    world_take(ranks, 2, run);
    actor_close(&impostor);
    world_close(ranks, 2);
}

// What a connection that says this Hello is answered with; the caller frees it.
static Islr__Envelope *greet(uint32_t protocol, const char *version, Islr__Hello__Role role)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    Islr__Hello hello = ISLR__HELLO__INIT;
    Islr__Envelope m = ENVELOPE(HELLO, hello, &hello);
    uint8_t answer[4096];
    size_t size;
    struct error e;
    hello.has_protocol = hello.has_role = 1;
    hello.protocol = protocol;
    hello.version = (char *)version;
    hello.role = role;
    m.has_id = m.id = 1;
    uint8_t *frame = envelope_pack(&m, RPC_FRAME_MAX, &size, &e);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server_socket(rig.server));
    assert_int_equal(connect(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(s, frame, size), (ssize_t)size);
    free(frame);
    ssize_t n;
    for (unsigned ms = 0; (n = recv(s, answer, sizeof answer, MSG_DONTWAIT)) < 0;)
        rig_wait(&rig, &ms, "an answer");
    close(s);
    assert_true(n > FRAME_HEADER_SIZE);
    Islr__Envelope *found = envelope_unpack(answer + FRAME_HEADER_SIZE, (size_t)n - FRAME_HEADER_SIZE, 1 << 20, &e);
    assert_non_null(found);
    return found;
}

static void check_refused(uint32_t protocol, const char *version, Islr__Hello__Role role, const char *theirs)
{
    Islr__Envelope *m = greet(protocol, version, role);
    assert_int_equal(m->body_case, ISLR__ENVELOPE__BODY_FAULT);
    assert_int_equal(m->fault->code, ERR_INVALID);
    assert_non_null(strstr(m->fault->text, theirs));
    assert_non_null(strstr(m->fault->text, "islrd " ISLR_VERSION));
    envelope_free(m);
}

static void test_versions(void **state)
{
    (void)state;
    const Islr__Hello__Role worker = ISLR__HELLO__ROLE__ROLE_WORKER, user = ISLR__HELLO__ROLE__ROLE_CLIENT;
    check_refused(RPC_PROTOCOL + 1, ISLR_VERSION, worker, "speaks protocol ");
    check_refused(RPC_PROTOCOL + 1, "9.9.9", user, "islr 9.9.9 speaks protocol ");
    check_refused(RPC_PROTOCOL, "9.9.9", worker, "this worker is islr 9.9.9");
    Islr__Envelope *m = greet(RPC_PROTOCOL, "9.9.9", user); // a client of another version is served
    assert_int_equal(m->body_case, ISLR__ENVELOPE__BODY_WELCOME);
    envelope_free(m);
}

// Two worlds of different sizes at once; each run has its gang in one of them. A run goes on in the world that is left.
static void test_two_worlds(void **state)
{
    (void)state;
    struct actor two[2], one;
    world_open(two, &rig, 2, "two");
    world_open(&one, &rig, 1, "one");
    uint64_t wide = client_submit(&client, job_tiny(2, 1));
    uint32_t attempt = world_take(two, 2, wide);
    uint64_t narrow = client_submit(&client, job_tiny(1, 1));
    assert_int_equal(world_take(&one, 1, narrow), 1);
    rank_finish(&one, narrow, 1, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    client_wait_state(&client, narrow, ISLR__RUN_STATE__RUN_SUCCEEDED);
    rank_finish(&two[0], wide, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    client_wait_state(&client, wide, ISLR__RUN_STATE__RUN_SUCCEEDED);

    uint64_t elastic = client_submit(&client, job_tiny(0, 1));
    attempt = world_take(two, 2, elastic);
    rank_records(&two[0], elastic, attempt, 1, 10);
    struct hash point = rank_put(&two[0], "point", 5);
    rank_checkpoint(&two[0], elastic, attempt, "resume", 5, &point);
    world_close(two, 2);
    Islr__Envelope *m = rank_take(&one, 1);
    assert_int_equal(m->assign->run, elastic);
    assert_int_equal(m->assign->attempt, attempt + 1);
    assert_int_equal(m->assign->n_gang, 1);
    assert_memory_equal(m->assign->resume_sha256.data, point.bytes, sizeof point.bytes);
    envelope_free(m);
    world_close(&one, 1);
}

// ---- the fence ------------------------------------------------------------------------------------------------------

// The network between the server and a world is cut, both ways. The run is given to another world; what the first one
// has to say when it is back is refused, and it is told to stop.
static void test_fence(void **state)
{
    (void)state;
    struct actor cut, other;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    world_open(&cut, &rig, 1, "cut");
    uint32_t attempt = world_take(&cut, 1, run);
    rank_records(&cut, run, attempt, 1, 5);
    struct hash early = rank_put(&cut, "early", 5), late;
    rank_checkpoint(&cut, run, attempt, "resume", 5, &early);
    peer_set_keepalive(link_peer(cut.link), 0, 0);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED);
    world_open(&other, &rig, 1, "other");
    Islr__Envelope *m = rank_take(&other, 1);
    assert_int_equal(m->assign->attempt, attempt + 1);
    assert_memory_equal(m->assign->resume_sha256.data, early.bytes, sizeof early.bytes);
    envelope_free(m);
    rank_records(&other, run, attempt + 1, 1, 5);

    actor_wait_up(&cut);
    m = rank_register(&cut, run, attempt);
    assert_true(m->registered->abandon);
    envelope_free(m);
    Islr__MetricPoint point = ISLR__METRIC_POINT__INIT;
    char *names[] = {"loss/student"};
    double values[] = {1};
    Islr__Record record = ISLR__RECORD__INIT, *list[] = {&record};
    point.n_names = point.n_values = 1;
    point.names = names;
    point.values = values;
    record.has_seq = 1;
    record.seq = 6;
    record.what_case = ISLR__RECORD__WHAT_METRIC;
    record.metric = &point;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope say = ENVELOPE(RECORDS, records, &records);
    records.has_run = records.has_attempt = 1;
    records.run = run;
    records.attempt = attempt;
    records.n_records = 1;
    records.records = list;
    actor_send(&cut, &say);
    rank_expect_stop(&cut, run, ISLR__STOP__WHY__WHY_ABANDON, 0);

    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope bring = ENVELOPE(PUT, put, &put);
    late = hash_memory("later", 5);
    put.has_sha256 = put.has_total = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof late.bytes, late.bytes};
    put.total = 5;
    actor_call_fault(&cut, &bring, ERR_DENIED);
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope name = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    add.has_run = add.has_attempt = 1;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    info.what = "resume";
    info.has_step = info.has_sha256 = info.has_size_bytes = 1;
    info.step = 9;
    info.sha256 = (ProtobufCBinaryData){sizeof late.bytes, late.bytes};
    info.size_bytes = 5;
    actor_call_fault(&cut, &name, ERR_NOT_FOUND);
    rank_finish(&cut, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0); // taken note of, and nothing else

    client_follow(&client, run, 0);
    rank_finish(&other, run, attempt + 1, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    // queued, starting, running; five records; queued, starting, running; five records; succeeded
    assert_int_equal(client_follow_to_end(&client, 0, ISLR__RUN_STATE__RUN_SUCCEEDED), 3 + 5 + 3 + 5 + 1);
    m = client_show(&client, run);
    assert_int_equal(m->run_detail->n_attempts, 2);
    assert_string_equal(m->run_detail->attempts[0]->outcome, "lost");
    for (size_t i = 0; i < m->run_detail->n_checkpoints; i++)
        assert_int_not_equal(m->run_detail->checkpoints[i]->step, 9);
    envelope_free(m);
    actor_close(&cut);
    actor_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stuck, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_world, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_worlds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fence, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
