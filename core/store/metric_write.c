// Writing a run's metrics: see metric_write.h.
//
// A message's records become one block, however few they are; when METRIC_BLOCK_RECORDS of a run lie in such small
// blocks at its end, record_compact() packs them into full ones. So a reader sees blocks only, and each record is
// written at most three times.
#include "core/store/metric_write.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/pool.h"
#include "core/store/record.h"

static const char SQL_NAME_FIND[] = "SELECT id FROM metric_names WHERE name = ?";
static const char SQL_NAME_ADD[] = "INSERT INTO metric_names (name) VALUES (?)";
static const char SQL_BLOCK_ADD[] = "INSERT INTO metric_blocks (run_id, first_seq, last_seq, records, data)"
                                    " VALUES (?, ?, ?, ?, ?)";
static const char SQL_LAST[] = "INSERT INTO metric_last (run_id, name_id, value) VALUES (?, ?, ?)"
                               " ON CONFLICT DO UPDATE SET value = excluded.value";
static const char SQL_RUN[] = "UPDATE runs SET step = ?, loose = loose + ?, final = coalesce(?, final) WHERE id = ?"
                              " RETURNING loose";
static const char SQL_FINAL[] = "SELECT final FROM runs WHERE id = ?";
static const char SQL_SMALL[] = "SELECT data FROM metric_blocks WHERE run_id = ?1 AND last_seq >"
                                " coalesce((SELECT max(last_seq) FROM metric_blocks"
                                "           WHERE run_id = ?1 AND records >= ?2), 0) ORDER BY last_seq";
static const char SQL_SMALL_DROP[] = "DELETE FROM metric_blocks WHERE run_id = ? AND last_seq BETWEEN ? AND ?";
static const char SQL_LOOSE[] = "UPDATE runs SET loose = ? WHERE id = ?";

struct last_value {
    uint32_t name;
    const char *text;
    double value;
    int evaluation;
};

struct metric_writer {
    struct db *db;
    uint64_t run;
    uint32_t attempt;
    struct metric_record *records;
    size_t count, capacity;
    struct pool pool; // the records' names
    const Islr__MetricPoint *newest;
    const uint32_t *newest_names; // its names' ids
    struct last_value *last;      // newest value of each metric seen
    size_t last_count;
};

struct metric_writer *metric_writer_open(struct db *db, uint64_t run, uint32_t attempt)
{
    struct metric_writer *w = xcalloc(1, sizeof *w);
    w->db = db;
    w->run = run;
    w->attempt = attempt;
    return w;
}

// ---- collecting -----------------------------------------------------------------------------------------------------

static int name_id(struct db *db, const char *name, uint32_t *out, struct error *e)
{
    int64_t id;
    if (db_number(db, e, SQL_NAME_FIND, 0, &id, db_text(name)))
        return -1;
    if (!id) {
        if (db_run(db, e, SQL_NAME_ADD, db_text(name)))
            return -1;
        id = db_last_id(db);
    }
    if (id >= METRIC_IDS_MAX)
        return error_set(e, ERR_INVALID, "the metric '%s' would be one name too many: %d are known", name,
                         METRIC_IDS_MAX);
    *out = (uint32_t)id;
    return 0;
}

static int same_names(const Islr__MetricPoint *a, const Islr__MetricPoint *b)
{
    if (!a || a->n_names != b->n_names)
        return 0;
    for (size_t i = 0; i < a->n_names; i++)
        if (strcmp(a->names[i], b->names[i]))
            return 0;
    return 1;
}

// Takes the newest point's values as the newest of its metrics.
static void note_newest(struct metric_writer *w)
{
    const Islr__MetricPoint *m = w->newest;
    for (size_t i = 0; m && i < m->n_names; i++) {
        size_t k = 0;
        while (k < w->last_count && w->last[k].name != w->newest_names[i])
            k++;
        if (k == w->last_count)
            w->last = xrealloc(w->last, ++w->last_count, sizeof *w->last);
        w->last[k] = (struct last_value){w->newest_names[i], m->names[i], m->values[i], m->evaluation};
    }
}

