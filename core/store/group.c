// Groups of runs: see group.h.
#include "core/store/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/run_row.h"
#include "core/store/text.h"

static const char SQL_COUNT[] = "SELECT state, count(*) FROM runs WHERE parent_id = ? GROUP BY state";
static const char SQL_FIRST[] =
    "SELECT id, name, reason FROM runs WHERE parent_id = ? AND state = ? ORDER BY id LIMIT 1";
static const char SQL_NAME[] = "SELECT name FROM runs WHERE id = ?";
static const char SQL_LINE[] = "INSERT INTO logs (run_id, seq, time_ms, attempt, line) VALUES (?, ?, ?, ?, ?)";
static const char SQL_SEEN[] = "UPDATE runs SET reason = ?, last_seq = ? WHERE id = ?";
static const char SQL_STARTED[] = "UPDATE runs SET started_ms = ? WHERE id = ? AND started_ms = 0";
static const char SQL_JOINING[] = "UPDATE runs SET joining = 1 WHERE id = ?";
static const char SQL_PRIORITY[] = "UPDATE runs SET priority = ? WHERE id = ?";
static const char SQL_STEPS[] = "UPDATE runs SET (step, steps) = (SELECT coalesce(sum(min(step, steps)), 0),"
                                " coalesce(sum(steps), 0) FROM runs WHERE parent_id = ?1) WHERE id = ?1";
static const char SQL_MEMBERS[] = "SELECT id FROM runs WHERE parent_id = ? AND state BETWEEN ? AND ? ORDER BY id";

enum { STATES = 8 };

const char *run_group_name(enum run_group group)
{
    return group == RUN_FOLDS ? "folds" : group == RUN_SWEEP ? "sweep" : "";
}

// ---- the state ------------------------------------------------------------------------------------------------------

static int count_members(struct db *db, uint64_t group, uint64_t of[STATES], struct error *e)
{
    int rc;
    memset(of, 0, STATES * sizeof *of);
    sqlite3_stmt *q = db_query(db, e, SQL_COUNT, db_uint(group));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0)
        of[sqlite3_column_int(q, 0) & (STATES - 1)] = (uint64_t)sqlite3_column_int64(q, 1);
    return rc;
}

static uint64_t total(const uint64_t of[STATES])
{
    uint64_t n = 0;
    for (int i = 0; i < STATES; i++)
        n += of[i];
    return n;
}

// "run 8 (l25/fold-1) failed: reason" of the first one in that state.
static int tell_first(struct db *db, uint64_t group, Islr__RunState state, char text[700], struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_FIRST, db_uint(group), db_int(state));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return rc;
    const char *reason = (const char *)sqlite3_column_text(q, 2);
    snprintf(text, 700, "run %lld (%.60s) %s%s%s", (long long)sqlite3_column_int64(q, 0),
             (const char *)sqlite3_column_text(q, 1), state == ISLR__RUN_STATE__RUN_FAILED ? "failed" : "was cancelled",
             *reason ? ": " : "", reason);
    db_reset(q);
    return 0;
}

// Why the group is in its state.
static int explain(struct db *db, const struct run_now *g, const uint64_t of[STATES], Islr__RunState state,
                   char out[600], struct error *e)
{
    uint64_t all = total(of), failed = of[ISLR__RUN_STATE__RUN_FAILED], cancelled = of[ISLR__RUN_STATE__RUN_CANCELLED];
    uint64_t done = of[ISLR__RUN_STATE__RUN_SUCCEEDED];
    char text[1000], first[700] = "";
    if (failed && tell_first(db, g->run, ISLR__RUN_STATE__RUN_FAILED, first, e))
        return -1;
    if (!failed && cancelled && tell_first(db, g->run, ISLR__RUN_STATE__RUN_CANCELLED, first, e))
        return -1;
    if (done == all)
        snprintf(text, sizeof text, "%s",
                 g->group == RUN_FOLDS ? "all folds are trained; a rank joins their predictions" : "");
    else if (state == ISLR__RUN_STATE__RUN_QUEUED || state == ISLR__RUN_STATE__RUN_HELD)
        snprintf(text, sizeof text, "none of its %llu runs has begun", (unsigned long long)all);
    else
        snprintf(text, sizeof text, "%llu of %llu runs done%s%s", (unsigned long long)done, (unsigned long long)all,
                 *first ? "; " : "", first);
    text_fit(out, 600, text);
    return 0;
}

// A line for the group's log: what has become of one of its runs.
static int tell_member(struct db *db, struct run_now *g, const struct run_now *member, int64_t time_ms, struct error *e)
{
    if (member->state == ISLR__RUN_STATE__RUN_STARTING)
        return 0; // running follows
    sqlite3_stmt *q = db_query(db, e, SQL_NAME, db_uint(member->run));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc <= 0)
        return -1;
    char *line =
        xprintf("run %llu (%s): %s%s%s", (unsigned long long)member->run, (const char *)sqlite3_column_text(q, 0),
                run_state_name(member->state), *member->reason ? ": " : "", member->reason);
    db_reset(q);
    g->last_seq++;
    rc = db_run(db, e, SQL_LINE, db_uint(g->run), db_uint(g->last_seq), db_int(run_row_time(g, time_ms)),
                db_uint(g->attempt), db_text(line));
    free(line);
    return rc;
}

