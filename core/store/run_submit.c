// A new run or group: see run.h. All of a submission is one request: the idempotency key, the jobs, the runs, what they
// wait for. The members of a large group come later (expansion.c); their numbers belong to it from the beginning.
#include <string.h>

#include "core/store/expansion.h"
#include "core/store/run_row.h"

static const char SQL_KEY_FIND[] = "SELECT run_id FROM submit_keys WHERE user = ? AND key = ?";
static const char SQL_KEY_ADD[] = "INSERT INTO submit_keys (user, key, run_id) VALUES (?, ?, ?)";
static const char SQL_JOB_FIND[] = "SELECT id FROM jobs WHERE hash = ?";
static const char SQL_JOB_ADD[] = "INSERT INTO jobs (hash, kind, spec) VALUES (?, ?, ?)";
static const char SQL_ADD[] =
    "INSERT INTO runs (id, job_id, parent_id, grouped, name, user, kind, state, reason, priority,"
    " after_any, max_attempts, submitted_ms, changed_ms, last_seq)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?13, ?13, 1)";
static const char SQL_EVENT[] = "INSERT INTO events (run_id, time_ms, state, attempt, seq, text)"
                                " VALUES (?, ?, ?, 0, 1, ?)";
static const char SQL_AFTER[] = "INSERT OR IGNORE INTO run_after (run_id, after_id) VALUES (?, ?)";

// 1: the key is known, r->now says what became of it.
static int find_by_key(struct db *db, struct run_submit *r, struct error *e)
{
    int64_t run;
    if (!r->key || !*r->key)
        return 0;
    if (db_number(db, e, SQL_KEY_FIND, 0, &run, db_text(r->user), db_text(r->key)))
        return -1;
    if (!run)
        return 0;
    r->existed = 1;
    return run_row_load(db, (uint64_t)run, &r->now, e) ? -1 : 1;
}

static int64_t find_or_add_job(struct db *db, const struct run_submit *r, const struct run_member *m, struct error *e)
{
    int64_t job;
    struct db_value hash = db_blob(m->job_hash.bytes, sizeof m->job_hash.bytes);
    if (db_number(db, e, SQL_JOB_FIND, 0, &job, hash))
        return -1;
    if (job)
        return job;
    if (db_run(db, e, SQL_JOB_ADD, hash, db_text(r->kind), db_blob(m->spec, m->spec_size)))
        return -1;
    return db_last_id(db);
}

static int check_after(struct db *db, const struct run_submit *r, struct error *e)
{
    struct run_now other;
    for (size_t i = 0; i < r->after_count; i++) {
        if (run_row_load(db, r->after[i], &other, e))
            return error_prefix(e, "after");
        if (!r->after_any && run_state_ended(other.state) && other.state != ISLR__RUN_STATE__RUN_SUCCEEDED)
            return error_set(e, ERR_INVALID, "after: run %llu has already %s, so this one could never start",
                             (unsigned long long)other.run,
                             other.state == ISLR__RUN_STATE__RUN_FAILED ? "failed" : "been cancelled");
    }
    return 0;
}

static int check_named(struct db *db, const struct run_submit *r, struct error *e)
{
    struct run_now other;
    for (size_t i = 0; i < r->named_count; i++)
        if (run_row_load(db, r->named[i].run, &other, e))
            return error_prefix(e, "%s", r->named[i].field);
    return 0;
}

// m->parent -2: it belongs to no group and gets the next number. A group's members have the numbers behind its own.
static int add_run(struct db *db, const struct run_submit *r, struct run_member *m, size_t at, struct error *e)
{
    const struct db_value none = {.type = DB_NULL};
    int alone = m->parent < -1;
    struct db_value id = alone ? none : db_uint(r->now.run + 1 + at);
    struct db_value parent = alone ? none : db_uint(r->now.run + (uint64_t)(m->parent + 1));
    Islr__RunState state = r->hold ? ISLR__RUN_STATE__RUN_HELD : ISLR__RUN_STATE__RUN_QUEUED;
    int64_t job = find_or_add_job(db, r, m, e);
    if (job < 0 || db_run(db, e, SQL_ADD, id, db_int(job), parent, db_int(m->group), db_text(m->name), db_text(r->user),
                          db_text(r->kind), db_int(state), db_text(m->group ? "none of its runs has begun" : ""),
                          db_int(r->priority), db_int(r->after_any != 0), db_int(m->max_attempts), db_int(r->time_ms)))
        return -1;
    m->run = (uint64_t)db_last_id(db);
    if (db_run(db, e, SQL_EVENT, db_uint(m->run), db_int(r->time_ms), db_int(state), db_text("submitted")))
        return -1;
    for (size_t i = 0; i < r->after_count && !m->group; i++)
        if (db_run(db, e, SQL_AFTER, db_uint(m->run), db_uint(r->after[i])))
            return -1;
    return 0;
}

int run_submit_members(struct db *db, const struct run_submit *r, size_t first, struct error *e)
{
    for (size_t i = 0; i < r->member_count; i++)
        if (add_run(db, r, &r->members[i], first + i, e))
            return -1;
    return 0;
}

static int apply(struct db *db, struct store_op *op, struct error *e)
{
    struct run_submit *r = (struct run_submit *)op;
    struct run_member self = {.name = (char *)r->name,
                              .job_hash = r->job_hash,
                              .spec = r->spec,
                              .spec_size = r->spec_size,
                              .max_attempts = r->max_attempts,
                              .group = r->group,
                              .parent = -2};
    r->existed = 0;
    int found = find_by_key(db, r, e);
    if (found)
        return found < 0 ? -1 : 0;
    if (r->refusal)
        return error_set(e, ERR_DENIED, "%s", r->refusal);
    if (check_after(db, r, e) || check_named(db, r, e) || add_run(db, r, &self, 0, e) ||
        run_row_load(db, self.run, &r->now, e))
        return -1;
    if (r->recipe ? expansion_add(db, r, e) : run_submit_members(db, r, 0, e))
        return -1;
    if (!r->key || !*r->key)
        return 0;
    return db_run(db, e, SQL_KEY_ADD, db_text(r->user), db_text(r->key), db_uint(r->now.run));
}

void run_submit_prepare(struct run_submit *r)
{
    r->op.apply = apply;
}
