// Records: numbered without holes, taken once, the same whether in small blocks or packed.
#include <math.h>

#include "tests/store/rig.h"

#include "core/base/memory.h"

#include "core/store/metric_block.h"

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

// Record `worker_seq` of rig_records(), wherever it stands in the run's sequence.
static void check_record(const Islr__Record *r, uint64_t worker_seq, uint32_t attempt)
{
    assert_int_equal(r->time_ms, 10000 + worker_seq);
    assert_int_equal(r->attempt, attempt);
    if (worker_seq % 3 == 0) {
        char line[40];
        snprintf(line, sizeof line, "line %llu", (unsigned long long)worker_seq);
        assert_int_equal(r->what_case, ISLR__RECORD__WHAT_LOG);
        assert_string_equal(r->log, line);
        return;
    }
    assert_int_equal(r->what_case, ISLR__RECORD__WHAT_METRIC);
    assert_int_equal(r->metric->step, worker_seq);
    assert_int_equal(r->metric->n_values, 2);
    assert_string_equal(r->metric->names[0], "loss/student");
    assert_true(r->metric->values[0] == (double)(1.0f / (float)worker_seq));
    assert_true(r->metric->values[1] == 3e-4);
}

static void test_once_and_in_order(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    uint64_t run = rig_submit(rig, "r"); // seq 1: queued
    uint32_t attempt = rig_start(rig, run, 1);
    rig_add_records(rig, run, attempt, 1, 10);
    rig_add_records(rig, run, attempt, 1, 10); // all known
    rig_add_records(rig, run, attempt, 6, 10); // half known
    Islr__Records *late = rig_records(run, attempt, 20, 2);
    struct record_add gap = {.records = late};
    record_add_prepare(&gap);
    rig_call(rig, &gap.op, STORE_REFUSED);
    assert_int_equal(gap.op.error.code, ERR_INVALID);
    assert_non_null(strstr(gap.op.error.text, "records 16 to 19"));
    rig_records_free(late);
    struct record_page page = rig_read(rig, run, 0, 1 << 20, &pool);
    assert_int_equal(page.count, 3 + 15); // queued, starting, running
    assert_int_equal(page.records[0]->what_case, ISLR__RECORD__WHAT_STATE);
    for (size_t i = 0; i < 15; i++)
        check_record(page.records[3 + i], i + 1, attempt);
    rig_end(rig, run, attempt, ATTEMPT_LOST, 0);
    rig_add_records(rig, run, attempt, 6, 10); // of an ended attempt: known ones are acknowledged ...
    late = rig_records(run, attempt, 16, 1);
    struct record_add ended = {.records = late};
    record_add_prepare(&ended);
    rig_call(rig, &ended.op, STORE_REFUSED); // ... new ones refused
    assert_int_equal(ended.op.error.code, ERR_NOT_FOUND);
    rig_records_free(late);
    // the next attempt counts from 1 again, the run goes on
    attempt = rig_start(rig, run, 1);
    rig_add_records(rig, run, attempt, 1, 5);
    page = rig_read(rig, run, 18, 1 << 20, &pool);
    assert_int_equal(page.count, 3 + 5);
    check_record(page.records[7], 5, 2);
    pool_free(&pool);
}

// Enough for several full blocks, in pieces of many sizes, read in pages of many sizes and from many places.
static void test_blocks(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    uint64_t run = rig_submit(rig, "r"), next = 1;
    uint32_t attempt = rig_start(rig, run, 1);
    static const size_t sizes[] = {1, 7, 300, 2, 5000, 40, 1000};
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            rig_add_records(rig, run, attempt, next, sizes[i]);
            next += sizes[i];
        }
    }
    static const size_t pages[] = {1, 3000, 100000, 1 << 20};
    for (size_t p = 0; p < 4; p++) {
        // one record a page is slow work: only the end
        uint64_t after = p == 0 ? next - 30 : p == 1 ? next - 5000 : p == 2 ? 4096 : 0;
        struct record_page page = rig_read(rig, run, after, pages[p], &pool);
        assert_int_equal(page.count, next + 2 - after);
        for (size_t i = after < 3 ? 3 : 0; i < page.count; i++)
            check_record(page.records[i], after + i - 2, attempt);
        pool_free(&pool);
    }
    rig_end(rig, run, attempt, ATTEMPT_SUCCEEDED, 0); // packs the rest
    rig_reopen(rig);
    struct record_page page = rig_read(rig, run, 0, 1 << 20, &pool);
    assert_int_equal(page.count, next - 1 + 4);
    for (size_t i = 3; i < page.count - 1; i++)
        check_record(page.records[i], i - 2, attempt);
    assert_int_equal(page.state, ISLR__RUN_STATE__RUN_SUCCEEDED);
    pool_free(&pool);
}

