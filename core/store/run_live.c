// Runs that have not ended, for a server that starts: see run_read.h.
#include <string.h>

#include "core/base/memory.h"
#include "core/store/db.h"
#include "core/store/retention.h"
#include "core/store/run_read.h"
#include "core/store/run_row.h"

static const char SQL_BEGIN[] = "BEGIN";
static const char SQL_END[] = "COMMIT";
// Those of a group that is not whole are taken in with it.
static const char SQL_LIVE[] =
    "SELECT id FROM runs WHERE state <= 4 AND (grouped = 0 OR joining) AND NOT EXISTS"
    " (SELECT 1 FROM expansions x WHERE runs.id BETWEEN x.run_id AND x.run_id + x.members) ORDER BY id";
static const char SQL_REST[] = "SELECT r.user, r.name, r.after_any, r.ranks, j.spec,"
                               " (SELECT coalesce(sum(ended_ms - started_ms), 0) FROM attempts"
                               "  WHERE run_id = r.id AND number >= r.first_attempt AND ended_ms > 0),"
                               " (SELECT max(time_ms) FROM events WHERE run_id = r.id AND seq > 0 AND state = 0)"
                               " FROM runs r"
                               " JOIN jobs j ON j.id = r.job_id WHERE r.id = ?";
static const char SQL_AFTER[] = "SELECT o.id, o.state, o.grouped FROM run_after a JOIN runs o ON o.id = a.after_id"
                                " WHERE a.run_id = ? AND o.state <> 5 ORDER BY o.id";
static const char SQL_FOLDS[] = "SELECT id FROM runs WHERE parent_id = ? ORDER BY id";
static const char SQL_WORLD[] = "SELECT world, started_ms FROM attempts WHERE run_id = ? AND number = ?";
static const char SQL_GANG[] = "SELECT world_rank FROM attempt_ranks WHERE run_id = ? AND attempt = ? ORDER BY rank";

static int read_rest(struct db *db, struct run_live *r, struct pool *pool, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_REST, db_uint(r->now.run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return -1;
    r->user = pool_text(pool, (const char *)sqlite3_column_text(q, 0));
    r->name = pool_text(pool, (const char *)sqlite3_column_text(q, 1));
    r->after_any = sqlite3_column_int(q, 2);
    r->last_ranks = (uint32_t)sqlite3_column_int64(q, 3);
    r->job = (Islr__JobSpec *)pool_unpack(pool, &islr__job_spec__descriptor, sqlite3_column_blob(q, 4),
                                          (size_t)sqlite3_column_bytes(q, 4));
    r->ran_ms = sqlite3_column_double(q, 5);
    r->queued_ms = sqlite3_column_int64(q, 6);
    db_reset(q);
    return 0;
}

static int read_after(struct db *db, struct run_live *r, struct pool *pool, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_AFTER, db_uint(r->now.run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        uint64_t other = (uint64_t)sqlite3_column_int64(q, 0);
        int ended = run_state_ended((Islr__RunState)sqlite3_column_int(q, 1));
        if (ended && r->after_any)
            continue;
        if (ended)
            r->broken_after = other;
        r->after_groups |= sqlite3_column_int(q, 2) != 0;
        r->after = pool_room(pool, r->after, r->after_count, sizeof *r->after);
        r->after[r->after_count++] = other;
    }
    return rc;
}

static int read_folds(struct db *db, struct run_live *r, struct pool *pool, struct error *e)
{
    int rc;
    if (!r->now.joining)
        return 0;
    sqlite3_stmt *q = db_query(db, e, SQL_FOLDS, db_uint(r->now.run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        r->folds = pool_room(pool, r->folds, r->fold_count, sizeof *r->folds);
        r->folds[r->fold_count++] = (uint64_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

static int read_gang(struct db *db, struct run_live *r, struct pool *pool, struct error *e)
{
    if (!run_state_live(r->now.state))
        return 0;
    sqlite3_stmt *q = db_query(db, e, SQL_WORLD, db_uint(r->now.run), db_uint(r->now.attempt));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return rc < 0 ? -1
                      : error_set(e, ERR_DAMAGED, "attempt %u of run %llu is missing in the server's database",
                                  r->now.attempt, (unsigned long long)r->now.run);
    r->world = pool_text(pool, (const char *)sqlite3_column_text(q, 0));
    r->began_ms = sqlite3_column_int64(q, 1);
    db_reset(q);
    uint64_t step;
    r->resumes = retention_resume_point(db, r->now.run, &r->resume_hash, &r->resume_size, &step, e);
    if (r->resumes < 0)
        return -1;
    q = db_query(db, e, SQL_GANG, db_uint(r->now.run), db_uint(r->now.attempt));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        r->gang = pool_room(pool, r->gang, r->gang_count, sizeof *r->gang);
        r->gang[r->gang_count++] = (uint32_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

int run_read_live_list(struct store_reader *reader, uint64_t **runs, size_t *count, struct error *e)
{
    struct db *db = store_reader_db(reader);
    size_t capacity = 0;
    int rc;
    *runs = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_LIVE);
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            *runs = xrealloc(*runs, capacity, sizeof **runs);
        }
        (*runs)[(*count)++] = (uint64_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

int run_read_live(struct store_reader *reader, uint64_t run, struct pool *pool, struct run_live **out, struct error *e)
{
    struct db *db = store_reader_db(reader);
    struct run_live *r = *out = pool_alloc(pool, sizeof *r);
    if (db_run(db, e, SQL_BEGIN))
        return -1;
    int rc = run_row_load(db, run, &r->now, e) || read_rest(db, r, pool, e) || read_after(db, r, pool, e) ||
             read_folds(db, r, pool, e) || read_gang(db, r, pool, e);
    db_run(db, NULL, SQL_END);
    return rc ? -1 : 0;
}

int run_read_now(struct store_reader *reader, uint64_t run, struct run_now *out, struct error *e)
{
    return run_row_load(store_reader_db(reader), run, out, e);
}
