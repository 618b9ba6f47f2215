// Every run's sequence: numbers 1 to last_seq, each once, over log lines, metrics and changes of state; every block of
// metrics readable and what its row says. See fsck.h.
#include "core/store/fsck_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/metric_block.h"
#include "core/store/pool.h"
#include "proto/control.pb-c.h"

enum { SEQ_MAX = 1 << 30 }; // of one run; a counter beyond is damage, not a reason to ask for the memory

static const char SQL_RUNS[] = "SELECT r.id, r.last_seq, r.final, j.spec FROM runs r JOIN jobs j ON j.id = r.job_id";
static const char SQL_LOGS[] = "SELECT seq FROM logs WHERE run_id = ?";
static const char SQL_EVENTS[] = "SELECT seq FROM events WHERE run_id = ? AND seq IS NOT NULL";
static const char SQL_BLOCKS[] = "SELECT id, first_seq, last_seq, records, data FROM metric_blocks WHERE run_id = ?"
                                 " ORDER BY last_seq";
static const char SQL_NAMES[] = "SELECT id FROM metric_names";

struct sequence {
    struct fsck *f;
    uint64_t run, last;
    uint8_t *seen; // [last / 8 + 1] a bit a record
    uint64_t count, twice, beyond;
    const uint8_t *names; // [METRIC_IDS_MAX] 1: the metric has a name
};

static void see(struct sequence *s, uint64_t seq)
{
    if (seq == 0 || seq > s->last) {
        s->beyond++;
        return;
    }
    uint8_t bit = (uint8_t)(1u << (seq & 7));
    s->twice += (s->seen[seq >> 3] & bit) != 0;
    s->count += (s->seen[seq >> 3] & bit) == 0;
    s->seen[seq >> 3] |= bit;
}

static int see_rows(struct sequence *s, const char *sql, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(&s->f->db, e, sql, db_uint(s->run));
    if (!q)
        return -1;
    while ((rc = db_step(&s->f->db, q, e)) > 0)
        see(s, (uint64_t)sqlite3_column_int64(q, 0));
    return rc;
}

static int block_is_as_said(const struct metric_block *b, uint64_t first, uint64_t last, uint64_t records)
{
    return b->count == records && b->records[0].seq == first && b->records[b->count - 1].seq == last;
}

static int has_unknown_name(const struct sequence *s, const struct metric_block *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (uint32_t k = 0; k < b->records[i].count; k++)
            if (b->records[i].names[k] >= METRIC_IDS_MAX || !s->names[b->records[i].names[k]])
                return 1;
    return 0;
}

static void see_block(struct sequence *s, sqlite3_stmt *q)
{
    struct metric_block b;
    uint64_t first = (uint64_t)sqlite3_column_int64(q, 1), last = (uint64_t)sqlite3_column_int64(q, 2);
    if (metric_block_decode(sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4), &b, NULL)) {
        fsck_found(s->f, FSCK_DAMAGE, "metrics of run %" PRIu64 ", records %" PRIu64 " to %" PRIu64 ", cannot be read",
                   s->run, first, last);
        return;
    }
    if (!block_is_as_said(&b, first, last, (uint64_t)sqlite3_column_int64(q, 3)))
        fsck_found(s->f, FSCK_DAMAGE, "a block of metrics of run %" PRIu64 " does not hold the records that it says",
                   s->run);
    if (has_unknown_name(s, &b))
        fsck_found(s->f, FSCK_DAMAGE, "a block of metrics of run %" PRIu64 " names a metric that has no name", s->run);
    for (size_t i = 0; i < b.count; i++)
        see(s, b.records[i].seq);
    metric_block_free(&b);
}

static int see_blocks(struct sequence *s, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(&s->f->db, e, SQL_BLOCKS, db_uint(s->run));
    if (!q)
        return -1;
    while ((rc = db_step(&s->f->db, q, e)) > 0)
        see_block(s, q);
    return rc;
}

// The first hole, for the sentence.
static void tell_holes(struct sequence *s)
{
    uint64_t first = 1;
    while (s->seen[first >> 3] >> (first & 7) & 1)
        first++;
    uint64_t end = first;
    while (end <= s->last && !(s->seen[end >> 3] >> (end & 7) & 1))
        end++;
    fsck_found(s->f, FSCK_DAMAGE,
               "%" PRIu64 " of the %" PRIu64 " records of run %" PRIu64 " are missing, the first of them are %" PRIu64
               " to %" PRIu64,
               s->last - s->count, s->last, s->run, first, end - 1);
}

static int check_run(struct fsck *f, uint64_t run, uint64_t last, const uint8_t *names, struct error *e)
{
    struct sequence s = {.f = f, .run = run, .last = last, .names = names};
    if (last > SEQ_MAX) {
        fsck_found(f, FSCK_DAMAGE, "run %" PRIu64 " counts %" PRIu64 " records, which cannot be", run, last);
        return 0;
    }
    s.seen = xcalloc(last / 8 + 1, 1);
    int rc = see_rows(&s, SQL_LOGS, e) || see_rows(&s, SQL_EVENTS, e) || see_blocks(&s, e) ? -1 : 0;
    f->out->records += s.count;
    if (!rc && s.count < s.last)
        tell_holes(&s);
    if (!rc && s.twice)
        fsck_found(f, FSCK_DAMAGE, "%" PRIu64 " records of run %" PRIu64 " are there twice", s.twice, run);
    if (!rc && s.beyond)
        fsck_found(f, FSCK_DAMAGE, "%" PRIu64 " records of run %" PRIu64 " lie beyond its last, %" PRIu64, s.beyond,
                   run, last);
    free(s.seen);
    return rc;
}

static int unpacks(const ProtobufCMessageDescriptor *type, sqlite3_stmt *q, int column)
{
    struct pool pool = {0};
    int ok = pool_unpack(&pool, type, sqlite3_column_blob(q, column), (size_t)sqlite3_column_bytes(q, column)) != NULL;
    pool_free(&pool);
    return ok;
}

static int read_names(struct fsck *f, uint8_t *names, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(&f->db, e, SQL_NAMES);
    if (!q)
        return -1;
    while ((rc = db_step(&f->db, q, e)) > 0)
        if (sqlite3_column_int64(q, 0) > 0 && sqlite3_column_int64(q, 0) < METRIC_IDS_MAX)
            names[sqlite3_column_int64(q, 0)] = 1;
    return rc;
}

int fsck_records(struct fsck *f, struct error *e)
{
    uint8_t *names = xcalloc(METRIC_IDS_MAX, 1);
    int rc = read_names(f, names, e);
    sqlite3_stmt *q = rc ? NULL : db_query(&f->db, e, SQL_RUNS);
    if (!q)
        rc = -1;
    while (q && (rc = db_step(&f->db, q, e)) > 0) {
        uint64_t run = (uint64_t)sqlite3_column_int64(q, 0);
        if (!unpacks(&islr__run_summary__descriptor, q, 2))
            fsck_found(f, FSCK_DAMAGE, "the final figures of run %" PRIu64 " cannot be read", run);
        if (!unpacks(&islr__job_spec__descriptor, q, 3))
            fsck_found(f, FSCK_DAMAGE, "the job of run %" PRIu64 " cannot be read", run);
        if (check_run(f, run, (uint64_t)sqlite3_column_int64(q, 1), names, e)) {
            db_reset(q);
            rc = -1;
            break;
        }
    }
    free(names);
    return rc;
}
