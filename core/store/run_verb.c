// A user's or the server's word on a run: stop, hold, release, retry, priority. See run.h.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/attempt.h"
#include "core/store/expansion.h"
#include "core/store/group.h"
#include "core/store/run_row.h"
#include "core/store/text.h"

static const char SQL_STOP_WHY[] = "UPDATE runs SET stop_why = ?, reason = ? WHERE id = ?";
static const char SQL_PRIORITY[] = "UPDATE runs SET priority = ? WHERE id = ?";
static const char SQL_ANEW[] = "UPDATE runs SET first_attempt = attempts + 1 WHERE id = ?";
static const char SQL_BROKEN_AFTER[] = "SELECT a.after_id FROM run_after a JOIN runs r ON r.id = a.run_id"
                                       " JOIN runs o ON o.id = a.after_id"
                                       " WHERE a.run_id = ? AND NOT r.after_any AND o.state IN (6, 7) LIMIT 1";

static int refuse(const struct run_verb *r, const char *what, struct error *e)
{
    int has = r->now.state == ISLR__RUN_STATE__RUN_SUCCEEDED || r->now.state == ISLR__RUN_STATE__RUN_FAILED;
    return error_set(e, ERR_INVALID, "run %llu %s, it %s %s", (unsigned long long)r->run, what, has ? "has" : "is",
                     run_state_name(r->now.state));
}

// A run that ranks are working on.
static int stop_live(struct db *db, struct run_verb *r, struct error *e)
{
    struct run_now *now = &r->now;
    int cancel = r->stop_why == ISLR__STOP__WHY__WHY_CANCEL;
    if (now->state != ISLR__RUN_STATE__RUN_STOPPING) {
        now->stop_why = r->stop_why;
        return run_row_change(db, now, ISLR__RUN_STATE__RUN_STOPPING, r->reason, r->time_ms, e);
    }
    if (!cancel)
        return 0;
    if (now->stop_why == ISLR__STOP__WHY__WHY_CANCEL)
        return attempt_close(db, now, ATTEMPT_LOST, 0, "cancelled again before its ranks had saved", r->time_ms, e);
    now->stop_why = r->stop_why;
    text_fit(now->reason, sizeof now->reason, r->reason);
    return db_run(db, e, SQL_STOP_WHY, db_int(r->stop_why), db_text(now->reason), db_uint(r->run)) ||
                   run_row_event(db, now, r->reason, r->time_ms, e)
               ? -1
               : 0;
}

static int stop(struct db *db, struct run_verb *r, struct error *e)
{
    int cancel = r->stop_why == ISLR__STOP__WHY__WHY_CANCEL;
    if (run_state_live(r->now.state))
        return stop_live(db, r, e);
    if (!cancel || r->now.state == ISLR__RUN_STATE__RUN_CANCELLED)
        return 0;
    if (run_state_ended(r->now.state))
        return refuse(r, "cannot be cancelled", e);
    return run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_CANCELLED, r->reason, r->time_ms, e);
}

static int retry(struct db *db, struct run_verb *r, struct error *e)
{
    int64_t broken;
    if (r->now.state != ISLR__RUN_STATE__RUN_FAILED && r->now.state != ISLR__RUN_STATE__RUN_CANCELLED)
        return refuse(r, "cannot be retried", e);
    if (db_number(db, e, SQL_BROKEN_AFTER, 0, &broken, db_uint(r->run)))
        return -1;
    if (broken)
        return error_set(e, ERR_INVALID, "run %llu waits for run %lld, which has not succeeded: retry that one first",
                         (unsigned long long)r->run, (long long)broken);
    r->now.tries = 0;
    r->now.stop_why = STOP_NOBODY;
    if (db_run(db, e, SQL_ANEW, db_uint(r->run)))
        return -1;
    return run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_QUEUED, r->reason, r->time_ms, e);
}

static int set_priority(struct db *db, struct run_verb *r, struct error *e)
{
    if (run_state_ended(r->now.state))
        return refuse(r, "cannot get another priority", e);
    r->now.priority = r->priority;
    char *text = xprintf("priority %d: %s", r->priority, r->reason);
    int rc = db_run(db, e, SQL_PRIORITY, db_int(r->priority), db_uint(r->run)) ||
             run_row_event(db, &r->now, text, r->time_ms, e);
    free(text);
    return rc ? -1 : 0;
}

static int apply_to_run(struct db *db, struct run_verb *r, struct error *e)
{
    switch (r->kind) {
    case RUN_STOP:
        return stop(db, r, e);
    case RUN_HOLD:
        if (r->now.state != ISLR__RUN_STATE__RUN_QUEUED)
            return refuse(r, "cannot be held", e);
        return run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_HELD, r->reason, r->time_ms, e);
    case RUN_RELEASE:
        if (r->now.state != ISLR__RUN_STATE__RUN_HELD)
            return refuse(r, "cannot be released", e);
        return run_row_change(db, &r->now, ISLR__RUN_STATE__RUN_QUEUED, r->reason, r->time_ms, e);
    case RUN_RETRY:
        return retry(db, r, e);
    case RUN_PRIORITY:
        return set_priority(db, r, e);
    }
    return error_set(e, ERR_FAILED, "unknown request %d for a run", (int)r->kind);
}

int run_verb_apply(struct db *db, struct store_op *op, struct error *e)
{
    struct run_verb *r = (struct run_verb *)op;
    if (run_row_load(db, r->run, &r->now, e))
        return -1;
    uint64_t parent = r->now.parent;
    r->before = r->now.state;
    if (r->in_group)
        r->now.parent = 0; // settled by who says so
    else
        r->member_count = 0; // of a transaction that was lost
    if (r->as_user && strcmp(r->as_user, r->now.user))
        return error_set(e, ERR_DENIED, "run %llu is %s's, and %s is no admin", (unsigned long long)r->run, r->now.user,
                         r->as_user);
    if (!r->in_group && expansion_check(db, r->run, e))
        return -1;
    int rc = r->now.group && !r->now.joining ? group_verb(db, r, e) : apply_to_run(db, r, e);
    r->now.parent = parent;
    return rc;
}

void run_verb_prepare(struct run_verb *r)
{
    r->op.apply = run_verb_apply;
    r->members = NULL;
    r->member_count = 0;
}
