// What the store's tests share: see rig.h.
#include "tests/store/rig.h"

#include <stdio.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/artifact.h"

void rig_open(struct rig *rig)
{
    strcpy(rig->directory, "/tmp/islr-store-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    rig->store = NULL;
    rig_reopen(rig);
}

void rig_reopen(struct rig *rig)
{
    struct error e = {0};
    store_close(rig->store);
    rig->store = store_open(&(struct store_options){.directory = rig->directory}, &e);
    if (!rig->store)
        fail_msg("%s", e.text);
}

void rig_close(struct rig *rig)
{
    store_close(rig->store);
    file_remove_tree(rig->directory, NULL);
}

void rig_call(struct rig *rig, struct store_op *op, enum store_status wanted)
{
    store_call(rig->store, op);
    if (op->status != wanted)
        fail_msg("status %d instead of %d: %s", (int)op->status, (int)wanted,
                 op->status == STORE_DONE ? "done" : op->error.text);
}

uint64_t rig_submit(struct rig *rig, const char *name)
{
    struct run_submit r = {
        .user = "ann", .name = name, .kind = "train", .spec = "x", .max_attempts = 3, .time_ms = 1000};
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    job.name = (char *)name;
    uint8_t spec[256];
    r.spec = spec;
    r.spec_size = islr__job_spec__pack(&job, spec);
    r.job_hash = hash_memory(spec, r.spec_size);
    run_submit_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.now.run;
}

static struct run_verb verb(uint64_t run, enum run_verb_kind kind, int stop_why)
{
    struct run_verb r = {.kind = kind, .run = run, .reason = "by ann", .stop_why = stop_why, .time_ms = 2000};
    run_verb_prepare(&r);
    return r;
}

struct run_now rig_verb(struct rig *rig, uint64_t run, enum run_verb_kind kind, int stop_why)
{
    struct run_verb r = verb(run, kind, stop_why);
    rig_call(rig, &r.op, STORE_DONE);
    free(r.members);
    return r.now;
}

void rig_refuse(struct rig *rig, uint64_t run, enum run_verb_kind kind, enum error_code code)
{
    struct run_verb r = verb(run, kind, ISLR__STOP__WHY__WHY_CANCEL);
    rig_call(rig, &r.op, STORE_REFUSED);
    free(r.members);
    assert_int_equal(r.op.error.code, code);
}

uint32_t rig_start(struct rig *rig, uint64_t run, size_t ranks)
{
    struct run_rank gang[16];
    for (size_t i = 0; i < ranks; i++)
        gang[i] = (struct run_rank){(uint32_t)i, "host", "cpu", (uint32_t)(100 + i)};
    struct run_start r = {.run = run, .world = "w1", .ranks = gang, .rank_count = ranks, .time_ms = 3000};
    run_start_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    free(r.folds);
    free(r.spec);
    struct run_began b = {.run = run, .attempt = r.now.attempt, .time_ms = 3001};
    run_began_prepare(&b);
    rig_call(rig, &b.op, STORE_DONE);
    assert_int_equal(b.now.state, ISLR__RUN_STATE__RUN_RUNNING);
    return r.now.attempt;
}

struct run_now rig_end(struct rig *rig, uint64_t run, uint32_t attempt, enum attempt_outcome outcome, int retryable)
{
    struct run_end r = {.run = run,
                        .attempt = attempt,
                        .outcome = outcome,
                        .retryable = retryable,
                        .reason = "the reason",
                        .time_ms = 4000};
    run_end_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.now;
}

Islr__Records *rig_records(uint64_t run, uint32_t attempt, uint64_t first, size_t count)
{
    Islr__Records *out = xmalloc(sizeof *out);
    islr__records__init(out);
    out->run = run;
    out->attempt = attempt;
    out->n_records = count;
    out->records = xcalloc(count, sizeof *out->records);
    for (size_t i = 0; i < count; i++) {
        Islr__Record *r = out->records[i] = xmalloc(sizeof *r);
        islr__record__init(r);
        r->has_seq = r->has_time_ms = 1;
        r->seq = first + i;
        r->time_ms = (int64_t)(10000 + r->seq);
        if (r->seq % 3 == 0) {
            r->what_case = ISLR__RECORD__WHAT_LOG;
            r->log = xprintf("line %llu", (unsigned long long)r->seq);
            continue;
        }
        r->what_case = ISLR__RECORD__WHAT_METRIC;
        Islr__MetricPoint *m = r->metric = xmalloc(sizeof *m);
        islr__metric_point__init(m);
        m->has_step = m->has_epoch = 1;
        m->step = r->seq;
        m->epoch = (double)r->seq / 10;
        m->n_names = m->n_values = 2;
        m->names = xcalloc(2, sizeof *m->names);
        m->names[0] = xstrdup("loss/student");
        m->names[1] = xstrdup("lr");
        m->values = xcalloc(2, sizeof *m->values);
        m->values[0] = (double)(1.0f / (float)r->seq);
        m->values[1] = 3e-4;
    }
    return out;
}

void rig_records_free(Islr__Records *records)
{
    islr__records__free_unpacked(records, NULL);
}

void rig_add_records(struct rig *rig, uint64_t run, uint32_t attempt, uint64_t first, size_t count)
{
    Islr__Records *records = rig_records(run, attempt, first, count);
    struct record_add r = {.records = records};
    assert_int_equal(record_check(records, NULL), 0);
    record_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    assert_int_equal(r.acked, first + count - 1);
    rig_records_free(records);
}

struct record_page rig_read(struct rig *rig, uint64_t run, uint64_t after_seq, size_t page_bytes, struct pool *pool)
{
    struct error e;
    struct record_page all = {.reached = after_seq}, page;
    do {
        struct store_reader *reader = store_reader_take(rig->store, &e);
        assert_non_null(reader);
        struct record_query query = {run, all.reached, 1, 1, page_bytes};
        if (record_read(reader, &query, pool, &page, &e))
            fail_msg("%s", e.text);
        store_reader_give(rig->store, reader);
        for (size_t i = 0; i < page.count; i++) {
            assert_int_equal(page.records[i]->seq, all.reached + 1);
            all.reached++;
            all.records = pool_room(pool, all.records, all.count, sizeof *all.records);
            all.records[all.count++] = page.records[i];
        }
        assert_int_equal(page.reached, all.reached);
    } while (page.more);
    assert_int_equal(page.last_seq, all.reached > after_seq ? all.reached : page.last_seq);
    all.state = page.state;
    all.reason = page.reason;
    all.last_seq = page.last_seq;
    return all;
}

struct hash rig_artifact(struct rig *rig, const char *content)
{
    struct artifact_add r = {.hash = hash_memory(content, strlen(content)), .size = strlen(content), .time_ms = 5000};
    artifact_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.hash;
}

struct hash rig_file(struct rig *rig, const char *content)
{
    struct artifact_store artifacts;
    struct hash hash = hash_memory(content, strlen(content));
    struct error e;
    assert_int_equal(artifact_store_open(&artifacts, rig->directory, &e), 0);
    struct artifact_upload *u = artifact_upload_open(&artifacts, &hash, 0, strlen(content), &e);
    assert_non_null(u);
    assert_int_equal(artifact_upload_write(u, 0, content, strlen(content), &e), 0);
    assert_int_equal(artifact_upload_commit(u, &e), 0);
    artifact_store_close(&artifacts);
    return rig_artifact(rig, content);
}

char *rig_file_path(struct rig *rig, const struct hash *hash)
{
    struct artifact_store artifacts;
    artifact_store_name(&artifacts, rig->directory);
    char *path = artifact_path(&artifacts, hash);
    artifact_store_close(&artifacts);
    return path;
}

uint64_t rig_checkpoint(struct rig *rig, uint64_t run, uint32_t attempt, const char *what, uint64_t step,
                        const struct hash *hash)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint message = ISLR__ADD_CHECKPOINT__INIT;
    struct error e;
    info.what = (char *)what;
    info.step = step;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    message.run = run;
    message.attempt = attempt;
    message.checkpoint = &info;
    struct checkpoint_add r = {.message = &message, .time_ms = 6000};
    assert_int_equal(checkpoint_check(&message, &e), 0);
    checkpoint_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    return r.id;
}
