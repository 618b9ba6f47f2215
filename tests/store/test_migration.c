// From every older version of the database to the newest: the tables come out as in a new one, and what was in them
// stays.
#include "tests/store/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/db.h"
#include "core/store/schema.h"

static const char SQL_SCHEMA[] = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema"
                                 " WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
static const char SQL_VERSION[] = "PRAGMA user_version";

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_from_every_version), cmocka_unit_test(test_broken_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
