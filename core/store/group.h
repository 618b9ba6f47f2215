// Groups of runs inside the writer's transaction: their state after a change of a member, and what is said to all of
// their members. Private to core/store.
#ifndef ISLR_STORE_GROUP_H
#define ISLR_STORE_GROUP_H

#include "core/store/db.h"
#include "core/store/run.h"

// Makes a group what its members make it, and the group that it belongs to in turn. `member` is the one that has changed
// (NULL: several); its change becomes a line of the group's log. alone: the group above is left to the caller.
int group_settle(struct db *db, uint64_t group, const struct run_now *member, int alone, int64_t time_ms,
                 struct error *e);

// A group has ended: its steps are those of all below it from now on, without looking there.
int group_keep_steps(struct db *db, uint64_t group, struct error *e);

// r->run is a group, loaded to r->now: does to its members what the verb asks for, as far as they are in a state for it;
// they are added to r->members. REFUSED: none is. run_verb_apply() is the way to say something to one run.
int group_verb(struct db *db, struct run_verb *r, struct error *e);
int run_verb_apply(struct db *db, struct store_op *op, struct error *e);

#endif
