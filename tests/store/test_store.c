// The writer: group commit, order, refusals that leave the others as they are, blocking calls, readers, a database that
// is not ours, is newer, or is damaged.
#include "tests/store/rig.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/store/setting.h"

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

// ---- group commit ---------------------------------------------------------------------------------------------------

enum { MANY = 3000 };

struct queued {
    struct run_submit request;
    struct counts *counts;
};
struct counts {
    struct store *store;
    int notified; // by the writer thread
    int done;
    uint64_t last;
};

static void notify(void *context)
{
    struct counts *c = context;
    __atomic_add_fetch(&c->notified, 1, __ATOMIC_SEQ_CST);
}

static void submitted(struct store_op *op)
{
    struct queued *q = (struct queued *)op;
    assert_int_equal(op->status, STORE_DONE);
    assert_true(q->request.now.run > q->counts->last); // in the order of queueing
    q->counts->last = q->request.now.run;
    q->counts->done++;
}

// A request that keeps the writer busy until all of the others are queued.
struct gate {
    struct store_op op;
    sem_t open;
};

static int hold_up(struct db *db, struct store_op *op, struct error *e)
{
    (void)db;
    (void)e;
    while (sem_wait(&((struct gate *)op)->open))
        ;
    return 0;
}

static void nothing(struct store_op *op)
{
    (void)op;
}

static void test_group_commit(void **state)
{
    struct rig *rig = *state;
    struct counts counts = {0};
    struct gate gate = {.op = {.apply = hold_up, .done = nothing}};
    struct queued *queue = calloc(MANY, sizeof *queue);
    struct store_options options = {rig->directory, notify, &counts, NULL};
    store_close(rig->store);
    rig->store = store_open(&options, NULL);
    sem_init(&gate.open, 0, 0);
    store_queue(rig->store, &gate.op);
    for (int i = 0; i < MANY; i++) {
        queue[i].counts = &counts;
        queue[i].request =
            (struct run_submit){.user = "u", .name = "n", .kind = "train", .spec = "", .max_attempts = 1};
        queue[i].request.op.done = submitted;
        run_submit_prepare(&queue[i].request);
        store_queue(rig->store, &queue[i].request.op);
    }
    sem_post(&gate.open);
    for (double start = clock_seconds(); counts.done < MANY && clock_seconds() < start + 100; clock_sleep(0.001))
        store_deliver(rig->store);
    assert_int_equal(counts.done, MANY);
    assert_int_equal(counts.last, MANY);
    // what has come during one commit shares the next: that is the point
    assert_in_range(__atomic_load_n(&counts.notified, __ATOMIC_SEQ_CST), 1, MANY / 2);
    free(queue);
}

struct mixed {
    struct run_submit request;
    int *left;
};

static void counted(struct store_op *op)
{
    --*((struct mixed *)op)->left;
}

// Good and bad requests in one transaction: each fares as if it were alone.
static void test_refusals_are_alone(void **state)
{
    struct rig *rig = *state;
    enum { COUNT = 200 };
    static struct mixed requests[COUNT];
    uint64_t unknown = 123456;
    int left = COUNT;
    for (int i = 0; i < COUNT; i++) {
        struct run_submit *r = &requests[i].request;
        requests[i].left = &left;
        *r = (struct run_submit){.user = "u", .name = "n", .kind = "train", .spec = "", .max_attempts = 1};
        r->after = &unknown;
        r->after_count = i % 3 == 0;
        r->op.done = counted;
        run_submit_prepare(r);
        store_queue(rig->store, &r->op);
    }
    for (double start = clock_seconds(); left && clock_seconds() < start + 100; clock_sleep(0.001))
        store_deliver(rig->store);
    assert_int_equal(left, 0);
    uint64_t next = 1;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(requests[i].request.op.status, i % 3 ? STORE_DONE : STORE_REFUSED);
        if (i % 3)
            assert_int_equal(requests[i].request.now.run, next++); // refusals use up no numbers
    }
}

// ---- several threads ------------------------------------------------------------------------------------------------

static void *call_many(void *context)
{
    struct rig *rig = context;
    for (int i = 0; i < 50; i++) {
        struct run_submit r = {.user = "u", .name = "n", .kind = "train", .spec = "", .key = "same", .max_attempts = 1};
        run_submit_prepare(&r);
        if (store_call(rig->store, &r.op) || r.now.run != 1)
            return "wrong";
    }
    return NULL;
}

