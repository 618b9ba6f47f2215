// Groups whose members are still to be made (run.h: run_expand), inside the writer's transaction. Private to core/store.
#ifndef ISLR_STORE_EXPANSION_H
#define ISLR_STORE_EXPANSION_H

#include "core/store/db.h"
#include "core/store/run.h"

// r->now is the group's new row: keeps the recipe, and the numbers behind the group's for its members.
int expansion_add(struct db *db, const struct run_submit *r, struct error *e);

// REFUSED: the run is a group without all its members, or one of those.
int expansion_check(struct db *db, uint64_t run, struct error *e);

// r->members are the group's from `first` on: makes them.
int run_submit_members(struct db *db, const struct run_submit *r, size_t first, struct error *e);

#endif
