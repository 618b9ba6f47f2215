// A run's records: see record.h.
#include "core/store/record.h"

#include <stdlib.h>
#include <string.h>

#include "core/store/db.h"
#include "core/store/metric_write.h"

static const char SQL_ATTEMPT[] = "SELECT a.worker_seq, a.ended_ms = 0, r.last_seq FROM attempts a"
                                  " JOIN runs r ON r.id = a.run_id WHERE a.run_id = ? AND a.number = ?";
static const char SQL_ATTEMPT_SEQ[] = "UPDATE attempts SET worker_seq = ? WHERE run_id = ? AND number = ?";
static const char SQL_RUN_SEQ[] = "UPDATE runs SET last_seq = ? WHERE id = ?";
static const char SQL_LOG[] = "INSERT INTO logs (run_id, seq, time_ms, attempt, line) VALUES (?, ?, ?, ?, ?)";

// ---- checking -------------------------------------------------------------------------------------------------------

static const char *wrong_metric(const Islr__MetricPoint *m)
{
    if (m->n_names != m->n_values)
        return "it has not as many values as names";
    if (!m->n_names || m->n_names > METRIC_NAMES_MAX)
        return "it names no metric, or too many of them";
    for (size_t i = 0; i < m->n_names; i++)
        if (!*m->names[i] || strlen(m->names[i]) > RECORD_NAME_MAX)
            return "a metric's name is empty or too long";
    return NULL;
}

static const char *wrong_record(const Islr__Record *r)
{
    switch (r->what_case) {
    case ISLR__RECORD__WHAT_LOG:
        return strlen(r->log) > RECORD_LINE_MAX ? "its line is longer than 64 KiB" : NULL;
    case ISLR__RECORD__WHAT_METRIC:
        return wrong_metric(r->metric);
    default:
        return "it is neither a log line nor a metric";
    }
}

int record_check(const Islr__Records *records, struct error *e)
{
    unsigned long long run = records->run;
    for (size_t i = 0; i < records->n_records; i++) {
        const Islr__Record *r = records->records[i];
        const char *wrong = wrong_record(r);
        if (!r->seq)
            wrong = "it has no number";
        else if (i && r->seq != records->records[i - 1]->seq + 1)
            wrong = "it does not follow the one before it";
        if (wrong)
            return error_set(e, ERR_INVALID, "record %llu of run %llu, attempt %u, cannot be taken: %s",
                             (unsigned long long)r->seq, run, records->attempt, wrong);
    }
    return 0;
}

// ---- taking in ------------------------------------------------------------------------------------------------------

struct attempt_place {
    uint64_t worker_seq, last_seq;
    int open;
};

// 1, 0: no such attempt, -1.
static int find_attempt(struct db *db, uint64_t run, uint32_t attempt, struct attempt_place *out, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_ATTEMPT, db_uint(run), db_uint(attempt));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return rc;
    out->worker_seq = (uint64_t)sqlite3_column_int64(q, 0);
    out->open = sqlite3_column_int(q, 1);
    out->last_seq = (uint64_t)sqlite3_column_int64(q, 2);
    db_reset(q);
    return 1;
}

int record_add_line(struct db *db, uint64_t run, uint64_t seq, uint32_t attempt, int64_t time_ms, const char *line,
                    struct error *e)
{
    return db_run(db, e, SQL_LOG, db_uint(run), db_uint(seq), db_int(time_ms), db_uint(attempt), db_text(line));
}

static int add_new(struct db *db, struct record_add *r, const struct attempt_place *place, size_t first,
                   struct error *e)
{
    const Islr__Records *in = r->records;
    struct metric_writer *metrics = metric_writer_open(db, in->run, in->attempt);
    uint64_t seq = place->last_seq;
    int rc = 0;
    for (size_t i = first; i < in->n_records && !rc; i++) {
        const Islr__Record *record = in->records[i];
        seq++;
        if (record->what_case == ISLR__RECORD__WHAT_METRIC)
            rc = metric_writer_add(metrics, seq, record->time_ms, record->metric, e);
        else
            rc = record_add_line(db, in->run, seq, in->attempt, record->time_ms, record->log, e);
    }
    if (metric_writer_close(metrics, rc == 0, &r->step, e) || rc)
        return -1;
    r->acked = in->records[in->n_records - 1]->seq;
    r->last_seq = seq;
    r->added = (int)(in->n_records - first);
    return db_run(db, e, SQL_ATTEMPT_SEQ, db_uint(r->acked), db_uint(in->run), db_uint(in->attempt)) ||
                   db_run(db, e, SQL_RUN_SEQ, db_uint(seq), db_uint(in->run))
               ? -1
               : 0;
}

static int apply_add(struct db *db, struct store_op *op, struct error *e)
{
    struct record_add *r = (struct record_add *)op;
    const Islr__Records *in = r->records;
    struct attempt_place place;
    int found = find_attempt(db, in->run, in->attempt, &place, e);
    if (found <= 0)
        return found < 0 ? -1
                         : error_set(e, ERR_NOT_FOUND, "run %llu has no attempt %u", (unsigned long long)in->run,
                                     in->attempt);
    if (reporter_check(db, r->by, in->run, in->attempt, e))
        return -1;
    r->acked = place.worker_seq;
    r->last_seq = place.last_seq;
    r->step = 0;
    r->added = 0;
    size_t first = 0;
    while (first < in->n_records && in->records[first]->seq <= place.worker_seq)
        first++;
    if (first == in->n_records)
        return 0;
    if (!place.open)
        return error_set(e, ERR_NOT_FOUND, "attempt %u of run %llu has ended", in->attempt,
                         (unsigned long long)in->run);
    if (in->records[first]->seq != place.worker_seq + 1)
        return error_set(e, ERR_INVALID, "records %llu to %llu of run %llu, attempt %u, are missing",
                         (unsigned long long)place.worker_seq + 1, (unsigned long long)in->records[first]->seq - 1,
                         (unsigned long long)in->run, in->attempt);
    return add_new(db, r, &place, first, e);
}

void record_add_prepare(struct record_add *r)
{
    r->op.apply = apply_add;
}

static int apply_acked(struct db *db, struct store_op *op, struct error *e)
{
    struct record_acked *r = (struct record_acked *)op;
    struct attempt_place place = {0};
    if (find_attempt(db, r->run, r->attempt, &place, e) < 0)
        return -1;
    r->acked = place.worker_seq;
    r->open = place.open;
    return 0;
}

void record_acked_prepare(struct record_acked *r)
{
    r->op.apply = apply_acked;
}
