// One run in full, the newest of a user, counts: see run_read.h.
#include <string.h>

#include "core/base/hash.h"
#include "core/store/checkpoint.h"
#include "core/store/db.h"
#include "core/store/run_read.h"
#include "core/store/run_summary.h"

enum { DETAIL_CHECKPOINT_BYTES = 256 << 10 }; // of a RunDetail, which is one message

static const char SQL_BEGIN[] = "BEGIN";
static const char SQL_END[] = "COMMIT";
static const char SQL_RUN[] = "SELECT " RUN_SUMMARY_COLUMNS ", j.spec, j.hash FROM runs r"
                              " JOIN jobs j ON j.id = r.job_id WHERE r.id = ?";
static const char SQL_SUMMARY[] = "SELECT " RUN_SUMMARY_COLUMNS " FROM runs r WHERE r.id = ?";
static const char SQL_ATTEMPTS[] = "SELECT number, started_ms, ended_ms, outcome, reason, resumed_from_step"
                                   " FROM attempts WHERE run_id = ? ORDER BY number";
static const char SQL_RANKS[] = "SELECT rank, host, pid, device FROM attempt_ranks WHERE run_id = ? AND attempt = ?"
                                " ORDER BY rank";
static const char SQL_EVENTS[] = "SELECT time_ms, state, text FROM events WHERE run_id = ? ORDER BY id";
static const char SQL_MEMBERS[] = "SELECT state, count(*) FROM runs WHERE parent_id = ? GROUP BY state";
static const char SQL_BELOW[] =
    "WITH RECURSIVE below (id) AS (SELECT id FROM runs WHERE parent_id = ?"
    " UNION ALL SELECT r.id FROM runs r JOIN below b ON r.parent_id = b.id)"
    " SELECT count(*), sum(steps > 0), sum(min(step, steps)), sum(steps),"
    " sum(CASE WHEN state BETWEEN 2 AND 4 THEN ranks ELSE 0 END) FROM runs JOIN below USING (id) WHERE grouped = 0";
static const char SQL_NEWEST[] = "SELECT max(id) FROM runs WHERE user = ? AND parent_id IS NULL";
static const char SQL_COUNTS[] = "SELECT state, count(*) FROM runs WHERE grouped = 0 OR joining GROUP BY state";

static void fill_summary(Islr__RunSummary *s, sqlite3_stmt *q, struct pool *pool)
{
    s->has_run = s->has_state = s->has_priority = s->has_submitted_ms = s->has_started_ms = s->has_ended_ms = 1;
    s->has_attempt = s->has_ranks = s->has_step = s->has_steps = 1;
    s->run = (uint64_t)sqlite3_column_int64(q, 0);
    s->name = pool_text(pool, (const char *)sqlite3_column_text(q, 1));
    s->user = pool_text(pool, (const char *)sqlite3_column_text(q, 2));
    s->state = (Islr__RunState)sqlite3_column_int(q, 3);
    s->reason = pool_text(pool, (const char *)sqlite3_column_text(q, 4));
    s->priority = sqlite3_column_int(q, 5);
    s->submitted_ms = sqlite3_column_int64(q, 6);
    s->started_ms = sqlite3_column_int64(q, 7);
    s->ended_ms = sqlite3_column_int64(q, 8);
    s->attempt = (uint32_t)sqlite3_column_int64(q, 9);
    s->ranks = (uint32_t)sqlite3_column_int64(q, 10);
    s->step = (uint64_t)sqlite3_column_int64(q, 11);
    s->steps = (uint64_t)sqlite3_column_int64(q, 12);
    s->kind = pool_text(pool, (const char *)sqlite3_column_text(q, 13));
    s->parent = (uint64_t)sqlite3_column_int64(q, 15);
    s->has_parent = s->parent != 0;
    enum run_group group = (enum run_group)sqlite3_column_int(q, 16);
    s->group = group ? pool_text(pool, run_group_name(group)) : NULL;
}

Islr__RunSummary *run_summary_make(sqlite3_stmt *q, struct pool *pool)
{
    // The column `final` is a packed RunSummary that holds the final values alone; the rest is filled in around them.
    Islr__RunSummary *s = (Islr__RunSummary *)pool_unpack(
        pool, &islr__run_summary__descriptor, sqlite3_column_blob(q, 14), (size_t)sqlite3_column_bytes(q, 14));
    if (!s) { // damaged: the run is shown without them
        s = pool_alloc(pool, sizeof *s);
        islr__run_summary__init(s);
    }
    fill_summary(s, q, pool);
    return s;
}

