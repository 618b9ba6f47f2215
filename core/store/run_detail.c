// One run in full, the newest of a user, counts: see run_read.h.
#include <string.h>

#include "core/base/hash.h"
#include "core/store/checkpoint.h"
#include "core/store/db.h"
#include "core/store/run_read.h"
#include "core/store/run_summary.h"

// A RunDetail is one message (run_read.h). Of each of these the newest have room in so many bytes, of the ranks those of
// the newest attempts.
enum { ATTEMPT_BYTES = 64 << 10, RANK_BYTES = 128 << 10, EVENT_BYTES = 64 << 10, CHECKPOINT_BYTES = 192 << 10 };
enum { OTHER_BYTES = 64 << 10 }; // its summary: RUN_FINALS_MAX figures above all
enum { FRAME_BYTES = 8 };        // what one of them has beside itself: its tag and length

_Static_assert((int)RUN_JOB_MAX + ATTEMPT_BYTES + RANK_BYTES + EVENT_BYTES + CHECKPOINT_BYTES + OTHER_BYTES <=
                   (int)RUN_DETAIL_MAX,
               "everything has room in one message");

static const char SQL_BEGIN[] = "BEGIN";
static const char SQL_END[] = "COMMIT";
static const char SQL_RUN[] = "SELECT " RUN_SUMMARY_COLUMNS ", j.spec, j.hash FROM runs r"
                              " JOIN jobs j ON j.id = r.job_id WHERE r.id = ?";
static const char SQL_SUMMARY[] = "SELECT " RUN_SUMMARY_COLUMNS " FROM runs r WHERE r.id = ?";
static const char SQL_ATTEMPTS[] = "SELECT number, started_ms, ended_ms, outcome, reason, resumed_from_step"
                                   " FROM attempts WHERE run_id = ? ORDER BY number DESC";
static const char SQL_ATTEMPT_COUNT[] = "SELECT count(*) FROM attempts WHERE run_id = ?";
static const char SQL_RANKS[] = "SELECT rank, host, pid, device FROM attempt_ranks WHERE run_id = ? AND attempt = ?"
                                " ORDER BY rank";
static const char SQL_RANK_COUNT[] = "SELECT count(*) FROM attempt_ranks WHERE run_id = ? AND attempt = ?";
static const char SQL_EVENTS[] = "SELECT time_ms, state, text FROM events WHERE run_id = ? ORDER BY id DESC";
static const char SQL_EVENT_COUNT[] = "SELECT count(*) FROM events WHERE run_id = ?";
static const char SQL_NEWEST[] = "SELECT max(id) FROM runs WHERE user = ? AND parent_id IS NULL";
static const char SQL_COUNTS[] = "SELECT state, count(*) FROM runs WHERE grouped = 0 OR joining GROUP BY state";

static int read_summary(struct db *db, uint64_t run, struct pool *pool, Islr__RunDetail *d, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_RUN, db_uint(run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc == 0)
        return error_set(e, ERR_NOT_FOUND, "there is no run %llu", (unsigned long long)run);
    if (rc < 0)
        return -1;
    d->summary = run_summary_make(q, pool);
    d->job = (Islr__JobSpec *)pool_unpack(pool, &islr__job_spec__descriptor,
                                          sqlite3_column_blob(q, RUN_SUMMARY_COLUMN_COUNT),
                                          (size_t)sqlite3_column_bytes(q, RUN_SUMMARY_COLUMN_COUNT));
    struct hash hash = {{0}};
    if (sqlite3_column_bytes(q, RUN_SUMMARY_COLUMN_COUNT + 1) == (int)sizeof hash.bytes)
        memcpy(hash.bytes, sqlite3_column_blob(q, RUN_SUMMARY_COLUMN_COUNT + 1), sizeof hash.bytes);
    d->job_hash = pool_alloc(pool, 65);
    hash_to_hex(&hash, d->job_hash);
    db_reset(q);
    if (run_summary_group(db, d->summary, e))
        return -1;
    if (!d->job)
        return error_set(e, ERR_DAMAGED, "the job of run %llu in the server's database is damaged",
                         (unsigned long long)run);
    return 0;
}

static Islr__Attempt *make_attempt(sqlite3_stmt *q, struct pool *pool)
{
    Islr__Attempt *a = pool_alloc(pool, sizeof *a);
    islr__attempt__init(a);
    a->has_number = a->has_started_ms = a->has_ended_ms = a->has_resumed_from_step = 1;
    a->number = (uint32_t)sqlite3_column_int64(q, 0);
    a->started_ms = sqlite3_column_int64(q, 1);
    a->ended_ms = sqlite3_column_int64(q, 2);
    a->outcome = pool_text(pool, (const char *)sqlite3_column_text(q, 3));
    a->reason = pool_text(pool, (const char *)sqlite3_column_text(q, 4));
    a->resumed_from_step = (uint64_t)sqlite3_column_int64(q, 5);
    return a;
}

static Islr__RankInfo *make_rank(sqlite3_stmt *q, struct pool *pool)
{
    Islr__RankInfo *k = pool_alloc(pool, sizeof *k);
    islr__rank_info__init(k);
    k->has_rank = k->has_pid = 1;
    k->rank = (uint32_t)sqlite3_column_int64(q, 0);
    k->host = pool_text(pool, (const char *)sqlite3_column_text(q, 1));
    k->pid = (uint32_t)sqlite3_column_int64(q, 2);
    k->device = pool_text(pool, (const char *)sqlite3_column_text(q, 3));
    return k;
}

