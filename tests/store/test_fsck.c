// fsck: each kind of damage is made, found, named, and repaired where that loses nothing.
#include "tests/store/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/db.h"
#include "core/store/fsck.h"

struct found {
    char text[8000];
    struct fsck_result result;
};

static void on_found(void *context, enum fsck_kind kind, const char *sentence)
{
    struct found *f = context;
    size_t n = strlen(f->text);
    snprintf(f->text + n, sizeof f->text - n, "%s: %s\n",
             kind == FSCK_NOTE       ? "note"
             : kind == FSCK_REPAIRED ? "repaired"
                                     : "damage",
             sentence);
}

static void look(struct rig *rig, int repair, struct found *out)
{
    struct fsck_options o = {.directory = rig->directory, .repair = repair, .found = on_found, .context = out};
    struct error e;
    memset(out, 0, sizeof *out);
    if (fsck(&o, &out->result, &e))
        fail_msg("%s", e.text);
}

static void expect(struct rig *rig, int repair, size_t damaged, size_t repaired, size_t notes, const char *const *texts)
{
    struct found f;
    look(rig, repair, &f);
    for (; *texts; texts++)
        if (!strstr(f.text, *texts))
            fail_msg("'%s' is not among:\n%s", *texts, f.text);
    if (f.result.damaged != damaged || f.result.repaired != repaired || f.result.notes != notes)
        fail_msg("%zu damaged, %zu repaired, %zu notes:\n%s", f.result.damaged, f.result.repaired, f.result.notes,
                 f.text);
}
#define EXPECT(rig, repair, damaged, repaired, notes, ...)                                                             \
    expect(rig, repair, damaged, repaired, notes, (const char *const[]){__VA_ARGS__, NULL})

static uint64_t make_run(struct rig *rig)
{
    uint64_t run = rig_submit(rig, "first");
    uint32_t attempt = rig_start(rig, run, 2);
    rig_add_records(rig, run, attempt, 1, 50);
    return run;
}

// SQL behind the store's back, foreign keys not looked at.
static void meddle(struct rig *rig, const char *sql)
{
    struct db db;
    struct error e;
    char *path = file_join(rig->directory, "islr.db");
    store_close(rig->store);
    rig->store = NULL;
    if (db_open(&db, path, DB_WRITER, &e) || db_script(&db, "PRAGMA foreign_keys=OFF", &e) || db_script(&db, sql, &e))
        fail_msg("%s: %s", sql, e.text);
    db_close(&db);
    free(path);
}

static void test_sound(void **state)
{
    (void)state;
    struct rig rig;
    struct found f;
    rig_open(&rig);
    uint64_t run = make_run(&rig);
    struct hash soup = rig_file(&rig, "soup");
    rig_checkpoint(&rig, run, 1, "soup", 3, &soup);
    rig_end(&rig, run, 1, ATTEMPT_SUCCEEDED, 0);
    look(&rig, 0, &f); // beside an open store
    assert_string_equal(f.text, "");
    assert_int_equal(f.result.runs, 1);
    assert_int_equal(f.result.records, 50 + 4);
    assert_int_equal(f.result.checkpoints, 1);
    assert_int_equal(f.result.artifacts, 1);
    assert_int_equal(f.result.bytes, 4);
    rig_close(&rig);
}

static void put(const char *path, const char *content)
{
    FILE *f;
    unlink(path);
    f = fopen(path, "wb");
    fputs(content, f);
    fclose(f);
}

