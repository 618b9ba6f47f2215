// What users have had of the machine: see usage.h.
#include "core/store/usage.h"

#include "core/store/db.h"

static const char SQL_USAGE[] = "SELECT r.user, r.priority, a.started_ms, a.ended_ms, (SELECT count(*) FROM"
                                " attempt_ranks k WHERE k.run_id = a.run_id AND k.attempt = a.number)"
                                " FROM attempts a JOIN runs r ON r.id = a.run_id"
                                " WHERE a.ended_ms = 0 OR a.ended_ms >= ?";

int usage_read(struct store_reader *reader, int64_t since_ms, struct pool *pool, struct usage_row **rows, size_t *count,
               struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc;
    *rows = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_USAGE, db_int(since_ms));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        *rows = pool_room(pool, *rows, *count, sizeof **rows);
        (*rows)[(*count)++] = (struct usage_row){.user = pool_text(pool, (const char *)sqlite3_column_text(q, 0)),
                                                 .priority = sqlite3_column_int(q, 1),
                                                 .started_ms = sqlite3_column_int64(q, 2),
                                                 .ended_ms = sqlite3_column_int64(q, 3),
                                                 .ranks = (uint32_t)sqlite3_column_int64(q, 4)};
    }
    return rc;
}