// Makes `m` the newest point. Its names' ids are those of the point before when the names are, as they mostly are.
static int take_newest(struct metric_writer *w, const Islr__MetricPoint *m, struct error *e)
{
    if (!same_names(w->newest, m) || w->newest->evaluation != m->evaluation) {
        uint32_t *names = pool_alloc(&w->pool, m->n_names * sizeof *names);
        for (size_t i = 0; i < m->n_names; i++)
            if (name_id(w->db, m->names[i], &names[i], e))
                return -1;
        note_newest(w);
        w->newest_names = names;
    }
    w->newest = m;
    return 0;
}

int metric_writer_add(struct metric_writer *w, uint64_t seq, int64_t time_ms, const Islr__MetricPoint *m,
                      struct error *e)
{
    if (take_newest(w, m, e))
        return -1;
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 64;
        w->records = xrealloc(w->records, w->capacity, sizeof *w->records);
    }
    w->records[w->count++] = (struct metric_record){.seq = seq,
                                                    .time_ms = time_ms,
                                                    .attempt = w->attempt,
                                                    .step = m->step,
                                                    .epoch = m->epoch,
                                                    .evaluation = m->evaluation,
                                                    .count = (uint32_t)m->n_names,
                                                    .names = w->newest_names,
                                                    .values = m->values};
    return 0;
}

// ---- writing --------------------------------------------------------------------------------------------------------

static int put_blocks(struct db *db, uint64_t run, const struct metric_record *records, size_t count, struct error *e)
{
    for (size_t at = 0; at < count; at += METRIC_BLOCK_RECORDS) {
        size_t n = count - at < METRIC_BLOCK_RECORDS ? count - at : METRIC_BLOCK_RECORDS, size;
        uint8_t *blob = metric_block_encode(records + at, n, &size);
        int rc = db_run(db, e, SQL_BLOCK_ADD, db_uint(run), db_uint(records[at].seq), db_uint(records[at + n - 1].seq),
                        db_uint(n), db_blob(blob, size));
        free(blob);
        if (rc)
            return -1;
    }
    return 0;
}

// The run's last evaluation values with the new ones put in, packed into *out (empty: none are new).
static int merge_final(struct metric_writer *w, struct strbuf *out, struct error *e)
{
    size_t fresh = 0;
    for (size_t i = 0; i < w->last_count; i++)
        fresh += w->last[i].evaluation;
    if (!fresh)
        return 0;
    sqlite3_stmt *q = db_query(w->db, e, SQL_FINAL, db_uint(w->run));
    if (!q || db_step(w->db, q, e) < 0)
        return -1;
    size_t size = (size_t)sqlite3_column_bytes(q, 0);
    Islr__RunSummary *old =
        (Islr__RunSummary *)pool_unpack(&w->pool, &islr__run_summary__descriptor, sqlite3_column_blob(q, 0), size);
    db_reset(q);
    if (!old)
        return error_set(e, ERR_DAMAGED, "the last values of run %llu in the database are damaged",
                         (unsigned long long)w->run);
    Islr__RunSummary merged = ISLR__RUN_SUMMARY__INIT;
    merged.final = pool_alloc(&w->pool, (old->n_final + fresh) * sizeof *merged.final);
    for (size_t i = 0; i < old->n_final; i++)
        merged.final[merged.n_final++] = old->final[i];
    for (size_t i = 0; i < w->last_count; i++) {
        if (!w->last[i].evaluation)
            continue;
        size_t k = 0;
        while (k < merged.n_final && strcmp(merged.final[k]->name, w->last[i].text))
            k++;
        if (k == RUN_FINALS_MAX)
            continue; // it is among the run's metrics, as all are
        if (k == merged.n_final) {
            merged.final[merged.n_final++] = pool_alloc(&w->pool, sizeof **merged.final);
            islr__value__init(merged.final[k]);
            merged.final[k]->name = pool_text(&w->pool, w->last[i].text);
        }
        merged.final[k]->has_value = 1;
        merged.final[k]->value = w->last[i].value;
    }
    size_t packed = islr__run_summary__get_packed_size(&merged);
    uint8_t *bytes = pool_alloc(&w->pool, packed);
    islr__run_summary__pack(&merged, bytes);
    strbuf_add(out, bytes, packed);
    return 0;
}

