// Attempts: their start, their ranks, their end. See run.h and attempt.h.
#include "core/store/attempt.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/record.h"
#include "core/store/retention.h"
#include "core/store/run_row.h"

static const char SQL_START[] = "INSERT INTO attempts (run_id, number, world, started_ms, resumed_from_step)"
                                " VALUES (?, ?, ?, ?, ?)";
static const char SQL_RANK[] = "INSERT INTO attempt_ranks (run_id, attempt, rank, world_rank, host, pid, device)"
                               " VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char SQL_RUN[] = "UPDATE runs SET attempts = ?, ranks = ?, stop_why = -1,"
                              " started_ms = CASE started_ms WHEN 0 THEN ? ELSE started_ms END WHERE id = ?";
static const char SQL_SPEC[] = "SELECT j.spec FROM runs r JOIN jobs j ON j.id = r.job_id WHERE r.id = ?";
static const char SQL_FOLDS[] = "SELECT id FROM runs WHERE parent_id = ? ORDER BY id";
static const char SQL_END[] = "UPDATE attempts SET ended_ms = ?, outcome = ?, reason = ?"
                              " WHERE run_id = ? AND number = ? AND ended_ms = 0";
static const char SQL_EXISTS[] = "SELECT ended_ms = 0 FROM attempts WHERE run_id = ? AND number = ?";
static const char SQL_STEPS[] = "UPDATE runs SET steps = ? WHERE id = ?";

// ---- start ----------------------------------------------------------------------------------------------------------

static int add_attempt(struct db *db, const struct run_start *r, struct error *e)
{
    uint64_t run = r->run;
    uint32_t number = r->now.attempt;
    int64_t time_ms = r->now.changed_ms;
    if (db_run(db, e, SQL_RUN, db_uint(number), db_uint(r->rank_count), db_int(time_ms), db_uint(run)) ||
        db_run(db, e, SQL_START, db_uint(run), db_uint(number), db_text(r->world), db_int(time_ms),
               db_uint(r->resume_step)))
        return -1;
    for (size_t i = 0; i < r->rank_count; i++) {
        const struct run_rank *k = &r->ranks[i];
        if (db_run(db, e, SQL_RANK, db_uint(run), db_uint(number), db_uint(i), db_uint(k->world_rank), db_text(k->host),
                   db_uint(k->pid), db_text(k->device)))
            return -1;
    }
    return 0;
}

static int load_spec(struct db *db, struct run_start *r, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_SPEC, db_uint(r->run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc > 0) {
        free(r->spec); // of a transaction that was lost
        r->spec = db_column_blob(q, 0, &r->spec_size);
        db_reset(q);
    }
    return rc < 0 ? -1 : 0;
}

static int load_folds(struct db *db, struct run_start *r, struct error *e)
{
    int rc;
    r->fold_count = 0; // of a transaction that was lost
    if (!r->now.joining)
        return 0;
    sqlite3_stmt *q = db_query(db, e, SQL_FOLDS, db_uint(r->run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        r->folds = xrealloc(r->folds, r->fold_count + 1, sizeof *r->folds);
        r->folds[r->fold_count++] = (uint64_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

static int apply_start(struct db *db, struct store_op *op, struct error *e)
{
    struct run_start *r = (struct run_start *)op;
    if (run_row_load(db, r->run, &r->now, e))
        return -1;
    r->resumes = retention_resume_point(db, r->run, &r->resume_hash, &r->resume_size, &r->resume_step, e);
    if (r->resumes < 0 || load_spec(db, r, e) || load_folds(db, r, e))
        return -1;
    r->now.attempt++;
    r->now.stop_why = STOP_NOBODY;
    if (run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_STARTING, "", r->time_ms, e))
        return -1;
    return add_attempt(db, r, e);
}

void run_start_prepare(struct run_start *r)
{
    r->op.apply = apply_start;
    r->spec = NULL;
    r->folds = NULL;
    r->fold_count = 0;
    r->resumes = 0;
    r->resume_step = 0;
}

static int apply_began(struct db *db, struct store_op *op, struct error *e)
{
    struct run_began *r = (struct run_began *)op;
    if (run_row_load(db, r->run, &r->now, e))
        return -1;
    if (r->now.attempt != r->attempt || r->now.state != ISLR__RUN_STATE__RUN_STARTING)
        return 0;
    return run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_RUNNING, "", r->time_ms, e);
}

void run_began_prepare(struct run_began *r)
{
    r->op.apply = apply_began;
}

// ---- end ------------------------------------------------------------------------------------------------------------

int attempt_close(struct db *db, struct run_now *row, enum attempt_outcome outcome, int retryable, const char *reason,
                  int64_t time_ms, struct error *e)
{
    const char *stop_reason = row->state == ISLR__RUN_STATE__RUN_STOPPING ? row->reason : NULL;
    struct attempt_verdict next = run_state_after_attempt(&(struct attempt_end){.outcome = outcome,
                                                                                .retryable = retryable,
                                                                                .reason = reason,
                                                                                .stop_why = row->stop_why,
                                                                                .stop_reason = stop_reason,
                                                                                .tries = row->tries,
                                                                                .max_attempts = row->max_attempts});
    if (db_run(db, e, SQL_END, db_int(run_row_time(row, time_ms)), db_text(attempt_outcome_name(outcome)),
               db_text(reason), db_uint(row->run), db_uint(row->attempt)))
        return -1;
    row->tries += next.counts != 0;
    row->stop_why = STOP_NOBODY;
    if (run_row_change(db, row, next.state, next.reason, time_ms, e) || record_compact(db, row->run, e))
        return -1;
    if (next.state == ISLR__RUN_STATE__RUN_SUCCEEDED)
        return retention_keep_resume(db, row->run, 0, e);
    return 0;
}

static int add_lines(struct db *db, const char *lines, struct run_now *row, int64_t time_ms, struct error *e)
{
    for (const char *line = lines; line && *line;) {
        size_t length = strcspn(line, "\n");
        char *text = xprintf("%.*s", (int)(length < RECORD_LINE_MAX ? length : RECORD_LINE_MAX), line);
        int rc = record_add_line(db, row->run, ++row->last_seq, row->attempt, time_ms, text, e);
        free(text);
        if (rc)
            return -1;
        line += length + (line[length] == '\n');
    }
    return 0;
}

static int apply_end(struct db *db, struct store_op *op, struct error *e)
{
    struct run_end *r = (struct run_end *)op;
    int64_t open;
    if (run_row_load(db, r->run, &r->now, e) ||
        db_number(db, e, SQL_EXISTS, -1, &open, db_uint(r->run), db_uint(r->attempt)))
        return -1;
    if (open < 0)
        return error_set(e, ERR_NOT_FOUND, "run %llu has no attempt %u", (unsigned long long)r->run, r->attempt);
    if (reporter_check(db, r->by, r->run, r->attempt, e))
        return -1;
    r->repeated = !open;
    if (!open)
        return 0;
    if (add_lines(db, r->lines, &r->now, r->time_ms, e))
        return -1;
    return attempt_close(db, &r->now, r->outcome, r->retryable, r->reason, r->time_ms, e);
}

void run_end_prepare(struct run_end *r)
{
    r->op.apply = apply_end;
}

static int apply_steps(struct db *db, struct store_op *op, struct error *e)
{
    struct run_steps *r = (struct run_steps *)op;
    return db_run(db, e, SQL_STEPS, db_uint(r->steps), db_uint(r->run));
}

void run_steps_prepare(struct run_steps *r)
{
    r->op.apply = apply_steps;
}
