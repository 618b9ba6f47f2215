// Which checkpoints stay: see retention.h.
#include "core/store/retention.h"

#include <string.h>

static const char SQL_NEWEST[] =
    "SELECT a.sha256, a.size_bytes, c.step FROM checkpoints c"
    " JOIN artifacts a ON a.id = c.artifact_id"
    " WHERE c.run_id = ? AND c.what = 'resume' AND a.lost_ms = 0"
    " AND NOT EXISTS (SELECT 1 FROM checkpoints l JOIN artifacts la ON la.id = l.artifact_id"
    "  WHERE l.run_id = c.run_id AND l.epoch > 0 AND l.step <= c.step AND la.lost_ms > 0)"
    " ORDER BY c.id DESC LIMIT 1";
static const char SQL_RELEASE[] = "UPDATE artifacts SET touched_ms = 0 WHERE id IN (SELECT artifact_id FROM checkpoints"
                                  " WHERE run_id = ? AND what = 'resume' AND NOT pinned"
                                  " ORDER BY id DESC LIMIT -1 OFFSET ?)";
static const char SQL_DROP[] = "DELETE FROM checkpoints WHERE id IN (SELECT id FROM checkpoints"
                               " WHERE run_id = ? AND what = 'resume' AND NOT pinned"
                               " ORDER BY id DESC LIMIT -1 OFFSET ?)";

int retention_resume_point(struct db *db, uint64_t run, struct hash *hash, uint64_t *size, uint64_t *step,
                           struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_NEWEST, db_uint(run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return rc;
    int whole = sqlite3_column_bytes(q, 0) == (int)sizeof hash->bytes;
    if (whole)
        memcpy(hash->bytes, sqlite3_column_blob(q, 0), sizeof hash->bytes);
    *size = (uint64_t)sqlite3_column_int64(q, 1);
    *step = (uint64_t)sqlite3_column_int64(q, 2);
    db_reset(q);
    return whole ? 1 : error_set(e, ERR_DAMAGED, "the hash of a resume point in the database is damaged");
}

int retention_keep_resume(struct db *db, uint64_t run, int keep, struct error *e)
{
    if (db_run(db, e, SQL_RELEASE, db_uint(run), db_int(keep)))
        return -1;
    return db_run(db, e, SQL_DROP, db_uint(run), db_int(keep));
}
