// Checkpoints: see checkpoint.h.
#include "core/store/checkpoint.h"

#include <string.h>

#include "core/base/hash.h"
#include "core/spec/bounds.h"
#include "core/store/artifact_row.h"
#include "core/store/db.h"
#include "core/store/record.h"
#include "core/store/retention.h"

enum { WHAT_MAX = 64, VALUES_MAX = 256 };
enum { CHECKPOINT_FRAME_BYTES = 8 }; // what a CheckpointInfo in a message has beside itself: its tag and length

_Static_assert((int)BOUND_LIST_MAX <= (int)BOUND_SOUP_MAX, "a soup of all models that a job may name can be kept");

static const char SQL_OPEN[] = "SELECT ended_ms = 0 FROM attempts WHERE run_id = ? AND number = ?";
static const char SQL_FIND[] = "SELECT id FROM checkpoints WHERE run_id = ? AND attempt = ? AND what = ? AND epoch = ?"
                               " AND step = ? AND artifact_id = ?";
static const char SQL_ADD[] = "INSERT INTO checkpoints (run_id, attempt, what, epoch, step, time_ms, artifact_id)"
                              " VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char SQL_VALUE[] = "INSERT OR REPLACE INTO checkpoint_values (checkpoint_id, name, value)"
                                " VALUES (?, ?, ?)";
static const char SQL_SOUP[] = "INSERT INTO soups (checkpoint_id) VALUES (?)";
static const char SQL_MEMBER[] = "INSERT INTO soup_members (soup_id, position, member_id) VALUES (?, ?, ?)";
// The ingredient that a hash means: this run's newest checkpoint with that content, else any run's.
static const char SQL_MEMBER_FIND[] = "SELECT c.id FROM checkpoints c JOIN artifacts a ON a.id = c.artifact_id"
                                      " WHERE a.sha256 = ? ORDER BY c.run_id = ? DESC, c.id DESC LIMIT 1";
static const char SQL_OWNED[] = "SELECT ?2 IS NULL OR r.user = ?2 FROM checkpoints c JOIN runs r ON r.id = c.run_id"
                                " WHERE c.id = ?1";
static const char SQL_PIN[] = "UPDATE checkpoints SET pinned = ? WHERE id = ?";
#define LISTED                                                                                                         \
    "SELECT c.id, c.what, c.epoch, c.step, a.sha256, a.size_bytes, c.time_ms, c.pinned, a.lost_ms <> 0"                \
    " FROM checkpoints c JOIN artifacts a ON a.id = c.artifact_id WHERE c.run_id = ?1"
static const char SQL_LIST[] = LISTED " AND c.id > ?2 ORDER BY c.id";
static const char SQL_NEWEST[] = LISTED " ORDER BY c.id DESC";
static const char SQL_COUNT[] = "SELECT count(*) FROM checkpoints WHERE run_id = ?";
static const char SQL_KINDS[] = "SELECT DISTINCT c.what, c.epoch FROM artifacts a"
                                " JOIN checkpoints c INDEXED BY checkpoints_by_artifact ON c.artifact_id = a.id"
                                " WHERE a.sha256 = ? AND c.run_id = ?"; // or all of the run's would be gone through
static const char SQL_OF_RUN[] = "SELECT 1 FROM artifacts a JOIN checkpoints c ON c.artifact_id = a.id"
                                 " WHERE a.sha256 = ?1 AND c.run_id = ?2 LIMIT 1";
static const char SQL_BELOW[] = "SELECT 1 FROM artifacts a JOIN checkpoints c ON c.artifact_id = a.id"
                                " JOIN runs r ON r.id = c.run_id WHERE a.sha256 = ?1 AND r.parent_id = ?2 LIMIT 1";
static const char SQL_LIST_MEMBERS[] = "SELECT member_id FROM soup_members WHERE soup_id = ? ORDER BY position";
static const char SQL_LIST_VALUES[] = "SELECT name, value FROM checkpoint_values WHERE checkpoint_id = ?";

