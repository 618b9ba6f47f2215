// One SQLite connection: opened with the settings that everything here relies on, statements prepared once each, errors
// as sentences. Private to core/store, the only room that knows sqlite3.h. A connection is used by one thread at a
// time.
#ifndef ISLR_STORE_DB_H
#define ISLR_STORE_DB_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "core/base/error.h"

struct db_statement {
    const char *sql; // the constant's address is the key
    sqlite3_stmt *compiled;
};

struct db {
    sqlite3 *sqlite;
    struct db_statement *statements; // open addressing by `sql`, a power of two
    size_t capacity, count;
    int trouble; // the last error was the disk's or the file's, not the statement's: see db_fault()
};

enum db_mode {
    DB_WRITER, // creates the file if need be
    DB_READER  // query_only
};

// WAL, synchronous=FULL, foreign keys on, a busy timeout. -1: the file cannot be opened, is no database (ERR_DAMAGED)
// or is none of ours.
int db_open(struct db *db, const char *path, enum db_mode mode, struct error *e);
void db_close(struct db *db); // also of a zeroed one

// What to bind to a statement's parameters.
struct db_value {
    enum { DB_NULL, DB_INT, DB_REAL, DB_TEXT, DB_BLOB } type;
    int64_t integer;
    double real;
    const void *data; // lives until the statement is reset
    size_t size;
};
struct db_value db_int(int64_t value);
struct db_value db_uint(uint64_t value);   // at most INT64_MAX: what the store numbers is far below
struct db_value db_real(double value);     // SQLite has no NaN: it becomes NULL
struct db_value db_text(const char *text); // NULL: NULL
struct db_value db_blob(const void *data, size_t size);

// The statement for a constant SQL text, compiled at its first use by this connection, reset, with all parameters
// bound. Step it with db_step() to the end (which resets it) or db_reset() it. NULL with an error.
sqlite3_stmt *db_query_values(struct db *db, const char *sql, const struct db_value *values, size_t count,
                              struct error *e);
// The same for SQL that was put together: compiled anew, to be finalised by the caller.
sqlite3_stmt *db_compile(struct db *db, const char *sql, const struct db_value *values, size_t count, struct error *e);
// 1: a row is there; 0: no more (and reset); -1: error (and reset).
int db_step(struct db *db, sqlite3_stmt *statement, struct error *e);
void db_reset(sqlite3_stmt *statement);
// A statement without rows. db_changes(): rows that the last one wrote.
int db_run_values(struct db *db, const char *sql, const struct db_value *values, size_t count, struct error *e);
int64_t db_changes(const struct db *db);
int64_t db_last_id(const struct db *db);
// One whole number; `missing` where there is no row or it is NULL. -1: error.
int db_number_values(struct db *db, const char *sql, int64_t missing, int64_t *out, const struct db_value *values,
                     size_t count, struct error *e);

#define DB_VALUES(...)                                                                                                 \
    (const struct db_value[]){__VA_ARGS__}, sizeof((struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)
#define db_query(db, e, sql, ...)                db_query_values(db, sql, DB_VALUES(__VA_ARGS__), e)
#define db_run(db, e, sql, ...)                  db_run_values(db, sql, DB_VALUES(__VA_ARGS__), e)
#define db_number(db, e, sql, missing, out, ...) db_number_values(db, sql, missing, out, DB_VALUES(__VA_ARGS__), e)

// Several statements without parameters and rows (schema, pragmas).
int db_script(struct db *db, const char *sql, struct error *e);

// The error of the last failed call: ERR_DAMAGED for a damaged database, ERR_FAILED with what to do for a full or
// read-only disk; db->trouble says that it is of that kind (the same request may succeed later). Always returns -1.
int db_fault(struct db *db, const char *doing, struct error *e);

// Columns of the row at hand. Texts and blobs are copies to free(); NULL columns: "" and an empty blob (NULL, 0).
char *db_column_text(sqlite3_stmt *statement, int column);
uint8_t *db_column_blob(sqlite3_stmt *statement, int column, size_t *size);

#endif