static void test_artifacts(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint64_t run = make_run(&rig);
    struct hash older = rig_file(&rig, "older point"), newer = rig_file(&rig, "newer point"),
                soup = rig_file(&rig, "the soup"), model = rig_file(&rig, "the model");
    rig_checkpoint(&rig, run, 1, "resume", 10, &older);
    rig_checkpoint(&rig, run, 1, "resume", 20, &newer);
    rig_checkpoint(&rig, run, 1, "soup", 20, &soup);
    rig_checkpoint(&rig, run, 1, "student", 20, &model);
    rig_end(&rig, run, 1, ATTEMPT_LOST, 1);
    char *gone = rig_file_path(&rig, &newer), *altered = rig_file_path(&rig, &soup), *cut = rig_file_path(&rig, &model),
         *orphan = xprintf("%s/artifacts/stray", rig.directory);
    unlink(gone);
    put(altered, "the soap");
    put(cut, "the mod");
    put(orphan, "x");
    EXPECT(&rig, 0, 3, 0, 1, "(resume of run 1, step 20) is missing",
           "(soup of run 1, step 20) is damaged: its content",
           "(student of run 1, step 20) is damaged: its file has not the size", "nothing in the database knows");
    assert_true(file_exists(altered));
    EXPECT(&rig, 1, 0, 3, 1, "marked as lost", "quarantine/", "repaired");
    assert_false(file_exists(altered) || file_exists(cut) || file_exists(orphan));
    EXPECT(&rig, 0, 0, 0, 3 + 3, "is lost, as was found before", "was put aside");
    // what is marked is not given out: the run resumes from the point before
    rig_reopen(&rig);
    struct run_rank rank = {0, "host", "cpu", 1};
    struct run_start s = {.run = run, .world = "w", .ranks = &rank, .rank_count = 1, .time_ms = 9000};
    run_start_prepare(&s);
    rig_call(&rig, &s.op, STORE_DONE);
    assert_true(s.resumes && hash_equal(&s.resume_hash, &older));
    free(s.spec);
    struct artifact_touch t = {.hash = soup, .run = run, .time_ms = 1};
    artifact_touch_prepare(&t);
    rig_call(&rig, &t.op, STORE_DONE);
    assert_false(t.exists); // so it may be uploaded again, which heals it
    rig_file(&rig, "the soup");
    rig_call(&rig, &t.op, STORE_DONE);
    assert_true(t.exists);
    put(cut, "the model"); // and so does a person who brings the file back
    EXPECT(&rig, 0, 0, 0, 1 + 3 + 1, "was lost and is whole again");
    EXPECT(&rig, 1, 0, 1, 1 + 3, "was lost and is whole again");
    free(gone);
    free(altered);
    free(cut);
    free(orphan);
    rig_close(&rig);
}

// An epoch's checkpoint is lost that who resumes behind it would need: the run resumes before it, or begins anew.
static void test_lost_checkpoint(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint64_t run = make_run(&rig);
    struct hash early = rig_file(&rig, "early point"), model = rig_file(&rig, "model"), late = rig_file(&rig, "late");
    rig_checkpoint(&rig, run, 1, "resume", 10, &early);
    rig_checkpoint(&rig, run, 1, "distilled", 15, &model);
    rig_checkpoint(&rig, run, 1, "resume", 20, &late);
    rig_end(&rig, run, 1, ATTEMPT_LOST, 1);
    meddle(&rig, "UPDATE checkpoints SET epoch = 3 WHERE what = 'distilled';"
                 "UPDATE artifacts SET lost_ms = 1 WHERE id = 2");
    rig_reopen(&rig);
    struct run_rank rank = {0, "host", "cpu", 1};
    struct run_start s = {.run = run, .world = "w", .ranks = &rank, .rank_count = 1, .time_ms = 9000};
    run_start_prepare(&s);
    rig_call(&rig, &s.op, STORE_DONE);
    assert_true(s.resumes && hash_equal(&s.resume_hash, &early));
    free(s.spec);
    rig_end(&rig, run, 2, ATTEMPT_LOST, 1);
    meddle(&rig, "UPDATE checkpoints SET step = 5 WHERE what = 'distilled'");
    rig_reopen(&rig);
    run_start_prepare(&s);
    rig_call(&rig, &s.op, STORE_DONE);
    assert_false(s.resumes);
    free(s.spec);
    rig_close(&rig);
}

