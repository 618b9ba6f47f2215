// A run's row: see run_row.h.
#include "core/store/run_row.h"

#include <string.h>

#include "core/store/group.h"
#include "core/store/text.h"

static const char SQL_LOAD[] =
    "SELECT state, reason, stop_why, priority, attempts, tries, max_attempts, last_seq, user,"
    " changed_ms, parent_id, grouped, joining FROM runs WHERE id = ?";
static const char SQL_CHANGE[] = "UPDATE runs SET state = ?, reason = ?, stop_why = ?, tries = ?, last_seq = ?,"
                                 " changed_ms = ?6, ended_ms = CASE WHEN ? THEN ?6 ELSE 0 END WHERE id = ?";
static const char SQL_EVENT[] = "INSERT INTO events (run_id, time_ms, state, attempt, seq, text)"
                                " VALUES (?, ?, ?, ?, ?, ?)";

int run_row_load(struct db *db, uint64_t run, struct run_now *out, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_LOAD, db_uint(run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc < 0)
        return -1;
    if (rc == 0)
        return error_set(e, ERR_NOT_FOUND, "there is no run %llu", (unsigned long long)run);
    memset(out, 0, sizeof *out);
    out->run = run;
    out->state = (Islr__RunState)sqlite3_column_int(q, 0);
    text_fit(out->reason, sizeof out->reason, (const char *)sqlite3_column_text(q, 1));
    out->stop_why = sqlite3_column_int(q, 2);
    out->priority = sqlite3_column_int(q, 3);
    out->attempt = (uint32_t)sqlite3_column_int64(q, 4);
    out->tries = (uint32_t)sqlite3_column_int64(q, 5);
    out->max_attempts = (uint32_t)sqlite3_column_int64(q, 6);
    out->last_seq = (uint64_t)sqlite3_column_int64(q, 7);
    text_fit(out->user, sizeof out->user, (const char *)sqlite3_column_text(q, 8));
    out->changed_ms = sqlite3_column_int64(q, 9);
    out->parent = (uint64_t)sqlite3_column_int64(q, 10);
    out->group = (enum run_group)sqlite3_column_int(q, 11);
    out->joining = sqlite3_column_int(q, 12);
    db_reset(q);
    return 0;
}

int64_t run_row_time(const struct run_now *row, int64_t time_ms)
{
    return time_ms > row->changed_ms ? time_ms : row->changed_ms;
}

int run_row_put(struct db *db, struct run_now *row, Islr__RunState to, const char *reason, int64_t time_ms,
                struct error *e)
{
    row->state = to;
    row->last_seq++;
    row->changed_ms = time_ms = run_row_time(row, time_ms);
    text_fit(row->reason, sizeof row->reason, reason);
    if (db_run(db, e, SQL_CHANGE, db_int(to), db_text(row->reason), db_int(row->stop_why), db_uint(row->tries),
               db_uint(row->last_seq), db_int(time_ms), db_int(run_state_ended(to)), db_uint(row->run)) ||
        db_run(db, e, SQL_EVENT, db_uint(row->run), db_int(time_ms), db_int(to), db_uint(row->attempt),
               db_uint(row->last_seq), db_text(row->reason)))
        return -1;
    if (row->group && run_state_ended(to) && group_keep_steps(db, row->run, e))
        return -1;
    return row->parent ? group_settle(db, row->parent, row, 0, time_ms, e) : 0;
}

int run_row_change(struct db *db, struct run_now *row, Islr__RunState to, const char *reason, int64_t time_ms,
                   struct error *e)
{
    if (!run_state_allowed(row->state, to))
        return error_set(e, ERR_INVALID, "run %llu is %s and cannot become %s", (unsigned long long)row->run,
                         run_state_name(row->state), run_state_name(to));
    return run_row_put(db, row, to, reason, time_ms, e);
}

int run_row_event(struct db *db, const struct run_now *row, const char *text, int64_t time_ms, struct error *e)
{
    return db_run(db, e, SQL_EVENT, db_uint(row->run), db_int(run_row_time(row, time_ms)), db_int(row->state),
                  db_uint(row->attempt), (struct db_value){.type = DB_NULL}, db_text(text));
}
