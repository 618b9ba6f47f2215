// SQLite connections: see db.h.
#include "core/store/db.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum {
    BUSY_MS = 10000,         // only a backup or a person's sqlite3 shell ever holds the lock
    APPLICATION = 0x49534C52 // "ISLR", in the file's header
};

// wal_autocheckpoint keeps the log near 4 MB; journal_size_limit gives back what a burst took.
static const char SQL_WRITER[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                 "PRAGMA wal_autocheckpoint=1000; PRAGMA journal_size_limit=67108864;"
                                 "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=OFF";
static const char SQL_READER[] = "PRAGMA query_only=ON; PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY";
static const char SQL_APPLICATION[] = "PRAGMA application_id";
static const char SQL_SET_APPLICATION[] = "PRAGMA application_id=0x49534C52";
static const char SQL_EMPTY[] = "SELECT count(*) FROM sqlite_schema";

// ---- errors ---------------------------------------------------------------------------------------------------------

int db_fault(struct db *db, const char *doing, struct error *e)
{
    int code = sqlite3_errcode(db->sqlite) & 0xff;
    const char *text = sqlite3_errmsg(db->sqlite);
    db->trouble = 1;
    switch (code) {
    case SQLITE_FULL:
        return error_set(e, ERR_FAILED, "%s: the disk with the server's directory is full; free some space there",
                         doing);
    case SQLITE_READONLY:
        return error_set(e, ERR_FAILED, "%s: the server's database cannot be written (%s); is its disk read-only?",
                         doing, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(e, ERR_DAMAGED,
                         "%s: the server's database is damaged (%s); stop the server, look with `islrd fsck`, restore "
                         "a backup (`islrd backup --help` says how)",
                         doing, text);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return error_set(e, ERR_FAILED, "%s: the server's database cannot be used now (%s)", doing, text);
    default:
        db->trouble = 0;
        return error_set(e, ERR_FAILED, "%s: %s", doing, text);
    }
}

// ---- opening --------------------------------------------------------------------------------------------------------

static int check_application(struct db *db, const char *path, enum db_mode mode, struct error *e)
{
    int64_t id, tables;
    if (db_number(db, e, SQL_APPLICATION, 0, &id) || db_number(db, e, SQL_EMPTY, 0, &tables))
        return -1;
    if (id == APPLICATION)
        return 0;
    if (id != 0 || tables != 0 || mode != DB_WRITER)
        return error_set(e, ERR_INVALID, "%s is another program's database", path);
    return db_script(db, SQL_SET_APPLICATION, e);
}

int db_open(struct db *db, const char *path, enum db_mode mode, struct error *e)
{
    memset(db, 0, sizeof *db);
    // A reader opens the file for writing too: in WAL mode it takes part in the shared index; query_only holds it back.
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == DB_WRITER ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK) {
        if (!db->sqlite)
            return error_set(e, ERR_FAILED, "cannot open %s: out of memory", path);
        db_fault(db, path, e);
        db_close(db);
        return -1;
    }
    sqlite3_extended_result_codes(db->sqlite, 1);
    sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    if (check_application(db, path, mode, e) || db_script(db, mode == DB_WRITER ? SQL_WRITER : SQL_READER, e)) {
        error_prefix(e, "cannot open %s", path);
        db_close(db);
        return -1;
    }
    return 0;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < db->capacity; i++)
        sqlite3_finalize(db->statements[i].compiled);
    free(db->statements);
    sqlite3_close_v2(db->sqlite);
    memset(db, 0, sizeof *db);
}