// ---- adding ---------------------------------------------------------------------------------------------------------

int checkpoint_check(const Islr__AddCheckpoint *m, struct error *e)
{
    const Islr__CheckpointInfo *c = m->checkpoint;
    const char *wrong = NULL;
    if (!c || !c->what || !*c->what || strlen(c->what) > WHAT_MAX)
        wrong = "it does not say what it is";
    else if (c->sha256.len != sizeof((struct hash *)0)->bytes)
        wrong = "its hash is not 32 bytes";
    else if (m->n_member_hashes > BOUND_SOUP_MAX || c->n_metrics > VALUES_MAX)
        wrong = "it has too many ingredients or figures";
    for (size_t i = 0; !wrong && i < m->n_member_hashes; i++)
        if (m->member_hashes[i].len != sizeof((struct hash *)0)->bytes)
            wrong = "the hash of an ingredient is not 32 bytes";
    for (size_t i = 0; !wrong && i < c->n_metrics; i++)
        if (!c->metrics[i]->name || !*c->metrics[i]->name || strlen(c->metrics[i]->name) > RECORD_NAME_MAX)
            wrong = "one of its figures has no name, or too long a one";
    if (!wrong)
        return 0;
    return error_set(e, ERR_INVALID, "a checkpoint of run %llu cannot be taken: %s", (unsigned long long)m->run, wrong);
}

static int add_soup(struct db *db, const struct checkpoint_add *r, struct error *e)
{
    const Islr__AddCheckpoint *m = r->message;
    if (!m->n_member_hashes)
        return 0;
    if (db_run(db, e, SQL_SOUP, db_uint(r->id)))
        return -1;
    for (size_t i = 0; i < m->n_member_hashes; i++) {
        int64_t member;
        if (db_number(db, e, SQL_MEMBER_FIND, 0, &member, db_blob(m->member_hashes[i].data, m->member_hashes[i].len),
                      db_uint(m->run)))
            return -1;
        if (!member)
            return error_set(e, ERR_NOT_FOUND, "ingredient %zu of a soup of run %llu is no checkpoint of this server",
                             i + 1, (unsigned long long)m->run);
        if (db_run(db, e, SQL_MEMBER, db_uint(r->id), db_uint(i), db_int(member)))
            return -1;
    }
    return 0;
}

static int add_new(struct db *db, struct checkpoint_add *r, int64_t artifact, struct error *e)
{
    const Islr__AddCheckpoint *m = r->message;
    const Islr__CheckpointInfo *c = m->checkpoint;
    if (db_run(db, e, SQL_ADD, db_uint(m->run), db_uint(m->attempt), db_text(c->what), db_uint(c->epoch),
               db_uint(c->step), db_int(c->has_time_ms ? c->time_ms : r->time_ms), db_int(artifact)))
        return -1;
    r->id = (uint64_t)db_last_id(db);
    for (size_t i = 0; i < c->n_metrics; i++)
        if (db_run(db, e, SQL_VALUE, db_uint(r->id), db_text(c->metrics[i]->name), db_real(c->metrics[i]->value)))
            return -1;
    if (add_soup(db, r, e))
        return -1;
    return strcmp(c->what, "resume") ? 0 : retention_keep_resume(db, m->run, RETENTION_RESUME_POINTS, e);
}

