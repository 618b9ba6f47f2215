// Checkpoints that nobody needs any more: see gc.h.
#include "core/store/gc.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/store/db.h"

static const char SQL_JOBS[] = "SELECT j.spec FROM runs r JOIN jobs j ON j.id = r.job_id WHERE r.state <= 4";
static const char SQL_JOB[] = "SELECT j.spec FROM runs r JOIN jobs j ON j.id = r.job_id WHERE r.id = ?";
// A run's checkpoints, newest epoch first, of one kind and epoch the newest first.
static const char SQL_CHECKPOINTS[] =
    "SELECT c.id, c.run_id, c.what, c.epoch, c.step, a.sha256, a.size_bytes, c.time_ms, c.artifact_id,"
    " c.pinned OR EXISTS (SELECT 1 FROM soup_members m WHERE m.member_id = c.id),"
    " (SELECT max(value) FROM checkpoint_values v WHERE v.checkpoint_id = c.id AND v.name LIKE 'accuracy%')"
    " FROM runs r JOIN checkpoints c ON c.run_id = r.id JOIN artifacts a ON a.id = c.artifact_id"
    " LEFT JOIN runs p ON p.id = r.parent_id"
    " WHERE r.state >= 5 AND c.what <> 'resume' AND (p.id IS NULL OR p.state >= 5) AND (?1 IS NULL OR r.user = ?1)"
    " AND (r.state = 5 OR NOT EXISTS (SELECT 1 FROM checkpoints x WHERE x.run_id = r.id AND x.what = 'resume'))"
    " ORDER BY c.run_id, c.epoch DESC, c.what, c.id DESC";
static const char SQL_REFERENCES[] = "SELECT count(*) FROM checkpoints WHERE artifact_id = ?";
static const char SQL_DROP[] = "DELETE FROM checkpoints WHERE id = ?";
static const char SQL_RELEASE[] = "UPDATE artifacts SET touched_ms = 0 WHERE sha256 = ?";

struct candidate {
    Islr__CheckpointInfo *info;
    int64_t artifact;
    int needed;      // pinned, an ingredient, or named by a job
    double accuracy; // -1: not known
    int drop;
};

struct search {
    struct db *db;
    struct pool *pool;
    struct candidate *items;
    size_t count, capacity;
    uint64_t *runs; // that jobs name, sorted
    size_t run_count, run_capacity;
    struct hash *hashes; // likewise
    size_t hash_count, hash_capacity;
};

// ---- what jobs name -------------------------------------------------------------------------------------------------

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash));
}

static void *room(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 64;
    return xrealloc(items, *capacity, size);
}

static void note_reference(struct search *s, const char *text)
{
    char *end;
    struct hash hash;
    if (!text)
        return;
    if (!strncmp(text, "sha256:", 7) && !hash_from_hex(text + 7, &hash)) {
        s->hashes = room(s->hashes, s->hash_count, &s->hash_capacity, sizeof *s->hashes);
        s->hashes[s->hash_count++] = hash;
    }
    unsigned long long run = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == ':') {
        s->runs = room(s->runs, s->run_count, &s->run_capacity, sizeof *s->runs);
        s->runs[s->run_count++] = run;
    }
}

static int note_references(struct search *s, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(s->db, e, SQL_JOBS);
    if (!q)
        return -1;
    while ((rc = db_step(s->db, q, e)) > 0) {
        Islr__JobSpec *job =
            islr__job_spec__unpack(NULL, (size_t)sqlite3_column_bytes(q, 0), sqlite3_column_blob(q, 0));
        if (!job)
            continue; // damaged: it names nothing that could be fetched
        if (job->init) {
            note_reference(s, job->init->student);
            note_reference(s, job->init->teacher);
            note_reference(s, job->init->distilled);
        }
        for (size_t i = 0; i < job->n_models; i++)
            note_reference(s, job->models[i]);
        islr__job_spec__free_unpacked(job, NULL);
    }
    if (s->run_count)
        qsort(s->runs, s->run_count, sizeof *s->runs, by_number);
    if (s->hash_count)
        qsort(s->hashes, s->hash_count, sizeof *s->hashes, by_hash);
    return rc;
}