int db_script(struct db *db, const char *sql, struct error *e)
{
    if (sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return db_fault(db, "the database refused", e);
}

// ---- statements -----------------------------------------------------------------------------------------------------

static size_t slot_of(const struct db_statement *table, size_t capacity, const char *sql)
{
    size_t i = ((uintptr_t)sql >> 3) * 0x9E3779B97F4A7C15u >> 20 & (capacity - 1);
    while (table[i].sql && table[i].sql != sql)
        i = (i + 1) & (capacity - 1);
    return i;
}

static void grow(struct db *db)
{
    size_t capacity = db->capacity ? 2 * db->capacity : 64;
    struct db_statement *table = xcalloc(capacity, sizeof *table);
    for (size_t i = 0; i < db->capacity; i++)
        if (db->statements[i].sql)
            table[slot_of(table, capacity, db->statements[i].sql)] = db->statements[i];
    free(db->statements);
    db->statements = table;
    db->capacity = capacity;
}

static int bind(struct db *db, sqlite3_stmt *s, const struct db_value *values, size_t count, struct error *e)
{
    if ((size_t)sqlite3_bind_parameter_count(s) != count)
        return error_set(e, ERR_FAILED, "%zu values for a statement of %d parameters: %s", count,
                         sqlite3_bind_parameter_count(s), sqlite3_sql(s));
    for (size_t i = 0; i < count; i++) {
        const struct db_value *v = &values[i];
        int at = (int)i + 1, rc = SQLITE_OK;
        switch (v->type) {
        case DB_NULL:
            rc = sqlite3_bind_null(s, at);
            break;
        case DB_INT:
            rc = sqlite3_bind_int64(s, at, v->integer);
            break;
        case DB_REAL:
            rc = sqlite3_bind_double(s, at, v->real);
            break;
        case DB_TEXT:
            rc = sqlite3_bind_text64(s, at, v->data, v->size, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case DB_BLOB:
            rc =
                v->size ? sqlite3_bind_blob64(s, at, v->data, v->size, SQLITE_STATIC) : sqlite3_bind_zeroblob(s, at, 0);
            break;
        }
        if (rc != SQLITE_OK)
            return db_fault(db, "binding a value", e);
    }
    return 0;
}

sqlite3_stmt *db_compile(struct db *db, const char *sql, const struct db_value *values, size_t count, struct error *e)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v3(db->sqlite, sql, -1, 0, &s, NULL) != SQLITE_OK) {
        db_fault(db, "compiling a statement", e);
        return NULL;
    }
    if (!bind(db, s, values, count, e))
        return s;
    sqlite3_finalize(s);
    return NULL;
}

sqlite3_stmt *db_query_values(struct db *db, const char *sql, const struct db_value *values, size_t count,
                              struct error *e)
{
    db->trouble = 0;
    if (4 * (db->count + 1) > 3 * db->capacity)
        grow(db);
    struct db_statement *slot = &db->statements[slot_of(db->statements, db->capacity, sql)];
    if (!slot->sql) {
        sqlite3_stmt *s = NULL;
        if (sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
            db_fault(db, "compiling a statement", e);
            return NULL;
        }
        slot->sql = sql;
        slot->compiled = s;
        db->count++;
    }
    db_reset(slot->compiled);
    return bind(db, slot->compiled, values, count, e) ? NULL : slot->compiled;
}

int db_step(struct db *db, sqlite3_stmt *statement, struct error *e)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return 1;
    int failed = rc == SQLITE_DONE ? 0 : db_fault(db, "the database", e);
    db_reset(statement);
    return failed;
}

void db_reset(sqlite3_stmt *statement)
{
    if (!statement)
        return;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

int db_run_values(struct db *db, const char *sql, const struct db_value *values, size_t count, struct error *e)
{
    sqlite3_stmt *s = db_query_values(db, sql, values, count, e);
    if (!s)
        return -1;
    int rc = db_step(db, s, e);
    if (rc > 0)
        db_reset(s);
    return rc < 0 ? -1 : 0;
}

int db_number_values(struct db *db, const char *sql, int64_t missing, int64_t *out, const struct db_value *values,
                     size_t count, struct error *e)
{
    sqlite3_stmt *s = db_query_values(db, sql, values, count, e);
    int rc = s ? db_step(db, s, e) : -1;
    *out = missing;
    if (rc > 0) {
        if (sqlite3_column_type(s, 0) != SQLITE_NULL)
            *out = sqlite3_column_int64(s, 0);
        db_reset(s);
    }
    return rc < 0 ? -1 : 0;
}

int64_t db_changes(const struct db *db)
{
    return sqlite3_changes64(db->sqlite);
}

int64_t db_last_id(const struct db *db)
{
    return sqlite3_last_insert_rowid(db->sqlite);
}

// ---- values ---------------------------------------------------------------------------------------------------------

struct db_value db_int(int64_t value)
{
    return (struct db_value){.type = DB_INT, .integer = value};
}

struct db_value db_uint(uint64_t value)
{
    return db_int(value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

struct db_value db_real(double value)
{
    return isnan(value) ? (struct db_value){.type = DB_NULL} : (struct db_value){.type = DB_REAL, .real = value};
}

struct db_value db_text(const char *text)
{
    return text ? (struct db_value){.type = DB_TEXT, .data = text, .size = strlen(text)}
                : (struct db_value){.type = DB_NULL};
}

struct db_value db_blob(const void *data, size_t size)
{
    return (struct db_value){.type = DB_BLOB, .data = data, .size = size};
}

char *db_column_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return xstrdup(text ? text : "");
}

uint8_t *db_column_blob(sqlite3_stmt *statement, int column, size_t *size)
{
    const void *data = sqlite3_column_blob(statement, column);
    *size = data ? (size_t)sqlite3_column_bytes(statement, column) : 0;
    return *size ? memcpy(xmalloc(*size), data, *size) : NULL;
}