static int apply_add(struct db *db, struct store_op *op, struct error *e)
{
    struct checkpoint_add *r = (struct checkpoint_add *)op;
    const Islr__AddCheckpoint *m = r->message;
    const Islr__CheckpointInfo *c = m->checkpoint;
    struct hash hash;
    char hex[65];
    int64_t open, artifact, id;
    memcpy(hash.bytes, c->sha256.data, sizeof hash.bytes);
    r->existed = 0;
    if (reporter_check(db, r->by, m->run, m->attempt, e) ||
        db_number(db, e, SQL_OPEN, -1, &open, db_uint(m->run), db_uint(m->attempt)) ||
        artifact_of_run(db, &hash, r->by ? m->run : 0, &artifact, e) ||
        db_number(db, e, SQL_FIND, 0, &id, db_uint(m->run), db_uint(m->attempt), db_text(c->what), db_uint(c->epoch),
                  db_uint(c->step), db_int(artifact)))
        return -1;
    r->id = (uint64_t)id;
    r->existed = id != 0;
    if (id)
        return 0;
    if (open != 1)
        return error_set(e, ERR_NOT_FOUND, "attempt %u of run %llu %s", m->attempt, (unsigned long long)m->run,
                         open < 0 ? "is not known" : "has ended");
    hash_to_hex(&hash, hex);
    if (!artifact)
        return error_set(e, ERR_NOT_FOUND, "the file of a checkpoint (%s) of run %llu, %s, has not been uploaded by it",
                         c->what, (unsigned long long)m->run, hex);
    return add_new(db, r, artifact, e) || artifact_named(db, m->run, artifact, e) ? -1 : 0;
}

void checkpoint_add_prepare(struct checkpoint_add *r)
{
    r->op.apply = apply_add;
}

static int apply_pin(struct db *db, struct store_op *op, struct error *e)
{
    struct checkpoint_pin *r = (struct checkpoint_pin *)op;
    int64_t owned;
    if (db_number(db, e, SQL_OWNED, -1, &owned, db_uint(r->id), db_text(r->as_user)))
        return -1;
    if (owned < 0)
        return error_set(e, ERR_NOT_FOUND, "there is no checkpoint %llu", (unsigned long long)r->id);
    if (!owned)
        return error_set(e, ERR_DENIED, "checkpoint %llu is another user's, and %s is no admin",
                         (unsigned long long)r->id, r->as_user);
    return db_run(db, e, SQL_PIN, db_int(r->pinned != 0), db_uint(r->id));
}

void checkpoint_pin_prepare(struct checkpoint_pin *r)
{
    r->op.apply = apply_pin;
}

// ---- reading --------------------------------------------------------------------------------------------------------

struct listing {
    struct db *db;
    struct pool *pool;
    Islr__CheckpointInfo **items;
    size_t count, bytes; // bytes: of a message
};