// Whether `at` begins with a length of one byte and as many bytes up to `end`; *inner is where they begin.
static int is_short_field(const uint8_t *at, const uint8_t *end, uint8_t tag, const uint8_t **inner)
{
    *inner = at + 2;
    return end - at >= 2 && at[0] == tag && at[1] < 0x80 && end - *inner >= at[1];
}

// One `final` (field 15) of a name (field 1) and a value (field 2, 8 bytes), as metric_write.c packs it. What looks
// otherwise, with names longer than 100 bytes, goes the long way.
struct plain_final {
    const uint8_t *begin, *end;
    const char *name; // [length]
    size_t length;
};

static int read_plain_final(const uint8_t *at, const uint8_t *end, struct plain_final *out)
{
    const uint8_t *value, *name;
    if (!is_short_field(at, end, 15 << 3 | 2, &value))
        return 0;
    *out = (struct plain_final){.begin = at, .end = value + at[1]};
    if (!is_short_field(value, out->end, 1 << 3 | 2, &name) || out->end - (name + value[1]) != 9 ||
        name[value[1]] != (2 << 3 | 1))
        return 0;
    out->name = (const char *)name;
    out->length = value[1];
    return 1;
}

// The place of a name among those that are wanted; none is wanted in particular: 0 for all.
static size_t place_of(const Islr__ListRuns *filter, const char *name, size_t length)
{
    size_t i = 0;
    while (i < filter->n_first_of && (strncmp(filter->first_of[i], name, length) || filter->first_of[i][length]))
        i++;
    return i;
}

// The part of the bytes that is wanted; 0: they are not plain.
static int choose_plain(const Islr__ListRuns *filter, const uint8_t **bytes, size_t *size)
{
    const uint8_t *at = *bytes, *end = at + *size;
    struct plain_final one, found = {0};
    for (size_t best = filter->n_first_of; at < end; at = one.end) {
        if (!read_plain_final(at, end, &one))
            return 0;
        size_t place = place_of(filter, one.name, one.length);
        if (place < best) {
            best = place;
            found = one;
        }
    }
    if (filter->n_first_of) {
        *bytes = found.begin;
        *size = (size_t)(found.end - found.begin);
    }
    return 1;
}

static void choose_final(Islr__RunSummary *s, const Islr__ListRuns *filter)
{
    size_t best = filter->n_first_of;
    Islr__Value *found = NULL;
    for (size_t i = 0; i < s->n_final; i++) {
        size_t place = place_of(filter, s->final[i]->name, strlen(s->final[i]->name));
        if (place < best) {
            best = place;
            found = s->final[i];
        }
    }
    if (!filter->n_first_of)
        return;
    s->n_final = found != NULL;
    if (found)
        s->final[0] = found;
}

Islr__RunSummary *run_summary_make_packed(sqlite3_stmt *q, const Islr__ListRuns *filter, struct pool *pool)
{
    const uint8_t *final = sqlite3_column_blob(q, 14);
    size_t size = (size_t)sqlite3_column_bytes(q, 14);
    if (!choose_plain(filter, &final, &size)) {
        Islr__RunSummary *whole = run_summary_make(q, pool);
        choose_final(whole, filter);
        return whole;
    }
    Islr__RunSummary *s = pool_alloc(pool, sizeof *s);
    islr__run_summary__init(s);
    fill_summary(s, q, pool);
    if (size) {
        s->base.unknown_fields = pool_alloc(pool, sizeof *s->base.unknown_fields);
        s->base.n_unknown_fields = 1;
        *s->base.unknown_fields = (ProtobufCMessageUnknownField){15, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, size - 1,
                                                                 (uint8_t *)pool_copy(pool, final + 1, size - 1)};
    }
    return s;
}