static Islr__Event *make_event(sqlite3_stmt *q, struct pool *pool)
{
    Islr__Event *event = pool_alloc(pool, sizeof *event);
    islr__event__init(event);
    event->has_time_ms = 1;
    event->time_ms = sqlite3_column_int64(q, 0);
    event->has_state = sqlite3_column_type(q, 1) != SQLITE_NULL;
    event->state = (Islr__RunState)sqlite3_column_int(q, 1);
    event->text = pool_text(pool, (const char *)sqlite3_column_text(q, 2));
    return event;
}

// Takes so many bytes of a message from what is left: 1, or 0: there is not so much.
static int take_room(size_t *left, size_t bytes)
{
    bytes += FRAME_BYTES;
    if (bytes > *left)
        return 0;
    *left -= bytes;
    return 1;
}

static void turn_round(void **items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        void *item = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = item;
    }
}

// The first ones, as many as there is room for.
static int read_ranks(struct db *db, uint64_t run, struct pool *pool, Islr__Attempt *a, size_t *left, struct error *e)
{
    int64_t count;
    int rc = 0;
    if (db_number(db, e, SQL_RANK_COUNT, 0, &count, db_uint(run), db_uint(a->number)))
        return -1;
    a->has_rank_count = 1;
    a->rank_count = (uint32_t)count;
    sqlite3_stmt *q = db_query(db, e, SQL_RANKS, db_uint(run), db_uint(a->number));
    if (!q)
        return -1;
    while (*left && (rc = db_step(db, q, e)) > 0) {
        Islr__RankInfo *k = make_rank(q, pool);
        if (!take_room(left, islr__rank_info__get_packed_size(k))) {
            *left = 0; // nor of earlier attempts'
            break;
        }
        a->ranks = pool_room(pool, a->ranks, a->n_ranks, sizeof *a->ranks);
        a->ranks[a->n_ranks++] = k;
    }
    db_reset(q);
    return rc < 0 ? -1 : 0;
}

static int read_attempts(struct db *db, uint64_t run, struct pool *pool, Islr__RunDetail *d, struct error *e)
{
    size_t left = ATTEMPT_BYTES, ranks_left = RANK_BYTES;
    int64_t count;
    int rc;
    if (db_number(db, e, SQL_ATTEMPT_COUNT, 0, &count, db_uint(run)))
        return -1;
    d->has_attempt_count = 1;
    d->attempt_count = (uint32_t)count;
    sqlite3_stmt *q = db_query(db, e, SQL_ATTEMPTS, db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__Attempt *a = make_attempt(q, pool);
        if (!take_room(&left, islr__attempt__get_packed_size(a)))
            break;
        d->attempts = pool_room(pool, d->attempts, d->n_attempts, sizeof *d->attempts);
        d->attempts[d->n_attempts++] = a;
    }
    db_reset(q);
    for (size_t i = 0; i < d->n_attempts && rc >= 0; i++)
        rc = read_ranks(db, run, pool, d->attempts[i], &ranks_left, e);
    turn_round((void **)d->attempts, d->n_attempts);
    return rc < 0 ? -1 : 0;
}

static int read_events(struct db *db, uint64_t run, struct pool *pool, Islr__RunDetail *d, struct error *e)
{
    size_t left = EVENT_BYTES;
    int64_t count;
    int rc;
    if (db_number(db, e, SQL_EVENT_COUNT, 0, &count, db_uint(run)))
        return -1;
    d->has_event_count = 1;
    d->event_count = (uint64_t)count;
    sqlite3_stmt *q = db_query(db, e, SQL_EVENTS, db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__Event *event = make_event(q, pool);
        if (!take_room(&left, islr__event__get_packed_size(event)))
            break;
        d->events = pool_room(pool, d->events, d->n_events, sizeof *d->events);
        d->events[d->n_events++] = event;
    }
    db_reset(q);
    turn_round((void **)d->events, d->n_events);
    return rc < 0 ? -1 : 0;
}

int run_read_detail(struct store_reader *reader, uint64_t run, struct pool *pool, Islr__RunDetail **out,
                    struct error *e)
{
    struct db *db = store_reader_db(reader);
    Islr__RunDetail *d = *out = pool_alloc(pool, sizeof *d);
    islr__run_detail__init(d);
    if (db_run(db, e, SQL_BEGIN))
        return -1;
    int rc = read_summary(db, run, pool, d, e) || read_attempts(db, run, pool, d, e) ||
             read_events(db, run, pool, d, e) ||
             checkpoint_list_newest(reader, run, CHECKPOINT_BYTES, pool, &d->checkpoints, &d->n_checkpoints,
                                    &d->checkpoint_count, e);
    d->has_checkpoint_count = 1;
    db_run(db, NULL, SQL_END);
    return rc ? -1 : 0;
}

int run_read_summary(struct store_reader *reader, uint64_t run, struct pool *pool, Islr__RunSummary **out,
                     struct error *e)
{
    struct db *db = store_reader_db(reader);
    sqlite3_stmt *q = db_query(db, e, SQL_SUMMARY, db_uint(run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc == 0)
        return error_set(e, ERR_NOT_FOUND, "there is no run %llu", (unsigned long long)run);
    if (rc < 0)
        return -1;
    *out = run_summary_make(q, pool);
    db_reset(q);
    return run_summary_group(db, *out, e);
}

int run_read_newest(struct store_reader *reader, const char *user, uint64_t *run, struct error *e)
{
    int64_t id;
    if (db_number(store_reader_db(reader), e, SQL_NEWEST, 0, &id, db_text(user)))
        return -1;
    *run = (uint64_t)id;
    return 0;
}

int run_read_counts(struct store_reader *reader, struct run_counts *out, struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc;
    memset(out, 0, sizeof *out);
    sqlite3_stmt *q = db_query(db, e, SQL_COUNTS);
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0)
        out->of[sqlite3_column_int(q, 0) & 7] = (uint64_t)sqlite3_column_int64(q, 1);
    return rc;
}
