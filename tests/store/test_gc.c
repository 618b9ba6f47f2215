// What collection takes and, above all, what it leaves.
#include "tests/store/rig.h"

#include <stdio.h>

#include "core/base/memory.h"
#include "core/store/gc.h"

static int setup(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    return 0;
}

// A run of ann's that is under way in its first attempt.
static uint64_t start(struct rig *rig, uint32_t latest, uint32_t best, const char *model)
{
    static int number;
    uint8_t spec[200];
    char name[32], *models[] = {(char *)model};
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    Islr__Checkpoint policy = ISLR__CHECKPOINT__INIT;
    snprintf(name, sizeof name, "job %d", ++number);
    job.name = name;
    job.checkpoint = &policy;
    policy.has_keep_latest = policy.has_keep_best = 1;
    policy.keep_latest = latest;
    policy.keep_best = best;
    job.models = models;
    job.n_models = model != NULL;
    struct run_submit r = {.user = "ann", .name = name, .kind = "train", .max_attempts = 3, .spec = spec};
    r.spec_size = islr__job_spec__pack(&job, spec);
    r.job_hash = hash_memory(spec, r.spec_size);
    run_submit_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    rig_start(rig, r.now.run, 1);
    return r.now.run;
}

static uint64_t add(struct rig *rig, uint64_t run, uint32_t attempt, const char *what, uint32_t epoch, double accuracy)
{
    char content[80];
    snprintf(content, sizeof content, "%s of epoch %u of attempt %u of run %d", what, epoch, attempt, (int)run);
    struct hash hash = rig_artifact(rig, content);
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Value value = ISLR__VALUE__INIT, *values[] = {&value};
    value.name = (char *)"accuracy/distilled";
    value.has_value = 1;
    value.value = accuracy;
    info.what = (char *)what;
    info.epoch = epoch;
    info.step = epoch * 10;
    info.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    info.n_metrics = accuracy >= 0;
    info.metrics = values;
    message.run = run;
    message.attempt = attempt;
    message.checkpoint = &info;
    struct checkpoint_add r = {.message = &message, .time_ms = 6000};
    checkpoint_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.id;
}

// Students and distilled models of epochs 1 to 6; the third is the best, then the first.
static void add_epochs(struct rig *rig, uint64_t run, uint32_t attempt)
{
    static const double accuracy[] = {0, 0.6, 0.2, 0.9, 0.3, 0.4, 0.5};
    for (uint32_t epoch = 1; epoch <= 6; epoch++) {
        add(rig, run, attempt, "student", epoch, -1);
        add(rig, run, attempt, "distilled", epoch, accuracy[epoch]);
    }
}

// The epochs that gc would take from a run, as bits; what it takes is checked against what it said before.
static unsigned gc(struct rig *rig, const char *as_user, uint64_t run, uint64_t *bytes)
{
    struct pool pool = {0};
    struct gc_found said;
    struct error e;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(gc_find(reader, as_user, &pool, &said, &e), 0);
    store_reader_give(rig->store, reader);
    struct gc_run r = {.as_user = as_user};
    gc_run_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    assert_int_equal(r.found.count, said.count);
    assert_int_equal(r.found.bytes, said.bytes);
    unsigned epochs = 0;
    for (size_t i = 0; i < said.count; i++) {
        assert_int_equal(r.found.items[i]->id, said.items[i]->id);
        if (said.items[i]->run == run)
            epochs |= 1u << said.items[i]->epoch;
    }
    if (bytes)
        *bytes = said.bytes;
    pool_free(&pool);
    pool_free(&r.pool);
    return epochs;
}