static int put_last(struct metric_writer *w, struct error *e)
{
    for (size_t i = 0; i < w->last_count; i++)
        if (db_run(w->db, e, SQL_LAST, db_uint(w->run), db_int(w->last[i].name), db_real(w->last[i].value)))
            return -1;
    return 0;
}

static int put_all(struct metric_writer *w, uint64_t *step, struct error *e)
{
    struct strbuf final = {0};
    int64_t loose;
    note_newest(w);
    *step = w->newest->step;
    int rc = put_blocks(w->db, w->run, w->records, w->count, e) || put_last(w, e) || merge_final(w, &final, e) ||
             db_number(w->db, e, SQL_RUN, 0, &loose, db_uint(*step), db_uint(w->count),
                       final.length ? db_blob(final.text, final.length) : (struct db_value){.type = DB_NULL},
                       db_uint(w->run));
    free(final.text);
    if (rc)
        return -1;
    return loose >= METRIC_BLOCK_RECORDS ? record_compact(w->db, w->run, e) : 0;
}

int metric_writer_close(struct metric_writer *w, int write, uint64_t *step, struct error *e)
{
    int rc = write && w->count ? put_all(w, step, e) : 0;
    free(w->records);
    free(w->last);
    pool_free(&w->pool);
    free(w);
    return rc;
}

// ---- compaction -----------------------------------------------------------------------------------------------------

// Blocks that were read and are to be merged.
struct small_blocks {
    struct metric_block *blocks;
    size_t count;
    struct metric_record *records; // of all of them, in order
    size_t record_count;
};

static void small_free(struct small_blocks *s)
{
    for (size_t i = 0; i < s->count; i++)
        metric_block_free(&s->blocks[i]);
    free(s->blocks);
    free(s->records);
}

static int small_load(struct db *db, uint64_t run, struct small_blocks *out, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_SMALL, db_uint(run), db_int(METRIC_BLOCK_RECORDS));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        struct metric_block b;
        if (metric_block_decode(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0), &b, e)) {
            db_reset(q);
            return error_prefix(e, "run %llu", (unsigned long long)run);
        }
        if (!(out->count & (out->count + 1))) // grows at 0, 1, 3, 7, ..
            out->blocks = xrealloc(out->blocks, 2 * out->count + 1, sizeof *out->blocks);
        out->blocks[out->count++] = b;
        out->records = xrealloc(out->records, out->record_count + b.count, sizeof *out->records);
        memcpy(out->records + out->record_count, b.records, b.count * sizeof *b.records);
        out->record_count += b.count;
    }
    return rc;
}

// A damaged block must not keep new records out: then everything stays as it is, and a reader will say so.
int record_compact(struct db *db, uint64_t run, struct error *e)
{
    struct small_blocks small = {0};
    struct error damage;
    int rc = small_load(db, run, &small, &damage);
    if (rc && e)
        *e = damage;
    if (rc) {
        small_free(&small);
        return damage.code == ERR_DAMAGED && !db->trouble ? db_run(db, e, SQL_LOOSE, db_int(0), db_uint(run)) : -1;
    }
    if (small.count > 1) {
        uint64_t first = small.records[0].seq, last = small.records[small.record_count - 1].seq;
        rc = db_run(db, e, SQL_SMALL_DROP, db_uint(run), db_uint(first), db_uint(last)) ||
             put_blocks(db, run, small.records, small.record_count, e);
    }
    if (!rc)
        rc = db_run(db, e, SQL_LOOSE, db_uint(small.record_count % METRIC_BLOCK_RECORDS), db_uint(run));
    small_free(&small);
    return rc ? -1 : 0;
}