// Rows that contradict each other.
static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *said;
    } cases[] = {
        {"DELETE FROM logs WHERE seq = 9", "1 of the 53 records of run 1 are missing, the first of them are 9 to 9"},
        {"UPDATE events SET seq = 3 WHERE seq = 2", "2 to 2"},
        {"INSERT INTO logs VALUES (1, 5, 0, 1, 'twice')", "1 records of run 1 are there twice"},
        {"UPDATE runs SET last_seq = 20", "lie beyond its last"},
        {"UPDATE runs SET last_seq = 1 << 40", "which cannot be"},
        {"UPDATE metric_blocks SET data = x'0012'", "metrics of run 1, records 4 to 53, cannot be read"},
        {"UPDATE metric_blocks SET records = 7", "does not hold the records that it says"},
        {"DELETE FROM metric_names", "names a metric that has no name"},
        {"UPDATE runs SET attempts = 2", "run 1 counts 2 attempts, the database holds 1"},
        {"UPDATE attempts SET ended_ms = 5", "its attempt 1 has ended or is not there"},
        {"UPDATE runs SET state = 5, ended_ms = 9", "has not ended, though the run is not under way"},
        {"UPDATE runs SET state = 4", "the last event of run 1 is not the state"},
        {"UPDATE runs SET ended_ms = 4", "has not ended but says when it did"},
        {"UPDATE runs SET final = x'ffff'", "the final figures of run 1 cannot be read"},
        {"UPDATE jobs SET spec = x'ffff'", "the job of run 1 cannot be read"},
        {"DELETE FROM jobs", "refers to a row of jobs that is not there"},
        {"INSERT INTO run_after VALUES (1, 1)", "waits for itself"},
        {"UPDATE sqlite_sequence SET seq = 0 WHERE name = 'runs'", "a number could be given twice"},
        {"INSERT INTO artifacts VALUES (1, x'00', 1, 1, 1, 0)", "is no SHA-256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        struct found f;
        rig_open(&rig);
        make_run(&rig);
        meddle(&rig, cases[i].sql);
        look(&rig, 0, &f);
        if (!f.result.damaged || !strstr(f.text, cases[i].said))
            fail_msg("%s: '%s' is not among:\n%s", cases[i].sql, cases[i].said, f.text);
        struct found g;
        look(&rig, 1, &g); // repair does not invent what is not there
        assert_int_equal(g.result.damaged, f.result.damaged);
        rig_close(&rig);
    }
}

static void test_soups(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    uint64_t run = make_run(&rig);
    struct hash a = rig_file(&rig, "a"), b = rig_file(&rig, "b");
    rig_checkpoint(&rig, run, 1, "distilled", 1, &a);
    rig_checkpoint(&rig, run, 1, "distilled", 2, &b);
    rig_checkpoint(&rig, run, 1, "soup", 2, &a);
    meddle(&rig, "INSERT INTO soups (checkpoint_id) VALUES (3); INSERT INTO soup_members VALUES (3, 0, 1), (3, 1, 2)");
    EXPECT(&rig, 0, 0, 0, 0, "");
    meddle(&rig, "DELETE FROM soup_members WHERE position = 0");
    EXPECT(&rig, 0, 1, 0, 0, "the soup 3 has lost 1 of its 2 ingredients");
    meddle(&rig, "DELETE FROM soup_members");
    EXPECT(&rig, 0, 1, 0, 0, "the soup 3 of run 1 has lost all its ingredients");
    rig_close(&rig);
}

// An index that does not match its table: built anew. The index is hidden from SQLite while a row is changed.
static void test_index(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    make_run(&rig);
    rig_submit(&rig, "second");
    meddle(&rig, "PRAGMA writable_schema=ON; CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE"
                 " name = 'runs_by_user'; DELETE FROM sqlite_schema WHERE name = 'runs_by_user'");
    meddle(&rig, "UPDATE runs SET user = 'bob' WHERE id = 1");
    meddle(&rig, "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema SELECT * FROM hidden; DROP TABLE hidden");
    struct found f;
    look(&rig, 0, &f);
    if (!f.result.damaged || !strstr(f.text, "missing from index runs_by_user"))
        fail_msg("%s", f.text);
    EXPECT(&rig, 1, 0, 1, 0, "built anew");
    EXPECT(&rig, 0, 0, 0, 0, "");
    rig_close(&rig);
}