static int is_named(const struct search *s, const Islr__CheckpointInfo *c)
{
    if (s->run_count && bsearch(&c->run, s->runs, s->run_count, sizeof *s->runs, by_number))
        return 1;
    return s->hash_count && c->sha256.len == sizeof(struct hash) &&
           bsearch(c->sha256.data, s->hashes, s->hash_count, sizeof *s->hashes, by_hash);
}

// ---- what there is --------------------------------------------------------------------------------------------------

static void add_candidate(struct search *s, sqlite3_stmt *q)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 256;
        s->items = xrealloc(s->items, s->capacity, sizeof *s->items);
    }
    Islr__CheckpointInfo *c = pool_alloc(s->pool, sizeof *c);
    islr__checkpoint_info__init(c);
    c->has_id = c->has_run = c->has_epoch = c->has_step = c->has_sha256 = c->has_size_bytes = c->has_time_ms = 1;
    c->id = (uint64_t)sqlite3_column_int64(q, 0);
    c->run = (uint64_t)sqlite3_column_int64(q, 1);
    c->what = pool_text(s->pool, (const char *)sqlite3_column_text(q, 2));
    c->epoch = (uint32_t)sqlite3_column_int64(q, 3);
    c->step = (uint64_t)sqlite3_column_int64(q, 4);
    c->sha256.len = (size_t)sqlite3_column_bytes(q, 5);
    c->sha256.data = pool_copy(s->pool, sqlite3_column_blob(q, 5), c->sha256.len);
    c->size_bytes = (uint64_t)sqlite3_column_int64(q, 6);
    c->time_ms = sqlite3_column_int64(q, 7);
    s->items[s->count++] =
        (struct candidate){.info = c,
                           .artifact = sqlite3_column_int64(q, 8),
                           .needed = sqlite3_column_int(q, 9) || is_named(s, c),
                           .accuracy = sqlite3_column_type(q, 10) == SQLITE_NULL ? -1 : sqlite3_column_double(q, 10)};
}

static int read_candidates(struct search *s, const char *as_user, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(s->db, e, SQL_CHECKPOINTS, db_text(as_user));
    if (!q)
        return -1;
    while ((rc = db_step(s->db, q, e)) > 0)
        add_candidate(s, q);
    return rc;
}

// How many epochs the run's job keeps.
static int read_policy(struct search *s, uint64_t run, uint32_t *latest, uint32_t *best, struct error *e)
{
    sqlite3_stmt *q = db_query(s->db, e, SQL_JOB, db_uint(run));
    int rc = q ? db_step(s->db, q, e) : -1;
    if (rc <= 0)
        return -1;
    Islr__JobSpec *job = islr__job_spec__unpack(NULL, (size_t)sqlite3_column_bytes(q, 0), sqlite3_column_blob(q, 0));
    const Islr__Checkpoint plain = ISLR__CHECKPOINT__INIT, *policy = job && job->checkpoint ? job->checkpoint : &plain;
    *latest = policy->keep_latest;
    *best = policy->keep_best;
    if (job)
        islr__job_spec__free_unpacked(job, NULL);
    db_reset(q);
    return 0;
}

// ---- what goes ------------------------------------------------------------------------------------------------------

// The epochs of one run, whose candidates are items[0 .. count), newest epoch first.
static void keep_latest(struct candidate *items, size_t count, uint32_t most)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < count && items[i].info->epoch; i++) {
        if (!i || items[i].info->epoch != items[i - 1].info->epoch)
            seen++;
        if (seen > most)
            return;
        items[i].drop = 0;
    }
}

static void keep_epoch(struct candidate *items, size_t count, uint32_t epoch)
{
    size_t low = 0, high = count; // to the first one of the epoch
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (items[middle].info->epoch > epoch)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && items[low].info->epoch == epoch; low++)
        items[low].drop = 0;
}

// Of equals the later epoch.
static int best_first(const void *a, const void *b)
{
    const struct candidate *x = *(struct candidate *const *)a, *y = *(struct candidate *const *)b;
    if (x->accuracy != y->accuracy)
        return x->accuracy > y->accuracy ? -1 : 1;
    return x->info->epoch > y->info->epoch ? -1 : x->info->epoch < y->info->epoch;
}

