// The database's tables, as numbered migrations. Private to core/store.
//
// `user_version` in the file is the number of the last migration that was applied. A migration that was released is
// never changed: a new one is added behind it, and tests/store/ opens a database of every older version.
#ifndef ISLR_STORE_SCHEMA_H
#define ISLR_STORE_SCHEMA_H

#include "core/store/db.h"

int schema_version(void); // the newest one

// Brings the file up to schema_version(), each migration in a transaction of its own. ERR_INVALID when the file is from
// a newer program. schema_apply_until() stops at a version (for tests of the migrations).
int schema_apply(struct db *db, struct error *e);
int schema_apply_until(struct db *db, int version, struct error *e);
int schema_check(struct db *db, struct error *e); // a reader's: the file must be at schema_version()

#endif
