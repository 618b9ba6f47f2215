// Reading a run's records: see record_read.h. Three tables hold them and share one numbering, so reading in order is a
// merge of three ascending streams.
#include "core/store/record_read.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/db.h"
#include "core/store/metric_block.h"

static const char SQL_BEGIN[] = "BEGIN";
static const char SQL_END[] = "COMMIT";
static const char SQL_RUN[] = "SELECT state, reason, last_seq FROM runs WHERE id = ?";
static const char SQL_LOGS[] = "SELECT seq, time_ms, attempt, line FROM logs WHERE run_id = ? AND seq > ? ORDER BY seq";
static const char SQL_EVENTS[] = "SELECT seq, time_ms, attempt, state, text FROM events WHERE run_id = ? AND seq > ?"
                                 " ORDER BY seq";
static const char SQL_BLOCKS[] = "SELECT data FROM metric_blocks WHERE run_id = ? AND last_seq > ? ORDER BY last_seq";
static const char SQL_NAME[] = "SELECT name FROM metric_names WHERE id = ?";

struct names {
    char **of; // by id, NULL: not looked up yet
    size_t count;
};

struct reading {
    struct db *db;
    const struct record_query *query;
    struct pool *pool;
    struct record_page *out;
    size_t bytes;
    sqlite3_stmt *logs, *events, *blocks; // at a row, or NULL: at the end
    struct metric_block block;
    size_t in_block; // the next record of `block`
    struct names names;
    // the ids that the last point was made of, and what became of them: its neighbour mostly has the same
    const uint32_t *last_ids;
    uint32_t last_count;
    char **last_names;
};

// ---- the three streams ----------------------------------------------------------------------------------------------

static int advance(struct reading *r, sqlite3_stmt **stream, struct error *e)
{
    int rc = db_step(r->db, *stream, e);
    if (rc <= 0)
        *stream = NULL;
    return rc < 0 ? -1 : 0;
}

static int open_stream(struct reading *r, const char *sql, sqlite3_stmt **stream, struct error *e)
{
    *stream = db_query(r->db, e, sql, db_uint(r->query->run), db_uint(r->query->after_seq));
    return *stream ? advance(r, stream, e) : -1;
}

// Decodes the block at hand and stands before its first wanted record.
static int open_block(struct reading *r, struct error *e)
{
    metric_block_free(&r->block);
    r->in_block = 0;
    r->last_ids = NULL;
    if (!r->blocks)
        return 0;
    if (metric_block_decode(sqlite3_column_blob(r->blocks, 0), (size_t)sqlite3_column_bytes(r->blocks, 0), &r->block,
                            e))
        return error_prefix(e, "run %llu", (unsigned long long)r->query->run);
    while (r->in_block < r->block.count && r->block.records[r->in_block].seq <= r->query->after_seq)
        r->in_block++;
    return 0;
}

static const struct metric_record *metric_at(const struct reading *r)
{
    return r->in_block < r->block.count ? &r->block.records[r->in_block] : NULL;
}

// To the next metric, through as many blocks as that takes.
static int settle_metric(struct reading *r, struct error *e)
{
    while (!metric_at(r) && r->blocks) {
        if (advance(r, &r->blocks, e) || open_block(r, e))
            return -1;
    }
    return 0;
}

// ---- making records -------------------------------------------------------------------------------------------------

static Islr__Record *new_record(struct reading *r, int64_t seq, int64_t time_ms, int64_t attempt)
{
    Islr__Record *record = pool_alloc(r->pool, sizeof *record);
    islr__record__init(record);
    record->has_seq = record->has_time_ms = record->has_attempt = 1;
    record->seq = (uint64_t)seq;
    record->time_ms = time_ms;
    record->attempt = (uint32_t)attempt;
    return record;
}

static Islr__Record *make_log(struct reading *r)
{
    Islr__Record *record = new_record(r, sqlite3_column_int64(r->logs, 0), sqlite3_column_int64(r->logs, 1),
                                      sqlite3_column_int64(r->logs, 2));
    record->what_case = ISLR__RECORD__WHAT_LOG;
    record->log = pool_text(r->pool, (const char *)sqlite3_column_text(r->logs, 3));
    return record;
}

static Islr__Record *make_state(struct reading *r)
{
    Islr__Record *record = new_record(r, sqlite3_column_int64(r->events, 0), sqlite3_column_int64(r->events, 1),
                                      sqlite3_column_int64(r->events, 2));
    record->what_case = ISLR__RECORD__WHAT_STATE;
    record->state = (Islr__RunState)sqlite3_column_int(r->events, 3);
    record->reason = pool_text(r->pool, (const char *)sqlite3_column_text(r->events, 4));
    return record;
}

static char *name_of(struct reading *r, uint32_t id, struct error *e)
{
    struct names *n = &r->names;
    if (id >= METRIC_IDS_MAX) {
        error_set(e, ERR_DAMAGED, "a block of metrics in the server's database names a metric that cannot be");
        return NULL;
    }
    if (id >= n->count) {
        n->of = xrealloc(n->of, (size_t)id + 64, sizeof *n->of);
        memset(n->of + n->count, 0, ((size_t)id + 64 - n->count) * sizeof *n->of);
        n->count = (size_t)id + 64;
    }
    if (n->of[id])
        return n->of[id];
    sqlite3_stmt *q = db_query(r->db, e, SQL_NAME, db_int(id));
    int rc = q ? db_step(r->db, q, e) : -1;
    if (rc == 0)
        error_set(e, ERR_DAMAGED, "a metric's name is missing in the server's database");
    if (rc <= 0)
        return NULL;
    n->of[id] = pool_text(r->pool, (const char *)sqlite3_column_text(q, 0));
    db_reset(q);
    return n->of[id];
}

