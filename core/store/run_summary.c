// A row of the table runs as a RunSummary: see run_summary.h.
#include "core/store/run_summary.h"

#include <string.h>

#include "core/store/run.h"

static const char SQL_MEMBERS[] = "SELECT state, count(*) FROM runs WHERE parent_id = ? GROUP BY state";
static const char SQL_BELOW[] =
    "WITH RECURSIVE below (id) AS (SELECT id FROM runs WHERE parent_id = ?"
    " UNION ALL SELECT r.id FROM runs r JOIN below b ON r.parent_id = b.id)"
    " SELECT count(*), sum(steps > 0), sum(min(step, steps)), sum(steps),"
    " sum(CASE WHEN state BETWEEN 2 AND 4 THEN ranks ELSE 0 END) FROM runs JOIN below USING (id) WHERE grouped = 0";

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