// Steps and ranks are those of the runs that do the work, however deep they are.
static int add_work(struct db *db, Islr__RunSummary *s, struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_BELOW, db_uint(s->run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return rc;
    uint64_t runs = (uint64_t)sqlite3_column_int64(q, 0), begun = (uint64_t)sqlite3_column_int64(q, 1);
    uint64_t steps = (uint64_t)sqlite3_column_int64(q, 3);
    s->step = (uint64_t)sqlite3_column_int64(q, 2);
    s->steps = begun ? (uint64_t)((double)steps / (double)begun * (double)runs + 0.5) : 0;
    s->ranks = (uint32_t)sqlite3_column_int64(q, 4);
    db_reset(q);
    return 0;
}

int run_summary_group(struct db *db, Islr__RunSummary *s, struct error *e)
{
    int rc;
    if (!s->group)
        return 0;
    sqlite3_stmt *q = db_query(db, e, SQL_MEMBERS, db_uint(s->run));
    if (!q)
        return -1;
    s->has_children = s->has_children_ended = s->has_children_failed = s->has_children_running = 1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__RunState state = (Islr__RunState)sqlite3_column_int(q, 0);
        uint32_t count = (uint32_t)sqlite3_column_int64(q, 1);
        s->children += count;
        s->children_ended += run_state_ended(state) ? count : 0;
        s->children_failed += run_state_ended(state) && state != ISLR__RUN_STATE__RUN_SUCCEEDED ? count : 0;
        s->children_running += run_state_live(state) ? count : 0;
    }
    // What has not begun has no steps; those of a group that has ended are its own (group_keep_steps()).
    if (rc < 0 || !s->started_ms || run_state_ended(s->state))
        return rc;
    return add_work(db, s, e);
}

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

static int read_ranks(struct db *db, uint64_t run, struct pool *pool, Islr__Attempt *a, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_RANKS, db_uint(run), db_uint(a->number));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__RankInfo *k = pool_alloc(pool, sizeof *k);
        islr__rank_info__init(k);
        k->has_rank = k->has_pid = 1;
        k->rank = (uint32_t)sqlite3_column_int64(q, 0);
        k->host = pool_text(pool, (const char *)sqlite3_column_text(q, 1));
        k->pid = (uint32_t)sqlite3_column_int64(q, 2);
        k->device = pool_text(pool, (const char *)sqlite3_column_text(q, 3));
        a->ranks = pool_room(pool, a->ranks, a->n_ranks, sizeof *a->ranks);
        a->ranks[a->n_ranks++] = k;
    }
    return rc;
}

static int read_attempts(struct db *db, uint64_t run, struct pool *pool, Islr__RunDetail *d, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_ATTEMPTS, db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__Attempt *a = pool_alloc(pool, sizeof *a);
        islr__attempt__init(a);
        a->has_number = a->has_started_ms = a->has_ended_ms = a->has_resumed_from_step = 1;
        a->number = (uint32_t)sqlite3_column_int64(q, 0);
        a->started_ms = sqlite3_column_int64(q, 1);
        a->ended_ms = sqlite3_column_int64(q, 2);
        a->outcome = pool_text(pool, (const char *)sqlite3_column_text(q, 3));
        a->reason = pool_text(pool, (const char *)sqlite3_column_text(q, 4));
        a->resumed_from_step = (uint64_t)sqlite3_column_int64(q, 5);
        d->attempts = pool_room(pool, d->attempts, d->n_attempts, sizeof *d->attempts);
        d->attempts[d->n_attempts++] = a;
    }
    for (size_t i = 0; !rc && i < d->n_attempts; i++)
        rc = read_ranks(db, run, pool, d->attempts[i], e);
    return rc;
}

static int read_events(struct db *db, uint64_t run, struct pool *pool, Islr__RunDetail *d, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_EVENTS, db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__Event *event = pool_alloc(pool, sizeof *event);
        islr__event__init(event);
        event->has_time_ms = 1;
        event->time_ms = sqlite3_column_int64(q, 0);
        event->has_state = sqlite3_column_type(q, 1) != SQLITE_NULL;
        event->state = (Islr__RunState)sqlite3_column_int(q, 1);
        event->text = pool_text(pool, (const char *)sqlite3_column_text(q, 2));
        d->events = pool_room(pool, d->events, d->n_events, sizeof *d->events);
        d->events[d->n_events++] = event;
    }
    return rc;
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
             checkpoint_list_newest(reader, run, DETAIL_CHECKPOINT_BYTES, pool, &d->checkpoints, &d->n_checkpoints,
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