static char **names_of(struct reading *r, const struct metric_record *m, struct error *e)
{
    if (r->last_ids == m->names && r->last_count == m->count)
        return r->last_names;
    char **names = pool_alloc(r->pool, m->count * sizeof *names);
    for (uint32_t i = 0; i < m->count; i++)
        if (!(names[i] = name_of(r, m->names[i], e)))
            return NULL;
    r->last_ids = m->names;
    r->last_count = m->count;
    return r->last_names = names;
}

static Islr__Record *make_metric(struct reading *r, const struct metric_record *m, struct error *e)
{
    char **names = names_of(r, m, e);
    if (!names)
        return NULL;
    Islr__Record *record = new_record(r, (int64_t)m->seq, m->time_ms, m->attempt);
    Islr__MetricPoint *point = pool_alloc(r->pool, sizeof *point);
    islr__metric_point__init(point);
    point->has_step = point->has_epoch = point->has_evaluation = 1;
    point->step = m->step;
    point->epoch = m->epoch;
    point->evaluation = m->evaluation;
    point->n_names = point->n_values = m->count;
    point->names = names;
    point->values = pool_copy(r->pool, m->values, m->count * sizeof *m->values);
    record->what_case = ISLR__RECORD__WHAT_METRIC;
    record->metric = point;
    return record;
}

// ---- the merge ------------------------------------------------------------------------------------------------------

enum stream { NONE, LOG, EVENT, METRIC };

static enum stream lowest(const struct reading *r, uint64_t *seq)
{
    enum stream which = NONE;
    *seq = UINT64_MAX;
    if (r->logs && (uint64_t)sqlite3_column_int64(r->logs, 0) < *seq)
        which = LOG, *seq = (uint64_t)sqlite3_column_int64(r->logs, 0);
    if (r->events && (uint64_t)sqlite3_column_int64(r->events, 0) < *seq)
        which = EVENT, *seq = (uint64_t)sqlite3_column_int64(r->events, 0);
    if (metric_at(r) && metric_at(r)->seq < *seq)
        which = METRIC, *seq = metric_at(r)->seq;
    return which;
}

// The lowest record at hand, put into the page: 1; 0: the page is full; -1.
static int take(struct reading *r, enum stream which, struct error *e)
{
    struct record_page *out = r->out;
    Islr__Record *record = which == LOG     ? make_log(r)
                           : which == EVENT ? make_state(r)
                                            : make_metric(r, metric_at(r), e);
    if (!record)
        return -1;
    size_t size = islr__record__get_packed_size(record) + 8; // 8: tag and length
    if (out->count && r->bytes + size > r->query->bytes_max)
        return 0;
    r->bytes += size;
    out->records = pool_room(r->pool, out->records, out->count, sizeof *out->records);
    out->records[out->count++] = record;
    out->reached = record->seq;
    if (which != METRIC)
        return advance(r, which == LOG ? &r->logs : &r->events, e) ? -1 : 1;
    r->in_block++;
    return settle_metric(r, e) ? -1 : 1;
}

static int fill(struct reading *r, struct error *e)
{
    const struct record_query *query = r->query;
    if ((query->logs && open_stream(r, SQL_LOGS, &r->logs, e)) || open_stream(r, SQL_EVENTS, &r->events, e))
        return -1;
    if (query->metrics && (open_stream(r, SQL_BLOCKS, &r->blocks, e) || open_block(r, e) || settle_metric(r, e)))
        return -1;
    uint64_t seq;
    for (enum stream which; (which = lowest(r, &seq)) != NONE;) {
        int rc = take(r, which, e);
        if (rc < 0)
            return -1;
        if (rc == 0) {
            r->out->more = 1;
            return 0;
        }
    }
    if (r->out->last_seq > r->out->reached)
        r->out->reached = r->out->last_seq;
    return 0;
}

static int read_run(struct reading *r, struct error *e)
{
    struct record_page *out = r->out;
    sqlite3_stmt *q = db_query(r->db, e, SQL_RUN, db_uint(r->query->run));
    int rc = q ? db_step(r->db, q, e) : -1;
    if (rc == 0)
        return error_set(e, ERR_NOT_FOUND, "there is no run %llu", (unsigned long long)r->query->run);
    if (rc < 0)
        return -1;
    out->state = (Islr__RunState)sqlite3_column_int(q, 0);
    out->reason = pool_text(r->pool, (const char *)sqlite3_column_text(q, 1));
    out->last_seq = (uint64_t)sqlite3_column_int64(q, 2);
    db_reset(q);
    return 0;
}

int record_read(struct store_reader *reader, const struct record_query *query, struct pool *pool,
                struct record_page *out, struct error *e)
{
    struct reading r = {.db = store_reader_db(reader), .query = query, .pool = pool, .out = out};
    memset(out, 0, sizeof *out);
    out->reached = query->after_seq;
    if (db_run(r.db, e, SQL_BEGIN))
        return -1;
    int rc = read_run(&r, e) || fill(&r, e) ? -1 : 0;
    db_reset(r.logs);
    db_reset(r.events);
    db_reset(r.blocks);
    metric_block_free(&r.block);
    free(r.names.of);
    db_run(r.db, NULL, SQL_END);
    return rc;
}
