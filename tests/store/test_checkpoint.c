// Checkpoints and what keeps artifacts: resume points that make room, soups that hold their ingredients, collection.
#include "tests/store/rig.h"

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

// What collection would take away now, as a set of hashes.
static struct artifact_collect collect(struct rig *rig, int64_t before_ms)
{
    struct artifact_collect r = {.before_ms = before_ms};
    artifact_collect_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r;
}

static void expect_collected(struct rig *rig, int64_t before_ms, size_t count)
{
    struct artifact_collect r = collect(rig, before_ms);
    assert_int_equal(r.count, count);
    free(r.hashes);
}

static size_t list(struct rig *rig, uint64_t run, struct pool *pool, Islr__CheckpointInfo ***out)
{
    size_t count;
    const struct checkpoint_query all = {run, 0, 1000, SIZE_MAX};
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    assert_int_equal(checkpoint_list(reader, &all, pool, out, &count, NULL), 0);
    store_reader_give(rig->store, reader);
    return count;
}

static void test_resume_points(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    Islr__CheckpointInfo **found;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    struct hash points[4];
    static const char *const contents[] = {"one", "two", "three", "four"};
    for (int i = 0; i < 4; i++) {
        points[i] = rig_artifact(rig, contents[i]);
        uint64_t id = rig_checkpoint(rig, run, attempt, "resume", (uint64_t)i, &points[i]);
        assert_int_equal(rig_checkpoint(rig, run, attempt, "resume", (uint64_t)i, &points[i]), id); // once more
    }
    assert_int_equal(list(rig, run, &pool, &found), 2);
    assert_int_equal(found[0]->step, 2);
    assert_int_equal(found[1]->step, 3);
    // The two dropped ones go at once, though they were offered just now; nothing else.
    expect_collected(rig, 5000, 2);
    expect_collected(rig, 1 << 30, 0);
    // of what was not there any more the same report is refused, not believed
    struct run_now now = rig_end(rig, run, attempt, ATTEMPT_LOST, 0);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_QUEUED);
    struct run_rank rank = {0, "h", "cpu", 1};
    struct run_start start = {.run = run, .world = "w", .ranks = &rank, .rank_count = 1};
    run_start_prepare(&start);
    rig_call(rig, &start.op, STORE_DONE);
    assert_true(start.resumes);
    assert_true(hash_equal(&start.resume_hash, &points[3]));
    assert_int_equal(start.resume_size, 4);
    free(start.spec);
    rig_end(rig, run, 2, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(list(rig, run, &pool, &found), 0);
    expect_collected(rig, 5000, 2);
    pool_free(&pool);
}

static void add_soup(struct rig *rig, uint64_t run, uint32_t attempt, const struct hash *hash,
                     const struct hash *members, size_t count, enum store_status wanted)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Value figure = ISLR__VALUE__INIT, *figures = &figure;
    ProtobufCBinaryData hashes[8];
    for (size_t i = 0; i < count; i++)
        hashes[i] = (ProtobufCBinaryData){32, (uint8_t *)members[i].bytes};
    figure.name = "accuracy";
    figure.value = 0.875;
    info.what = "soup";
    info.sha256 = (ProtobufCBinaryData){32, (uint8_t *)hash->bytes};
    info.metrics = &figures;
    info.n_metrics = 1;
    message.run = run;
    message.attempt = attempt;
    message.checkpoint = &info;
    message.member_hashes = hashes;
    message.n_member_hashes = count;
    struct checkpoint_add r = {.message = &message};
    checkpoint_add_prepare(&r);
    rig_call(rig, &r.op, wanted);
}