int group_settle(struct db *db, uint64_t group, const struct run_now *member, int alone, int64_t time_ms,
                 struct error *e)
{
    struct run_now g;
    uint64_t of[STATES];
    char reason[600];
    if (run_row_load(db, group, &g, e) || count_members(db, group, of, e) ||
        (member && tell_member(db, &g, member, time_ms, e)))
        return -1;
    if (alone)
        g.parent = 0;
    Islr__RunState state = run_state_of_group(of);
    int join = g.group == RUN_FOLDS && state == ISLR__RUN_STATE__RUN_SUCCEEDED;
    if (explain(db, &g, of, state, reason, e))
        return -1;
    if (join && db_run(db, e, SQL_JOINING, db_uint(group)))
        return -1;
    if (join)
        state = ISLR__RUN_STATE__RUN_QUEUED;
    if (state == ISLR__RUN_STATE__RUN_RUNNING && db_run(db, e, SQL_STARTED, db_int(time_ms), db_uint(group)))
        return -1;
    if (state != g.state)
        return run_row_put(db, &g, state, reason, time_ms, e);
    return db_run(db, e, SQL_SEEN, db_text(reason), db_uint(g.last_seq), db_uint(group));
}

int group_keep_steps(struct db *db, uint64_t group, struct error *e)
{
    return db_run(db, e, SQL_STEPS, db_uint(group));
}

// ---- a word to all members ------------------------------------------------------------------------------------------

// The states in which a member hears the verb.
static const struct {
    Islr__RunState from, to;
    const char *refusal;
} hearing[] = {
    [RUN_STOP] = {ISLR__RUN_STATE__RUN_QUEUED, ISLR__RUN_STATE__RUN_STOPPING, "has ended"},
    [RUN_HOLD] = {ISLR__RUN_STATE__RUN_QUEUED, ISLR__RUN_STATE__RUN_QUEUED, "has no queued run"},
    [RUN_RELEASE] = {ISLR__RUN_STATE__RUN_HELD, ISLR__RUN_STATE__RUN_HELD, "has no held run"},
    [RUN_RETRY] = {ISLR__RUN_STATE__RUN_FAILED, ISLR__RUN_STATE__RUN_CANCELLED, "has no failed or cancelled run"},
    [RUN_PRIORITY] = {ISLR__RUN_STATE__RUN_QUEUED, ISLR__RUN_STATE__RUN_STOPPING, "has ended"},
};

static int find_members(struct db *db, const struct run_verb *r, uint64_t **members, size_t *count, struct error *e)
{
    size_t capacity = 0;
    int rc;
    *members = NULL;
    *count = 0;
    sqlite3_stmt *q =
        db_query(db, e, SQL_MEMBERS, db_uint(r->run), db_int(hearing[r->kind].from), db_int(hearing[r->kind].to));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            *members = xrealloc(*members, capacity, sizeof **members);
        }
        (*members)[(*count)++] = (uint64_t)sqlite3_column_int64(q, 0);
    }
    return rc;
}

static void add_member(struct run_verb *r, const struct run_now *now)
{
    r->members = xrealloc(r->members, r->member_count + 1, sizeof *r->members);
    r->members[r->member_count++] = *now;
}

// To one member, which may be a group and hand on its members.
static int say(struct db *db, struct run_verb *r, uint64_t member, struct error *e)
{
    struct run_verb word = *r;
    word.run = member;
    word.in_group = 1;
    word.members = NULL;
    word.member_count = 0;
    int rc = run_verb_apply(db, &word.op, e);
    for (size_t i = 0; i < word.member_count && !rc; i++)
        add_member(r, &word.members[i]);
    free(word.members);
    if (!rc)
        add_member(r, &word.now);
    return rc;
}

int group_verb(struct db *db, struct run_verb *r, struct error *e)
{
    uint64_t *members;
    size_t count;
    int rc = find_members(db, r, &members, &count, e);
    if (!rc && !count && !(r->kind == RUN_STOP && r->now.state == ISLR__RUN_STATE__RUN_CANCELLED))
        rc = error_set(e, ERR_INVALID, "run %llu %s", (unsigned long long)r->run, hearing[r->kind].refusal);
    if (!rc && count && r->kind == RUN_PRIORITY)
        rc = db_run(db, e, SQL_PRIORITY, db_int(r->priority), db_uint(r->run));
    for (size_t i = 0; i < count && !rc; i++)
        rc = say(db, r, members[i], e);
    free(members);
    if (rc || !count)
        return rc;
    return run_row_event(db, &r->now, r->reason, r->time_ms, e) ||
                   group_settle(db, r->run, NULL, r->in_group, r->time_ms, e) || run_row_load(db, r->run, &r->now, e)
               ? -1
               : 0;
}
