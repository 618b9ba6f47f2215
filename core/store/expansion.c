// Members of large groups, made after the group was acknowledged: see expansion.h and run.h.
#include "core/store/expansion.h"

#include <string.h>

#include "core/store/pool.h"
#include "core/store/run_read.h"

static const char SQL_ADD[] = "INSERT INTO expansions (run_id, members, recipe) VALUES (?, ?, ?)";
// AUTOINCREMENT gives no number up to this one again, whether a row has it or not.
static const char SQL_NUMBERS[] = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'runs'";
static const char SQL_COVERS[] = "SELECT run_id FROM expansions WHERE ? BETWEEN run_id AND run_id + members";
static const char SQL_FIND[] = "SELECT members, made FROM expansions WHERE run_id = ?";
static const char SQL_MADE[] = "UPDATE expansions SET made = ? WHERE run_id = ?";
static const char SQL_END[] = "DELETE FROM expansions WHERE run_id = ?";
static const char SQL_LIST[] = "SELECT x.run_id, r.user, r.submitted_ms, x.members, x.made, x.recipe"
                               " FROM expansions x JOIN runs r ON r.id = x.run_id ORDER BY x.run_id";

int expansion_add(struct db *db, const struct run_submit *r, struct error *e)
{
    return db_run(db, e, SQL_NUMBERS, db_uint(r->now.run + r->member_count)) ||
                   db_run(db, e, SQL_ADD, db_uint(r->now.run), db_uint(r->member_count),
                          db_blob(r->recipe, r->recipe_size))
               ? -1
               : 0;
}

int expansion_check(struct db *db, uint64_t run, struct error *e)
{
    int64_t group;
    if (db_number(db, e, SQL_COVERS, 0, &group, db_uint(run)))
        return -1;
    if (!group)
        return 0;
    return error_set(e, ERR_FAILED,
                     "the runs of the group %lld are still being made, which waits for the server's disk: try again",
                     (long long)group);
}

// The members that the group is to have and has; 0 and 0: all are there.
static int find(struct db *db, uint64_t group, size_t *members, size_t *made, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_FIND, db_uint(group));
    int rc = q ? db_step(db, q, e) : -1;
    *members = *made = 0;
    if (rc <= 0)
        return rc;
    *members = (size_t)sqlite3_column_int64(q, 0);
    *made = (size_t)sqlite3_column_int64(q, 1);
    db_reset(q);
    return 0;
}

static int apply(struct db *db, struct store_op *op, struct error *e)
{
    struct run_expand *r = (struct run_expand *)op;
    uint64_t group = r->of->now.run;
    size_t members, made, end = r->first + r->of->member_count;
    if (find(db, group, &members, &made, e))
        return -1;
    r->made = end;
    if (!members || made >= end)
        return 0;
    if (made != r->first || end > members)
        return error_set(e, ERR_DAMAGED, "%zu of %zu runs of the group %llu are there, these would be %zu to %zu", made,
                         members, (unsigned long long)group, r->first + 1, end);
    if (run_submit_members(db, r->of, r->first, e))
        return -1;
    return end == members ? db_run(db, e, SQL_END, db_uint(group))
                          : db_run(db, e, SQL_MADE, db_uint(end), db_uint(group));
}

void run_expand_prepare(struct run_expand *r)
{
    r->op.apply = apply;
}

int run_read_expansions(struct store_reader *reader, struct pool *pool, struct run_expansion **out, size_t *count,
                        struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc;
    *out = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_LIST);
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        size_t size = (size_t)sqlite3_column_bytes(q, 5);
        *out = pool_room(pool, *out, *count, sizeof **out);
        (*out)[(*count)++] = (struct run_expansion){.run = (uint64_t)sqlite3_column_int64(q, 0),
                                                    .user = pool_text(pool, (const char *)sqlite3_column_text(q, 1)),
                                                    .submitted_ms = sqlite3_column_int64(q, 2),
                                                    .members = (size_t)sqlite3_column_int64(q, 3),
                                                    .made = (size_t)sqlite3_column_int64(q, 4),
                                                    .recipe = pool_copy(pool, sqlite3_column_blob(q, 5), size),
                                                    .recipe_size = size};
    }
    return rc;
}