static void test_policy(void **state)
{
    struct rig *rig = *state;
    uint64_t run = start(rig, 2, 2, NULL), bytes;
    add_epochs(rig, run, 1);
    add(rig, run, 1, "distilled", 0, -1);
    add(rig, run, 1, "predictions", 0, -1);
    assert_int_equal(gc(rig, NULL, run, NULL), 0); // it is under way
    rig_end(rig, run, 1, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(gc(rig, "eve", run, NULL), 0); // it is not hers
    // newest: 6, 5; best: 3, 1
    assert_int_equal(gc(rig, "ann", run, &bytes), 1u << 2 | 1u << 4);
    assert_int_equal(bytes, 2 * (strlen("student of epoch 2 of attempt 1 of run 1") +
                                 strlen("distilled of epoch 2 of attempt 1 of run 1")));
    struct artifact_collect c = {.before_ms = 5000}; // their files go at once
    artifact_collect_prepare(&c);
    rig_call(rig, &c.op, STORE_DONE);
    assert_int_equal(c.count, 4);
    assert_int_equal(c.bytes, bytes);
    free(c.hashes);
    assert_int_equal(gc(rig, NULL, run, NULL), 0); // nothing is left to take
    // of equals the later ones
    uint64_t equals = start(rig, 0, 2, NULL);
    for (uint32_t epoch = 1; epoch <= 4; epoch++)
        add(rig, equals, 1, "distilled", epoch, 0.5);
    rig_end(rig, equals, 1, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(gc(rig, NULL, equals, NULL), 1u << 1 | 1u << 2);
    // nothing of the epochs is kept where the job says so
    uint64_t other = start(rig, 0, 0, NULL);
    add_epochs(rig, other, 1);
    rig_end(rig, other, 1, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(gc(rig, NULL, other, NULL), 0x7e);
}

static void test_what_is_needed(void **state)
{
    struct rig *rig = *state;
    uint64_t run = start(rig, 0, 0, NULL);
    add_epochs(rig, run, 1);
    struct hash ingredient = hash_memory("distilled of epoch 5 of attempt 1 of run 1", 42);
    struct hash soup = rig_artifact(rig, "a soup");
    uint64_t pinned = add(rig, run, 1, "teacher", 2, -1);
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    ProtobufCBinaryData member = {sizeof ingredient.bytes, ingredient.bytes};
    info.what = (char *)"soup";
    info.sha256 = (ProtobufCBinaryData){sizeof soup.bytes, soup.bytes};
    message.run = run;
    message.attempt = 1;
    message.checkpoint = &info;
    message.n_member_hashes = 1;
    message.member_hashes = &member;
    struct checkpoint_add r = {.message = &message, .time_ms = 6000};
    checkpoint_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    struct checkpoint_pin pin = {.id = pinned, .pinned = 1};
    checkpoint_pin_prepare(&pin);
    rig_call(rig, &pin.op, STORE_DONE);
    rig_end(rig, run, 1, ATTEMPT_SUCCEEDED, 0);
    char name[16];
    snprintf(name, sizeof name, "%d:best", (int)run);
    uint64_t waiting = start(rig, 0, 0, name); // its job names the run
    assert_int_equal(gc(rig, NULL, run, NULL), 0);
    rig_end(rig, waiting, 1, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(gc(rig, NULL, run, NULL), 0x7e);
    struct pool pool = {0};
    Islr__CheckpointInfo **left;
    size_t count;
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    const struct checkpoint_query all = {run, 0, 1000, SIZE_MAX};
    assert_int_equal(checkpoint_list(reader, &all, &pool, &left, &count, NULL), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(count, 3); // the soup, its ingredient, the pinned one
    assert_int_equal(left[0]->epoch, 5);
    assert_string_equal(left[0]->what, "distilled");
    assert_int_equal(left[1]->id, pinned);
    pool_free(&pool);
}

// Many runs and files that many jobs name, in no order.
static void test_many_names(void **state)
{
    enum { RUNS = 8, FILES = 8 };
    struct rig *rig = *state;
    uint64_t runs[RUNS], waiting[RUNS + FILES];
    for (int i = 0; i < RUNS; i++) {
        runs[i] = start(rig, 0, 0, NULL);
        add(rig, runs[i], 1, "distilled", 1, 0.5);
        rig_end(rig, runs[i], 1, ATTEMPT_SUCCEEDED, 0);
    }
    uint64_t many = start(rig, 0, 0, NULL);
    for (uint32_t epoch = 1; epoch <= FILES; epoch++)
        add(rig, many, 1, "distilled", epoch, 0.5);
    rig_end(rig, many, 1, ATTEMPT_SUCCEEDED, 0);
    for (int i = 0; i < RUNS; i++) { // 3, 6, 1, 4, ..
        char name[32];
        snprintf(name, sizeof name, "%d:best", (int)runs[(3 * i + 3) % RUNS]);
        waiting[i] = start(rig, 0, 0, name);
    }
    for (int i = 0; i < FILES; i++) {
        char name[80] = "sha256:", content[80];
        snprintf(content, sizeof content, "distilled of epoch %d of attempt 1 of run %d", i + 1, (int)many);
        struct hash hash = hash_memory(content, strlen(content));
        hash_to_hex(&hash, name + 7);
        waiting[RUNS + i] = start(rig, 0, 0, name);
    }
    assert_int_equal(gc(rig, NULL, many, NULL), 0);
    for (int i = 0; i < FILES; i++) { // each goes when nobody names it any more, and no other one
        rig_end(rig, waiting[RUNS + i], 1, ATTEMPT_SUCCEEDED, 0);
        assert_int_equal(gc(rig, NULL, many, NULL), 2u << i);
    }
    for (int i = 0; i < RUNS; i++) {
        rig_end(rig, waiting[i], 1, ATTEMPT_SUCCEEDED, 0);
        assert_int_equal(gc(rig, NULL, runs[(3 * i + 3) % RUNS], NULL), 2);
    }
}

// A run that can be gone on with needs its epochs for its soup; once it has been, the earlier attempt's double goes.
static void test_attempts(void **state)
{
    struct rig *rig = *state;
    uint64_t run = start(rig, 1, 0, NULL);
    add(rig, run, 1, "distilled", 1, 0.5);
    add(rig, run, 1, "distilled", 2, 0.5);
    struct hash point = rig_artifact(rig, "a resume point");
    rig_checkpoint(rig, run, 1, "resume", 10, &point);
    rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    rig_end(rig, run, 1, ATTEMPT_STOPPED, 0);
    assert_int_equal(gc(rig, NULL, run, NULL), 0);
    rig_verb(rig, run, RUN_RETRY, 0);
    rig_start(rig, run, 1);
    uint64_t again = add(rig, run, 2, "distilled", 2, 0.5);
    rig_end(rig, run, 2, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(gc(rig, NULL, run, NULL), 1u << 1 | 1u << 2);
    struct pool pool = {0};
    Islr__CheckpointInfo **left;
    size_t count;
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    const struct checkpoint_query all = {run, 0, 1000, SIZE_MAX};
    assert_int_equal(checkpoint_list(reader, &all, &pool, &left, &count, NULL), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(count, 1);
    assert_int_equal(left[0]->id, again);
    pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_policy, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_what_is_needed, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_many_names, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_attempts, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