// By the accuracy of the distilled model, or the student's where nothing is distilled.
static void keep_best(struct candidate *items, size_t count, uint32_t most)
{
    const char *judged = "student";
    struct candidate **ranked = xmalloc(count * sizeof *ranked);
    size_t rated = 0;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(items[i].info->what, "distilled"))
            judged = "distilled";
    for (size_t i = 0; i < count; i++)
        if (items[i].info->epoch && !strcmp(items[i].info->what, judged) && items[i].accuracy >= 0)
            ranked[rated++] = &items[i];
    qsort(ranked, rated, sizeof *ranked, best_first);
    uint32_t kept = 0;
    for (size_t i = 0; i < rated && kept < most; i++) {
        if (i && !best_first(&ranked[i - 1], &ranked[i]))
            continue; // the same again, of another attempt
        keep_epoch(items, count, ranked[i]->info->epoch);
        kept++;
    }
    free(ranked);
}

// A later attempt has made the same.
static int is_superseded(const struct candidate *items, size_t at)
{
    const Islr__CheckpointInfo *c = items[at].info, *before = at ? items[at - 1].info : NULL;
    return before && before->epoch == c->epoch && !strcmp(before->what, c->what);
}

static int judge_run(struct search *s, struct candidate *items, size_t count, struct error *e)
{
    uint32_t latest, best;
    if (read_policy(s, items[0].info->run, &latest, &best, e))
        return -1;
    for (size_t i = 0; i < count; i++)
        items[i].drop = items[i].info->epoch > 0;
    keep_latest(items, count, latest);
    keep_best(items, count, best);
    for (size_t i = 0; i < count; i++) {
        items[i].drop |= is_superseded(items, i);
        items[i].drop &= !items[i].needed;
    }
    return 0;
}

static int by_artifact(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->artifact < y->artifact ? -1 : x->artifact > y->artifact;
}

// What is left of an artifact's references when all of the dropped ones are gone.
static int add_bytes(struct search *s, struct gc_found *out, struct error *e)
{
    qsort(s->items, s->count, sizeof *s->items, by_artifact);
    for (size_t first = 0, end; first < s->count; first = end) {
        int64_t references, dropped = 0;
        for (end = first; end < s->count && s->items[end].artifact == s->items[first].artifact; end++)
            dropped += s->items[end].drop;
        if (!dropped)
            continue;
        if (db_number(s->db, e, SQL_REFERENCES, 0, &references, db_int(s->items[first].artifact)))
            return -1;
        out->bytes += references == dropped ? s->items[first].info->size_bytes : 0;
    }
    return 0;
}

static int search(struct search *s, const char *as_user, struct gc_found *out, struct error *e)
{
    memset(out, 0, sizeof *out);
    if (note_references(s, e) || read_candidates(s, as_user, e))
        return -1;
    for (size_t first = 0, end; first < s->count; first = end) {
        for (end = first + 1; end < s->count && s->items[end].info->run == s->items[first].info->run;)
            end++;
        if (judge_run(s, s->items + first, end - first, e))
            return -1;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!s->items[i].drop)
            continue;
        out->items = pool_room(s->pool, out->items, out->count, sizeof *out->items);
        out->items[out->count++] = s->items[i].info;
    }
    return out->count ? add_bytes(s, out, e) : 0;
}

static int find(struct db *db, const char *as_user, struct pool *pool, struct gc_found *out, struct error *e)
{
    struct search s = {.db = db, .pool = pool};
    int rc = search(&s, as_user, out, e);
    free(s.items);
    free(s.runs);
    free(s.hashes);
    return rc;
}

int gc_find(struct store_reader *reader, const char *as_user, struct pool *pool, struct gc_found *out, struct error *e)
{
    return find(store_reader_db(reader), as_user, pool, out, e);
}

static int apply(struct db *db, struct store_op *op, struct error *e)
{
    struct gc_run *r = (struct gc_run *)op;
    if (find(db, r->as_user, &r->pool, &r->found, e))
        return -1;
    for (size_t i = 0; i < r->found.count; i++) {
        const Islr__CheckpointInfo *c = r->found.items[i];
        if (db_run(db, e, SQL_DROP, db_uint(c->id)) ||
            db_run(db, e, SQL_RELEASE, db_blob(c->sha256.data, c->sha256.len)))
            return -1;
    }
    return 0;
}

void gc_run_prepare(struct gc_run *r)
{
    r->op.apply = apply;
}