static void *read_many(void *context)
{
    struct rig *rig = context;
    for (int i = 0; i < 200; i++) {
        struct run_counts counts;
        struct store_reader *reader = store_reader_take(rig->store, NULL);
        int rc = run_read_counts(reader, &counts, NULL);
        store_reader_give(rig->store, reader);
        if (rc || counts.of[ISLR__RUN_STATE__RUN_QUEUED] > 1)
            return "wrong";
    }
    return NULL;
}

// Many clients with one key make one run; readers are never in the writer's way.
static void test_threads(void **state)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, i % 2 ? read_many : call_many, *state);
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

static void test_settings(void **state)
{
    struct rig *rig = *state;
    struct setting_set first = {.name = "id", .value = "one", .keep = 1}, second = first;
    char value[128];
    second.value = "two";
    setting_set_prepare(&first);
    setting_set_prepare(&second);
    rig_call(rig, &first.op, STORE_DONE);
    rig_call(rig, &second.op, STORE_DONE);
    assert_string_equal(second.now, "one");
    second.keep = 0;
    rig_call(rig, &second.op, STORE_DONE);
    rig_reopen(rig);
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    assert_int_equal(setting_get(reader, "id", value, NULL), 1);
    assert_string_equal(value, "two");
    assert_int_equal(setting_get(reader, "other", value, NULL), 0);
    store_reader_give(rig->store, reader);
}

// ---- files that are not right ---------------------------------------------------------------------------------------

static void shell(struct rig *rig, const char *sql)
{
    char command[400];
    snprintf(command, sizeof command, "sqlite3 %s/islr.db '%s' >/dev/null", rig->directory, sql);
    assert_int_equal(system(command), 0);
}

static enum error_code open_fails(struct rig *rig, const char *said)
{
    struct error e = {0};
    struct store_options options = {.directory = rig->directory};
    rig->store = store_open(&options, &e);
    assert_null(rig->store);
    if (!strstr(e.text, said))
        fail_msg("%s", e.text);
    return e.code;
}

static void test_other_files(void **state)
{
    struct rig *rig = *state;
    char path[100];
    snprintf(path, sizeof path, "%s/islr.db", rig->directory);
    store_close(rig->store);
    if (!system("sqlite3 --version >/dev/null 2>&1")) {
        shell(rig, "pragma user_version=999");
        assert_int_equal(open_fails(rig, "written by a newer islrd"), ERR_INVALID);
        unlink(path);
        shell(rig, "create table someone(a)");
        assert_int_equal(open_fails(rig, "another program"), ERR_INVALID);
    }
    assert_int_equal(file_write_atomic(path,
                                       "no database at all, but long enough to have a header of 100 bytes, "
                                       "which is what SQLite looks at first of all, I believe",
                                       120, NULL),
                     0);
    assert_int_equal(open_fails(rig, "damaged"), ERR_DAMAGED);
    unlink(path);
    assert_int_equal(file_make_dirs(path, NULL), 0);
    assert_int_equal(open_fails(rig, "cannot"), ERR_FAILED);
}

// Pages of the metrics are overwritten: their reader says so, everything else goes on, new records are taken.
static void test_damaged_pages(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    uint64_t run = rig_submit(rig, "hurt"), other = rig_submit(rig, "well");
    uint32_t attempt = rig_start(rig, run, 1);
    rig_add_records(rig, run, attempt, 1, 20000);
    rig_add_records(rig, other, rig_start(rig, other, 1), 1, 30);
    store_close(rig->store);
    // the first full block's blob: find its bytes in the file by SQLite's own page numbers
    char command[500];
    snprintf(command, sizeof command,
             "p=$(sqlite3 %s/islr.db \"select pageno from dbstat where name='metric_blocks' and pagetype='overflow'"
             " limit 1\") && dd if=/dev/zero of=%s/islr.db bs=4096 seek=$((p-1)) count=1 conv=notrunc 2>/dev/null",
             rig->directory, rig->directory);
    if (system("sqlite3 --version >/dev/null 2>&1") || system(command)) {
        rig->store = NULL;
        skip();
    }
    rig->store = NULL;
    rig_reopen(rig);
    struct store_reader *reader = store_reader_take(rig->store, &e);
    struct record_page page;
    struct record_query query = {run, 0, 1, 1, 1 << 20};
    int rc;
    do {
        rc = record_read(reader, &query, &pool, &page, &e);
        query.after_seq = page.reached;
    } while (!rc && page.more);
    assert_int_equal(rc, -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    store_reader_give(rig->store, reader);
    pool_free(&pool);
    rig_read(rig, other, 0, 1 << 20, &pool);
    rig_add_records(rig, run, attempt, 20001, 9000); // through a compaction
    pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_group_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals_are_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_pages, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
