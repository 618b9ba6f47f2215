// The database's side of artifacts: see artifact_row.h.
#include "core/store/artifact_row.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/db.h"

static const char SQL_ADD[] =
    "INSERT INTO artifacts (sha256, size_bytes, created_ms, touched_ms) VALUES (?1, ?2, ?3, ?3)"
    " ON CONFLICT (sha256) DO UPDATE SET touched_ms = excluded.touched_ms, lost_ms = 0";
static const char SQL_BROUGHT[] = "INSERT OR IGNORE INTO uploads (run_id, artifact_id)"
                                  " SELECT ?, id FROM artifacts WHERE sha256 = ?";
static const char SQL_OF_RUN[] =
    "SELECT id FROM artifacts a WHERE sha256 = ?1 AND lost_ms = 0 AND (?2 = 0"
    " OR EXISTS (SELECT 1 FROM uploads u WHERE u.artifact_id = a.id AND u.run_id = ?2)"
    " OR EXISTS (SELECT 1 FROM checkpoints c WHERE c.artifact_id = a.id AND c.run_id = ?2))";
static const char SQL_NAMED[] = "DELETE FROM uploads WHERE artifact_id = ? AND run_id = ?";
static const char SQL_TOUCH[] = "UPDATE artifacts SET touched_ms = ? WHERE id = ? RETURNING size_bytes";
static const char SQL_LOST[] = "UPDATE artifacts SET lost_ms = ? WHERE sha256 = ? AND lost_ms = 0";
static const char SQL_FIND[] = "SELECT size_bytes, lost_ms <> 0 FROM artifacts WHERE sha256 = ?";
static const char SQL_TOTAL[] = "SELECT sum(size_bytes) FROM artifacts WHERE lost_ms = 0";
static const char SQL_FASTEN[] =
    "DELETE FROM loose WHERE EXISTS (SELECT 1 FROM checkpoints c WHERE c.artifact_id = loose.artifact_id)";
static const char SQL_COLLECT[] = "DELETE FROM artifacts WHERE id IN (SELECT artifact_id FROM loose) AND touched_ms < ?"
                                  " RETURNING sha256, size_bytes";

static struct db_value hash_value(const struct hash *h)
{
    return db_blob(h->bytes, sizeof h->bytes);
}

static int apply_add(struct db *db, struct store_op *op, struct error *e)
{
    struct artifact_add *r = (struct artifact_add *)op;
    if (db_run(db, e, SQL_ADD, hash_value(&r->hash), db_uint(r->size), db_int(r->time_ms)))
        return -1;
    return r->run ? db_run(db, e, SQL_BROUGHT, db_uint(r->run), hash_value(&r->hash)) : 0;
}

void artifact_add_prepare(struct artifact_add *r)
{
    r->op.apply = apply_add;
}

int artifact_of_run(struct db *db, const struct hash *hash, uint64_t run, int64_t *id, struct error *e)
{
    return db_number(db, e, SQL_OF_RUN, 0, id, hash_value(hash), db_uint(run));
}

int artifact_named(struct db *db, uint64_t run, int64_t id, struct error *e)
{
    return db_run(db, e, SQL_NAMED, db_int(id), db_uint(run));
}

static int apply_touch(struct db *db, struct store_op *op, struct error *e)
{
    struct artifact_touch *r = (struct artifact_touch *)op;
    int64_t id, size;
    if (artifact_of_run(db, &r->hash, r->run, &id, e) ||
        db_number(db, e, SQL_TOUCH, -1, &size, db_int(r->time_ms), db_int(id)))
        return -1;
    r->exists = size >= 0;
    r->size = size >= 0 ? (uint64_t)size : 0;
    return 0;
}

void artifact_touch_prepare(struct artifact_touch *r)
{
    r->op.apply = apply_touch;
}

static int apply_lost(struct db *db, struct store_op *op, struct error *e)
{
    struct artifact_lost *r = (struct artifact_lost *)op;
    if (db_run(db, e, SQL_LOST, db_int(r->time_ms), hash_value(&r->hash)))
        return -1;
    return db_changes(db) ? 0 : error_set(e, ERR_NOT_FOUND, "there is no such artifact");
}

void artifact_lost_prepare(struct artifact_lost *r)
{
    r->op.apply = apply_lost;
}

static int apply_collect(struct db *db, struct store_op *op, struct error *e)
{
    struct artifact_collect *r = (struct artifact_collect *)op;
    int rc;
    r->count = 0;
    r->bytes = 0;
    if (db_run(db, e, SQL_FASTEN))
        return -1;
    sqlite3_stmt *q = db_query(db, e, SQL_COLLECT, db_int(r->before_ms));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        if (sqlite3_column_bytes(q, 0) != (int)sizeof r->hashes->bytes)
            continue;
        r->hashes = xrealloc(r->hashes, r->count + 1, sizeof *r->hashes);
        memcpy(r->hashes[r->count++].bytes, sqlite3_column_blob(q, 0), sizeof r->hashes->bytes);
        r->bytes += (uint64_t)sqlite3_column_int64(q, 1);
    }
    return rc;
}

void artifact_collect_prepare(struct artifact_collect *r)
{
    r->op.apply = apply_collect;
    r->hashes = NULL;
    r->count = 0;
}

int artifact_find(struct store_reader *reader, const struct hash *hash, uint64_t *size, int *lost, struct error *e)
{
    struct db *db = store_reader_db(reader);
    sqlite3_stmt *q = db_query(db, e, SQL_FIND, hash_value(hash));
    int found = q ? db_step(db, q, e) : -1;
    *size = 0;
    *lost = 0;
    if (found > 0) {
        *size = (uint64_t)sqlite3_column_int64(q, 0);
        *lost = sqlite3_column_int(q, 1);
        db_reset(q);
    }
    return found;
}

int artifact_total(struct store_reader *reader, uint64_t *bytes, struct error *e)
{
    int64_t total;
    if (db_number(store_reader_db(reader), e, SQL_TOTAL, 0, &total))
        return -1;
    *bytes = (uint64_t)total;
    return 0;
}
