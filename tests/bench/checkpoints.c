// How long what is asked of a run with tens of thousands of checkpoints takes: with four times as many it should be four
// times as long; the square would be 16 times.
#include "tests/store/rig.h"

#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/artifact_name.h"
#include "core/store/gc.h"

enum { FEW = 12500, MANY = 4 * FEW, BATCH = 500, MODELS = 2 }; // models: of an epoch

// ---- filling --------------------------------------------------------------------------------------------------------

struct one {
    struct artifact_add file;
    struct checkpoint_add checkpoint;
    Islr__CheckpointInfo info;
    Islr__AddCheckpoint message;
    Islr__Value value, *values;
};

static void done(struct store_op *op)
{
    if (op->status != STORE_DONE)
        fail_msg("%s", op->error.text);
}

static void prepare(struct one *o, uint64_t run, uint32_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%u", number);
    o->file = (struct artifact_add){.hash = hash_memory(text, strlen(text)), .size = 1000, .time_ms = 1};
    artifact_add_prepare(&o->file);
    islr__checkpoint_info__init(&o->info);
    islr__add_checkpoint__init(&o->message);
    islr__value__init(&o->value);
    o->info.what = (char *)(number % MODELS ? "student" : "distilled");
    o->info.epoch = 1 + number / MODELS;
    o->info.step = number;
    o->info.sha256 = (ProtobufCBinaryData){sizeof o->file.hash.bytes, o->file.hash.bytes};
    o->value.name = (char *)"accuracy";
    o->value.value = (double)(number * 7919 % 10007) / 10007;
    o->values = &o->value;
    o->info.metrics = &o->values;
    o->info.n_metrics = 1;
    o->message.run = run;
    o->message.attempt = 1;
    o->message.checkpoint = &o->info;
    o->checkpoint = (struct checkpoint_add){.message = &o->message, .time_ms = 2};
    checkpoint_add_prepare(&o->checkpoint);
    o->file.op.done = o->checkpoint.op.done = done;
}

// Requests are carried out in order: when one that is waited for is, those before it are.
static void add_checkpoints(struct rig *rig, uint64_t run, uint32_t count)
{
    struct one *batch = xcalloc(BATCH, sizeof *batch);
    for (uint32_t first = 0; first < count; first += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++) {
            prepare(&batch[i], run, first + i);
            store_queue(rig->store, &batch[i].file.op);
            store_queue(rig->store, &batch[i].checkpoint.op);
        }
        rig_artifact(rig, "the last one");
        store_deliver(rig->store);
    }
    free(batch);
}

static uint64_t start_run(struct rig *rig, uint32_t count)
{
    uint8_t spec[200];
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    Islr__Checkpoint policy = ISLR__CHECKPOINT__INIT;
    job.name = (char *)"many";
    job.checkpoint = &policy;
    policy.has_keep_latest = policy.has_keep_best = 1;
    policy.keep_latest = policy.keep_best = count / MODELS / 4;
    struct run_submit r = {.user = "ann", .name = "many", .kind = "train", .max_attempts = 1, .spec = spec};
    r.spec_size = islr__job_spec__pack(&job, spec);
    r.job_hash = hash_memory(spec, r.spec_size);
    run_submit_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    rig_start(rig, r.now.run, 1);
    return r.now.run;
}

// ---- what is measured -----------------------------------------------------------------------------------------------

struct scene {
    struct store_reader *reader;
    uint64_t run;
    uint32_t count;
    struct pool pool;
    Islr__CheckpointList list;
};

static void list_pieces(struct scene *s)
{
    struct checkpoint_query q = {.run = s->run, .most = 256, .bytes = 256 << 10};
    size_t count, all = 0;
    Islr__CheckpointInfo **piece;
    int more;
    do {
        more = checkpoint_list(s->reader, &q, &s->pool, &piece, &count, NULL);
        assert_true(more >= 0 && count);
        q.after = piece[count - 1]->id;
        all += count;
    } while (more);
    assert_int_equal(all, s->count);
}

static void choose(struct scene *s, const char *what, size_t wanted)
{
    struct artifact_choice choice = {0};
    struct error e;
    if (artifact_choose(&s->list, s->run, what, &choice, &e))
        fail_msg("%s", e.text);
    assert_int_equal(choice.count, wanted);
    artifact_choice_free(&choice);
}

static void choose_all(struct scene *s)
{
    choose(s, "all", s->count);
}

static void choose_best(struct scene *s)
{
    choose(s, "best", 1);
}

static void find_unneeded(struct scene *s)
{
    struct gc_found found;
    struct error e;
    if (gc_find(s->reader, NULL, &s->pool, &found, &e))
        fail_msg("%s", e.text);
    assert_in_range(found.count, s->count / 2, s->count * 3 / 4); // a quarter is newest, a quarter best, some both
}

static const struct {
    const char *name;
    void (*work)(struct scene *s);
} rows[] = {
    {"list in pieces", list_pieces},
    {"choose all", choose_all},
    {"choose the best", choose_best},
    {"find what is not needed", find_unneeded},
};
enum { ROWS = sizeof rows / sizeof *rows };

// The best of three, of this thread's work: others do not count.
static double measure(struct scene *s, void (*work)(struct scene *s))
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double begun = clock_cpu_seconds();
        work(s);
        double took = clock_cpu_seconds() - begun;
        best = took < best ? took : best;
    }
    return best;
}

static void measure_all(uint32_t count, double took[ROWS])
{
    struct rig rig;
    struct scene s = {.count = count, .list = ISLR__CHECKPOINT_LIST__INIT};
    rig_open(&rig);
    s.run = start_run(&rig, count);
    add_checkpoints(&rig, s.run, count);
    rig_end(&rig, s.run, 1, ATTEMPT_FAILED, 0);
    s.reader = store_reader_take(rig.store, NULL);
    const struct checkpoint_query all = {s.run, 0, SIZE_MAX, SIZE_MAX};
    assert_int_equal(checkpoint_list(s.reader, &all, &s.pool, &s.list.checkpoints, &s.list.n_checkpoints, NULL), 0);
    for (int i = 0; i < ROWS; i++)
        took[i] = measure(&s, rows[i].work);
    store_reader_give(rig.store, s.reader);
    pool_free(&s.pool);
    rig_close(&rig);
}

static void test_linear(void **state)
{
    (void)state;
    double few[ROWS], many[ROWS];
    measure_all(FEW, few);
    measure_all(MANY, many);
    for (int i = 0; i < ROWS; i++)
        print_message("%s: %.1f ms of %d checkpoints, %.1f ms of %d\n", rows[i].name, few[i] * 1e3, FEW, many[i] * 1e3,
                      MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