static int64_t root_page(struct rig *rig, const char *table)
{
    struct db db;
    int64_t page;
    char *path = file_join(rig->directory, "islr.db");
    assert_int_equal(db_open(&db, path, DB_READER, NULL), 0);
    db_number(&db, NULL, "SELECT rootpage FROM sqlite_schema WHERE name = ?", 0, &page, db_text(table));
    db_close(&db);
    free(path);
    return page;
}

static void overwrite_page(struct rig *rig, int64_t page)
{
    char *path = file_join(rig->directory, "islr.db"), garbage[4096];
    int fd = open(path, O_WRONLY);
    memset(garbage, 0xa5, sizeof garbage);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, (page - 1) * 4096), sizeof garbage);
    close(fd);
    free(path);
}

// A page of the table of log lines is overwritten: fsck says so and does not touch it; the store takes nothing in any
// more from the moment it meets the page, says what to do, and still reads the rest.
static void test_page(void **state)
{
    (void)state;
    struct rig rig;
    struct found f;
    struct error e;
    rig_open(&rig);
    uint64_t run = make_run(&rig);
    store_close(rig.store);
    rig.store = NULL;
    overwrite_page(&rig, root_page(&rig, "logs"));
    look(&rig, 0, &f);
    if (!f.result.damaged || !strstr(f.text, "restore a backup"))
        fail_msg("%s", f.text);
    look(&rig, 1, &f);
    assert_true(f.result.damaged && !f.result.repaired);
    rig_reopen(&rig);
    assert_int_equal(rig_submit(&rig, "not met yet"), 2);
    Islr__Records *records = rig_records(run, 1, 51, 3);
    struct record_add r = {.records = records};
    record_add_prepare(&r);
    rig_call(&rig, &r.op, STORE_TROUBLE);
    assert_int_equal(r.op.error.code, ERR_DAMAGED);
    assert_non_null(strstr(r.op.error.text, "islrd fsck"));
    struct run_verb v = {.kind = RUN_HOLD, .run = 2, .reason = "", .time_ms = 1};
    run_verb_prepare(&v);
    rig_call(&rig, &v.op, STORE_TROUBLE); // another table, and still not
    assert_int_equal(v.op.error.code, ERR_DAMAGED);
    assert_true(store_trouble(rig.store, &e) && e.code == ERR_DAMAGED);
    struct run_now now;
    struct store_reader *reader = store_reader_take(rig.store, &e);
    assert_int_equal(run_read_now(reader, 2, &now, &e), 0);
    struct pool pool = {0};
    struct record_page page;
    struct record_query query = {run, 0, 1, 1, 1 << 20};
    assert_int_equal(record_read(reader, &query, &pool, &page, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    pool_free(&pool);
    store_reader_give(rig.store, reader);
    rig_records_free(records);
    rig_close(&rig);
}

// The first page itself: not even the schema can be read.
static void test_no_database(void **state)
{
    (void)state;
    struct rig rig;
    struct found f;
    struct error e;
    rig_open(&rig);
    make_run(&rig);
    store_close(rig.store);
    overwrite_page(&rig, 1);
    look(&rig, 0, &f);
    assert_int_equal(f.result.damaged, 1);
    rig.store = store_open(&(struct store_options){.directory = rig.directory}, &e);
    assert_null(rig.store);
    assert_int_equal(e.code, ERR_DAMAGED);
    rig_close(&rig);
    struct fsck_options o = {.directory = "/tmp/islr-nothing", .found = on_found, .context = &f};
    assert_int_equal(fsck(&o, &f.result, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound), cmocka_unit_test(test_artifacts),  cmocka_unit_test(test_lost_checkpoint),
        cmocka_unit_test(test_rows),  cmocka_unit_test(test_soups),      cmocka_unit_test(test_index),
        cmocka_unit_test(test_page),  cmocka_unit_test(test_no_database)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
