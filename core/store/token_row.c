// Tokens in the database: see token_row.h.
#include "core/store/token_row.h"

#include <string.h>

#include "core/store/db.h"
#include "core/store/text.h"

static const char SQL_CREATE[] =
    "INSERT INTO tokens (user, role, secret, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?)";
static const char SQL_REVOKE[] = "UPDATE tokens SET revoked_ms = ? WHERE id = ? AND revoked_ms = 0";
static const char SQL_KNOWN[] = "SELECT id FROM tokens WHERE id = ?";
static const char SQL_LIST[] = "SELECT id, user, role, secret, created_ms, expires_ms, revoked_ms FROM tokens"
                               " WHERE id > ? AND (revoked_ms = 0 OR ?) ORDER BY id";
static const char SQL_EVENT[] = "INSERT INTO events (time_ms, text) VALUES (?, ?)";

static int apply_create(struct db *db, struct store_op *op, struct error *e)
{
    struct token_create *r = (struct token_create *)op;
    if (db_run(db, e, SQL_CREATE, db_text(r->row.user), db_text(r->row.role),
               db_blob(r->row.secret.bytes, sizeof r->row.secret.bytes), db_int(r->row.created_ms),
               db_int(r->row.expires_ms)))
        return -1;
    r->row.id = (uint64_t)db_last_id(db);
    return db_run(db, e, SQL_EVENT, db_int(r->row.created_ms), db_text(r->event));
}

void token_create_prepare(struct token_create *r)
{
    r->op.apply = apply_create;
}

static int apply_revoke(struct db *db, struct store_op *op, struct error *e)
{
    struct token_revoke *r = (struct token_revoke *)op;
    int64_t known;
    for (size_t i = 0; i < r->count; i++) {
        if (db_number(db, e, SQL_KNOWN, 0, &known, db_uint(r->ids[i])))
            return -1;
        if (!known)
            return error_set(e, ERR_NOT_FOUND, "there is no token %llu", (unsigned long long)r->ids[i]);
        if (db_run(db, e, SQL_REVOKE, db_int(r->time_ms), db_uint(r->ids[i])))
            return -1;
    }
    return db_run(db, e, SQL_EVENT, db_int(r->time_ms), db_text(r->event));
}

void token_revoke_prepare(struct token_revoke *r)
{
    r->op.apply = apply_revoke;
}

static int read_row(sqlite3_stmt *q, struct token_row *row, struct error *e)
{
    row->id = (uint64_t)sqlite3_column_int64(q, 0);
    text_fit(row->user, sizeof row->user, (const char *)sqlite3_column_text(q, 1));
    text_fit(row->role, sizeof row->role, (const char *)sqlite3_column_text(q, 2));
    if (sqlite3_column_bytes(q, 3) != (int)sizeof row->secret.bytes)
        return error_set(e, ERR_DAMAGED, "token %llu has no SHA-256 in the database", (unsigned long long)row->id);
    memcpy(row->secret.bytes, sqlite3_column_blob(q, 3), sizeof row->secret.bytes);
    row->created_ms = sqlite3_column_int64(q, 4);
    row->expires_ms = sqlite3_column_int64(q, 5);
    row->revoked_ms = sqlite3_column_int64(q, 6);
    return 0;
}

int token_list(struct store_reader *reader, int all, uint64_t after, size_t most, struct pool *pool,
               struct token_row **out, size_t *count, struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc = 0;
    *out = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_LIST, db_uint(after), db_int(all != 0));
    if (!q)
        return -1;
    while (*count < most && (rc = db_step(db, q, e)) > 0) {
        *out = pool_room(pool, *out, *count, sizeof **out);
        if (read_row(q, &(*out)[*count], e)) {
            rc = -1;
            break;
        }
        ++*count;
    }
    db_reset(q);
    return rc < 0 ? -1 : 0;
}