static int list_members(struct listing *l, Islr__CheckpointInfo *c, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(l->db, e, SQL_LIST_MEMBERS, db_uint(c->id));
    if (!q)
        return -1;
    while ((rc = db_step(l->db, q, e)) > 0) {
        c->members = pool_room(l->pool, c->members, c->n_members, sizeof *c->members);
        c->members[c->n_members++] = (uint64_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

static int list_values(struct listing *l, Islr__CheckpointInfo *c, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(l->db, e, SQL_LIST_VALUES, db_uint(c->id));
    if (!q)
        return -1;
    while ((rc = db_step(l->db, q, e)) > 0) {
        Islr__Value *v = pool_alloc(l->pool, sizeof *v);
        islr__value__init(v);
        v->name = pool_text(l->pool, (const char *)sqlite3_column_text(q, 0));
        v->has_value = sqlite3_column_type(q, 1) != SQLITE_NULL;
        v->value = sqlite3_column_double(q, 1);
        c->metrics = pool_room(l->pool, c->metrics, c->n_metrics, sizeof *c->metrics);
        c->metrics[c->n_metrics++] = v;
    }
    return rc;
}

static Islr__CheckpointInfo *make_info(struct listing *l, uint64_t run, sqlite3_stmt *q)
{
    Islr__CheckpointInfo *c = pool_alloc(l->pool, sizeof *c);
    islr__checkpoint_info__init(c);
    c->has_id = c->has_run = c->has_epoch = c->has_step = c->has_sha256 = 1;
    c->has_size_bytes = c->has_time_ms = c->has_pinned = 1;
    c->id = (uint64_t)sqlite3_column_int64(q, 0);
    c->run = run;
    c->what = pool_text(l->pool, (const char *)sqlite3_column_text(q, 1));
    c->epoch = (uint32_t)sqlite3_column_int64(q, 2);
    c->step = (uint64_t)sqlite3_column_int64(q, 3);
    c->sha256.len = (size_t)sqlite3_column_bytes(q, 4);
    c->sha256.data = pool_copy(l->pool, sqlite3_column_blob(q, 4), c->sha256.len);
    c->size_bytes = (uint64_t)sqlite3_column_int64(q, 5);
    c->time_ms = sqlite3_column_int64(q, 6);
    c->pinned = sqlite3_column_int(q, 7);
    c->has_lost = c->lost = sqlite3_column_int(q, 8);
    return c;
}

static int list_row(struct listing *l, uint64_t run, sqlite3_stmt *q, struct error *e)
{
    Islr__CheckpointInfo *c = make_info(l, run, q);
    if (list_members(l, c, e) || list_values(l, c, e))
        return -1;
    l->items = pool_room(l->pool, l->items, l->count, sizeof *l->items);
    l->items[l->count++] = c;
    l->bytes += islr__checkpoint_info__get_packed_size(c) + CHECKPOINT_FRAME_BYTES;
    return 0;
}

int checkpoint_list(struct store_reader *reader, const struct checkpoint_query *query, struct pool *pool,
                    Islr__CheckpointInfo ***out, size_t *count, struct error *e)
{
    struct listing l = {.db = store_reader_db(reader), .pool = pool};
    int rc;
    sqlite3_stmt *q = db_query(l.db, e, SQL_LIST, db_uint(query->run), db_uint(query->after));
    if (!q)
        return -1;
    while ((rc = db_step(l.db, q, e)) > 0 && l.count < query->most && l.bytes < query->bytes) {
        if (list_row(&l, query->run, q, e)) {
            rc = -1;
            break;
        }
    }
    db_reset(q);
    *out = l.items;
    *count = l.count;
    return rc;
}

int checkpoint_list_newest(struct store_reader *reader, uint64_t run, size_t bytes, struct pool *pool,
                           Islr__CheckpointInfo ***out, size_t *count, uint64_t *all, struct error *e)
{
    struct listing l = {.db = store_reader_db(reader), .pool = pool};
    int64_t total;
    int rc;
    if (db_number(l.db, e, SQL_COUNT, 0, &total, db_uint(run)))
        return -1;
    sqlite3_stmt *q = db_query(l.db, e, SQL_NEWEST, db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(l.db, q, e)) > 0 && !(rc = list_row(&l, run, q, e)) && l.bytes <= bytes)
        ;
    db_reset(q);
    l.count -= l.bytes > bytes;
    for (size_t i = 0; i < l.count / 2; i++) { // oldest first
        Islr__CheckpointInfo *c = l.items[i];
        l.items[i] = l.items[l.count - 1 - i];
        l.items[l.count - 1 - i] = c;
    }
    *out = l.items;
    *count = l.count;
    *all = (uint64_t)total;
    return rc < 0 ? -1 : 0;
}

int checkpoint_list_of(struct store_reader *reader, const struct hash *artifact, uint64_t run, struct pool *pool,
                       Islr__CheckpointInfo ***out, size_t *count, struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc;
    *out = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_KINDS, db_blob(artifact->bytes, sizeof artifact->bytes), db_uint(run));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        Islr__CheckpointInfo *c = pool_alloc(pool, sizeof *c);
        islr__checkpoint_info__init(c);
        c->what = pool_text(pool, (const char *)sqlite3_column_text(q, 0));
        c->epoch = (uint32_t)sqlite3_column_int64(q, 1);
        *out = pool_room(pool, *out, *count, sizeof **out);
        (*out)[(*count)++] = c;
    }
    return rc;
}

int checkpoint_is_of(struct store_reader *reader, const struct hash *artifact, uint64_t run, int below, struct error *e)
{
    int64_t found;
    if (db_number(store_reader_db(reader), e, below ? SQL_BELOW : SQL_OF_RUN, 0, &found,
                  db_blob(artifact->bytes, sizeof artifact->bytes), db_uint(run)))
        return -1;
    return found != 0;
}
