// From every older version of the database to the newest: the tables come out as in a new one, and what was in them
// stays.
#include "tests/store/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/artifact_row.h"
#include "core/store/db.h"
#include "core/store/fsck.h"
#include "core/store/schema.h"

static const char SQL_SCHEMA[] = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema"
                                 " WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
static const char SQL_VERSION[] = "PRAGMA user_version";
static const char SQL_UNNEEDED[] = "INSERT INTO artifacts (sha256, size_bytes, created_ms, touched_ms)"
                                   " VALUES (CAST('a file that no checkpoint needs.' AS BLOB), 1, 1, 1)";

static char *schema_text(struct db *db)
{
    struct strbuf text = {0};
    sqlite3_stmt *q = db_query(db, NULL, SQL_SCHEMA);
    while (db_step(db, q, NULL) > 0)
        strbuf_printf(&text, "%s\n", sqlite3_column_text(q, 0));
    return text.text;
}

static void test_from_every_version(void **state)
{
    (void)state;
    char directory[] = "/tmp/islr-migration-XXXXXX";
    struct error e;
    struct db db;
    assert_non_null(mkdtemp(directory));
    char *path = file_join(directory, "islr.db"), *wanted = NULL;
    for (int from = 0; from <= schema_version(); from++) {
        int64_t version;
        unlink(path);
        if (db_open(&db, path, DB_WRITER, &e) || schema_apply_until(&db, from, &e))
            fail_msg("%s", e.text);
        db_number(&db, &e, SQL_VERSION, -1, &version);
        assert_int_equal(version, from);
        assert_int_equal(schema_check(&db, NULL), from == schema_version() ? 0 : -1);
        if (schema_apply(&db, &e))
            fail_msg("from version %d: %s", from, e.text);
        char *text = schema_text(&db);
        if (!wanted)
            wanted = xstrdup(text);
        assert_string_equal(text, wanted);
        free(text);
        db_close(&db);
    }
    free(wanted);
    free(path);
    file_remove_tree(directory, NULL);
}

// A migration that cannot be finished leaves the version before.
static void test_broken_off(void **state)
{
    (void)state;
    char directory[] = "/tmp/islr-migration-XXXXXX";
    struct error e;
    struct db db;
    int64_t version;
    assert_non_null(mkdtemp(directory));
    char *path = file_join(directory, "islr.db");
    assert_int_equal(db_open(&db, path, DB_WRITER, &e), 0);
    assert_int_equal(db_script(&db, "CREATE TABLE tokens (a)", &e), 0); // in the way, near the end
    assert_int_equal(schema_apply(&db, &e), -1);
    assert_non_null(strstr(e.text, "to version 1"));
    db_number(&db, &e, SQL_VERSION, -1, &version);
    assert_int_equal(version, 0);
    char *text = schema_text(&db);
    assert_string_equal(text, "table tokens: CREATE TABLE tokens (a)\n");
    free(text);
    db_close(&db);
    free(path);
    file_remove_tree(directory, NULL);
}

// ---- databases as older versions wrote them -------------------------------------------------------------------------
// golden/vN.sql is a dump of a database that the program of version N wrote: see there for what is in it.

static void load(struct rig *rig, int version)
{
    struct db db;
    struct error e;
    char *script, *source = xprintf(GOLDEN_DIR "/v%d.sql", version), *path = file_join(rig->directory, "islr.db");
    size_t size;
    int64_t found;
    if (file_read(source, 1 << 20, &script, &size, &e) || db_open(&db, path, DB_WRITER, &e) ||
        db_script(&db, script, &e) || db_script(&db, SQL_UNNEEDED, &e))
        fail_msg("%s", e.text);
    db_number(&db, &e, SQL_VERSION, -1, &found);
    assert_int_equal(found, version);
    db_close(&db);
    free(script);
    free(source);
    free(path);
}

static void check_run(struct rig *rig, uint64_t run, Islr__RunState state, size_t records, size_t checkpoints,
                      size_t attempts)
{
    struct pool pool = {0};
    struct error e;
    Islr__RunDetail *d;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    if (run_read_detail(reader, run, &pool, &d, &e))
        fail_msg("%s", e.text);
    assert_int_equal(d->summary->state, state);
    assert_int_equal(d->n_checkpoints, checkpoints);
    assert_int_equal(d->n_attempts, attempts);
    store_reader_give(rig->store, reader);
    assert_int_equal(rig_read(rig, run, 0, 1 << 20, &pool).count, records);
    pool_free(&pool);
}

// What no checkpoint needed before the migration can still be collected: the file that load() has put beside the others.
static void check_collection(struct rig *rig)
{
    struct artifact_collect r = {.before_ms = 2};
    int found = 0;
    artifact_collect_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    for (size_t i = 0; i < r.count; i++)
        found += !memcmp(r.hashes[i].bytes, "a file that no checkpoint needs.", sizeof r.hashes[i].bytes);
    assert_int_equal(found, 1);
    free(r.hashes);
}

static void on_found(void *context, enum fsck_kind kind, const char *sentence)
{
    size_t *damaged = context;
    if (kind == FSCK_DAMAGE && !strstr(sentence, "is missing: its file is gone")) // the rows alone were kept
        print_message("%s\n", sentence), ++*damaged;
}

static void test_golden(void **state)
{
    (void)state;
    for (int version = 1; version < schema_version(); version++) {
        struct rig rig = {.directory = "/tmp/islr-golden-XXXXXX"};
        size_t damaged = 0;
        struct fsck_options o = {.directory = rig.directory, .found = on_found, .context = &damaged};
        struct fsck_result result;
        assert_non_null(mkdtemp(rig.directory));
        load(&rig, version);
        rig_reopen(&rig);
        check_run(&rig, 1, ISLR__RUN_STATE__RUN_SUCCEEDED, 1 + 2 + 30 + 1 + 2 + 7 + 1, 1, 2);
        check_run(&rig, 2, ISLR__RUN_STATE__RUN_RUNNING, 1 + 2 + 12, 1, 1);
        check_run(&rig, 3, ISLR__RUN_STATE__RUN_CANCELLED, 2, 0, 0);
        check_run(&rig, 4, ISLR__RUN_STATE__RUN_QUEUED, 1, 0, 0);
        check_collection(&rig);
        assert_int_equal(rig_submit(&rig, "fifth"), 5); // and it goes on where it was
        rig_add_records(&rig, 2, 1, 13, 5);
        rig_end(&rig, 2, 1, ATTEMPT_LOST, 1);
        assert_int_equal(rig_start(&rig, 2, 1), 2);
        assert_int_equal(fsck(&o, &result, NULL), 0);
        assert_int_equal(damaged, 0);
        rig_close(&rig);
    }
}

static void test_newer(void **state)
{
    (void)state;
    struct rig rig;
    struct db db;
    struct error e;
    rig_open(&rig);
    char *path = file_join(rig.directory, "islr.db");
    assert_int_equal(db_open(&db, path, DB_WRITER, &e), 0);
    assert_int_equal(db_script(&db, "PRAGMA user_version=1000", &e), 0);
    db_close(&db);
    store_close(rig.store);
    rig.store = store_open(&(struct store_options){.directory = rig.directory}, &e);
    assert_null(rig.store);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "newer islrd"));
    free(path);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_from_every_version), cmocka_unit_test(test_broken_off),
                                       cmocka_unit_test(test_golden), cmocka_unit_test(test_newer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