static void test_pieces(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    Islr__CheckpointInfo **found;
    size_t count;
    uint64_t all, ids[5], run = rig_submit(rig, "r"), other = rig_submit(rig, "o");
    uint32_t attempt = rig_start(rig, run, 1);
    struct hash file = rig_artifact(rig, "file");
    for (int i = 0; i < 5; i++)
        ids[i] = rig_checkpoint(rig, run, attempt, "distilled", (uint64_t)i, &file);
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    struct checkpoint_query q = {.run = run, .most = 2, .bytes = SIZE_MAX};
    assert_int_equal(checkpoint_list(reader, &q, &pool, &found, &count, NULL), 1);
    assert_int_equal(count, 2);
    assert_int_equal(found[0]->id, ids[0]);
    q.after = ids[1];
    q.most = 3; // and there are no more
    assert_int_equal(checkpoint_list(reader, &q, &pool, &found, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(found[0]->id, ids[2]);
    q.bytes = islr__checkpoint_info__get_packed_size(found[0]) + 9; // the second one fills it
    assert_int_equal(checkpoint_list(reader, &q, &pool, &found, &count, NULL), 1);
    assert_int_equal(count, 2);
    q.after = ids[4];
    assert_int_equal(checkpoint_list(reader, &q, &pool, &found, &count, NULL), 0);
    assert_int_equal(count, 0);
    q.after = ids[1];
    q.bytes = SIZE_MAX;
    assert_int_equal(checkpoint_list(reader, &q, &pool, &found, &count, NULL), 0);
    size_t two = 2 * (islr__checkpoint_info__get_packed_size(found[0]) + 8);
    assert_int_equal(checkpoint_list_newest(reader, run, two, &pool, &found, &count, &all, NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(all, 5);
    assert_int_equal(found[0]->id, ids[3]);
    assert_int_equal(found[1]->id, ids[4]);
    assert_int_equal(checkpoint_list_newest(reader, run, 100 * two, &pool, &found, &count, &all, NULL), 0);
    assert_int_equal(count, 5);
    assert_int_equal(checkpoint_list_newest(reader, other, two, &pool, &found, &count, &all, NULL), 0);
    assert_int_equal(count + all, 0);
    store_reader_give(rig->store, reader);
    rig_end(rig, run, attempt, ATTEMPT_SUCCEEDED, 0);
    pool_free(&pool);
}

static void test_soup(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    Islr__CheckpointInfo **found;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    struct hash parts[2] = {rig_artifact(rig, "a"), rig_artifact(rig, "b")}, soup = rig_artifact(rig, "soup");
    uint64_t a = rig_checkpoint(rig, run, attempt, "distilled", 90, &parts[0]);
    add_soup(rig, run, attempt, &soup, parts, 2, STORE_REFUSED); // b is no checkpoint yet
    assert_int_equal(list(rig, run, &pool, &found), 1);          // and nothing of it stays
    uint64_t b = rig_checkpoint(rig, run, attempt, "distilled", 100, &parts[1]);
    add_soup(rig, run, attempt, &soup, parts, 2, STORE_DONE);
    assert_int_equal(list(rig, run, &pool, &found), 3);
    assert_int_equal(found[2]->n_members, 2);
    assert_int_equal(found[2]->members[0], a);
    assert_int_equal(found[2]->members[1], b);
    assert_string_equal(found[2]->metrics[0]->name, "accuracy");
    assert_true(found[2]->metrics[0]->value == 0.875);
    rig_end(rig, run, attempt, ATTEMPT_SUCCEEDED, 0);
    expect_collected(rig, 1 << 30, 0); // everything is referred to
    pool_free(&pool);
}

static void test_refused(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    struct hash nowhere = hash_memory("nowhere", 7), there = rig_artifact(rig, "there");
    add_soup(rig, run, attempt, &nowhere, NULL, 0, STORE_REFUSED);
    add_soup(rig, run, attempt + 1, &there, NULL, 0, STORE_REFUSED);
    rig_end(rig, run, attempt, ATTEMPT_LOST, 0);
    add_soup(rig, run, attempt, &there, NULL, 0, STORE_REFUSED); // too late
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__Value value = ISLR__VALUE__INIT, *values = &value;
    char name[RECORD_NAME_MAX + 2] = "";
    struct error e;
    assert_int_equal(checkpoint_check(&message, &e), -1);
    message.checkpoint = &info;
    info.what = (char *)"soup";
    info.sha256 = (ProtobufCBinaryData){sizeof there.bytes, there.bytes};
    info.metrics = &values;
    info.n_metrics = 1;
    memset(name, 'n', RECORD_NAME_MAX);
    value.name = name;
    assert_int_equal(checkpoint_check(&message, &e), 0);
    name[RECORD_NAME_MAX] = 'n';
    assert_int_equal(checkpoint_check(&message, &e), -1);
    assert_non_null(strstr(e.text, "too long"));
}

static void test_pin(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    Islr__CheckpointInfo **found;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    struct hash hash = rig_artifact(rig, "point");
    struct checkpoint_pin pin = {.id = rig_checkpoint(rig, run, attempt, "resume", 1, &hash), .pinned = 1};
    checkpoint_pin_prepare(&pin);
    pin.as_user = "bob";
    rig_call(rig, &pin.op, STORE_REFUSED);
    assert_int_equal(pin.op.error.code, ERR_DENIED);
    pin.as_user = "ann";
    rig_call(rig, &pin.op, STORE_DONE);
    rig_end(rig, run, attempt, ATTEMPT_SUCCEEDED, 0);
    assert_int_equal(list(rig, run, &pool, &found), 1); // a pinned one outlives its run
    assert_true(found[0]->pinned);
    pool_free(&pool);
}

static struct hash bring(struct rig *rig, uint64_t run, const char *content, int64_t time_ms)
{
    struct artifact_add r = {
        .hash = hash_memory(content, strlen(content)), .size = strlen(content), .run = run, .time_ms = time_ms};
    artifact_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.hash;
}

static int touch(struct rig *rig, uint64_t run, const struct hash *hash, int64_t time_ms)
{
    struct artifact_touch t = {.hash = *hash, .run = run, .time_ms = time_ms};
    artifact_touch_prepare(&t);
    rig_call(rig, &t.op, STORE_DONE);
    assert_int_equal(t.size, t.exists ? 7 : 0);
    return t.exists;
}

static void test_touch(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r"), other = rig_submit(rig, "o");
    struct hash hash = bring(rig, run, "content", 5000);
    assert_true(touch(rig, run, &hash, 9000));
    assert_false(touch(rig, other, &hash, 20000)); // it has not brought it, and its word counts for nothing
    expect_collected(rig, 8000, 0);
    expect_collected(rig, 9001, 1);
    assert_false(touch(rig, run, &hash, 9000));
}

static void name(struct rig *rig, uint64_t run, const struct hash *hash, uint64_t step, enum store_status wanted)
{
    static const struct reporter first = {(char *)"w1", 0};
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    info.what = (char *)"resume";
    info.step = step;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    message.run = run;
    message.attempt = 1;
    message.checkpoint = &info;
    struct checkpoint_add r = {.message = &message, .by = &first, .time_ms = 6000};
    char hex[65];
    checkpoint_add_prepare(&r);
    rig_call(rig, &r.op, wanted);
    hash_to_hex(hash, hex);
    if (wanted == STORE_REFUSED)
        assert_true(r.op.error.code == ERR_NOT_FOUND && strstr(r.op.error.text, hex));
}

// A run names what it has brought, or has named before; not what it knows the hash of alone.
static void test_own(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r"), other = rig_submit(rig, "o");
    rig_start(rig, run, 1);
    rig_start(rig, other, 1);
    struct hash hash = bring(rig, run, "content", 5000), next = bring(rig, run, "another", 5000);
    name(rig, other, &hash, 1, STORE_REFUSED);
    rig_reopen(rig); // it is remembered who has brought what
    name(rig, other, &hash, 1, STORE_REFUSED);
    name(rig, run, &hash, 1, STORE_DONE);
    name(rig, run, &hash, 1, STORE_DONE); // again, and as something else
    name(rig, run, &hash, 2, STORE_DONE);
    name(rig, other, &hash, 1, STORE_REFUSED);
    assert_true(touch(rig, run, &hash, 9000));
    assert_false(touch(rig, other, &hash, 9000));
    bring(rig, other, "content", 5000); // has it after all
    name(rig, other, &hash, 1, STORE_DONE);
    name(rig, run, &next, 3, STORE_DONE); // two newer resume points: the first ones go, and with them the word for them
    struct hash last = bring(rig, run, "the last", 5000);
    name(rig, run, &last, 4, STORE_DONE);
    name(rig, run, &hash, 5, STORE_REFUSED);
    name(rig, other, &hash, 2, STORE_DONE);
    // what is lost has to be brought anew
    struct artifact_lost lost = {.hash = hash, .time_ms = 7000};
    artifact_lost_prepare(&lost);
    rig_call(rig, &lost.op, STORE_DONE);
    assert_false(touch(rig, other, &hash, 9000));
    name(rig, other, &hash, 3, STORE_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resume_points, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_soup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_touch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