static void test_kinds(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    struct record_page page;
    uint64_t run = rig_submit(rig, "r");
    rig_add_records(rig, run, rig_start(rig, run, 1), 1, 30);
    struct store_reader *reader = store_reader_take(rig->store, &e);
    struct record_query query = {run, 3, 1, 0, 1 << 20};
    assert_int_equal(record_read(reader, &query, &pool, &page, &e), 0);
    assert_int_equal(page.count, 10); // every third a line
    assert_int_equal(page.reached, 33);
    query.logs = 0;
    query.metrics = 1;
    assert_int_equal(record_read(reader, &query, &pool, &page, &e), 0);
    assert_int_equal(page.count, 20);
    query.metrics = 0;
    assert_int_equal(record_read(reader, &query, &pool, &page, &e), 0);
    assert_int_equal(page.count, 0);
    assert_int_equal(page.reached, 33);
    query.run = 77;
    assert_int_equal(record_read(reader, &query, &pool, &page, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    store_reader_give(rig->store, reader);
    pool_free(&pool);
}

static void test_values_that_are_no_numbers(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    Islr__Records *records = rig_records(run, attempt, 1, 2);
    records->records[0]->metric->values[0] = NAN;
    records->records[1]->metric->values[0] = -INFINITY;
    records->records[1]->metric->evaluation = 1;
    struct record_add r = {.records = records};
    record_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    struct record_page page = rig_read(rig, run, 3, 1 << 20, &pool);
    assert_true(isnan(page.records[0]->metric->values[0]));
    assert_true(page.records[1]->metric->values[0] == -INFINITY);
    rig_records_free(records);
    pool_free(&pool);
}

// However many evaluation metrics a run names, its summary stays small: lists of everybody's runs are made of them.
static void test_many_finals(void **state)
{
    enum { MANY = 3 * 200 };
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    Islr__RunSummary *s;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 1);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        Islr__Records *records = rig_records(run, attempt, 1, 1);
        Islr__MetricPoint *m = records->records[0]->metric;
        records->records[0]->seq = seq;
        m->evaluation = 1;
        for (size_t i = 0; i < m->n_names; i++)
            free(m->names[i]);
        m->n_names = m->n_values = MANY / 3;
        m->names = xrealloc(m->names, m->n_names, sizeof *m->names);
        m->values = xrealloc(m->values, m->n_values, sizeof *m->values);
        for (size_t i = 0; i < m->n_names; i++) {
            m->names[i] = xprintf("accuracy/%llu", (unsigned long long)(MANY / 3 * (seq - 1) + i) % (MANY - 1));
            m->values[i] = (double)seq;
        }
        struct record_add r = {.records = records};
        assert_int_equal(record_check(records, &e), 0);
        record_add_prepare(&r);
        rig_call(rig, &r.op, STORE_DONE);
        rig_records_free(records);
    }
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    assert_int_equal(run_read_summary(reader, run, &pool, &s, &e), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(s->n_final, RUN_FINALS_MAX);
    assert_string_equal(s->final[0]->name, "accuracy/0");
    assert_true(s->final[0]->value == 3); // its own figures go on
    assert_true(s->final[1]->value == 1);
    assert_string_equal(s->final[RUN_FINALS_MAX - 1]->name, "accuracy/255");
    pool_free(&pool);
}

static void test_check(void **state)
{
    (void)state;
    struct error e;
    Islr__Records *r = rig_records(1, 1, 1, 4);
    assert_int_equal(record_check(r, &e), 0);
    r->records[2]->seq = 7;
    assert_int_equal(record_check(r, &e), -1);
    assert_non_null(strstr(e.text, "does not follow"));
    r->records[2]->seq = 3;
    r->records[0]->metric->n_values = 1;
    assert_int_equal(record_check(r, &e), -1);
    r->records[0]->metric->n_values = 2;
    char *name = r->records[0]->metric->names[1], empty[] = "";
    r->records[0]->metric->names[1] = empty;
    assert_int_equal(record_check(r, &e), -1);
    r->records[0]->metric->names[1] = name;
    r->records[0]->seq = 0;
    assert_int_equal(record_check(r, &e), -1);
    assert_non_null(strstr(e.text, "has no number"));
    r->records[0]->seq = 1;
    assert_int_equal(record_check(r, &e), 0);
    rig_records_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_that_are_no_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_finals, setup, teardown),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
