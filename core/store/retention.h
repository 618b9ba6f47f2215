// Which checkpoints stay. Private to core/store.
#ifndef ISLR_STORE_RETENTION_H
#define ISLR_STORE_RETENTION_H

#include <stdint.h>

#include "core/base/hash.h"
#include "core/store/db.h"

enum { RETENTION_RESUME_POINTS = 2 }; // of a run that has not succeeded: if the newest is damaged the other one serves

// The newest resume point whose file is not lost, nor that of an epoch's checkpoint before it: who resumes needs those
// too, and who begins before them makes them again, bit for bit. 1, 0: there is none, -1.
int retention_resume_point(struct db *db, uint64_t run, struct hash *hash, uint64_t *size, uint64_t *step,
                           struct error *e);

// Drops all but the `keep` newest resume points of a run, pinned ones apart. Their artifacts are collected at once when
// nothing else refers to them (artifact_row.h).
int retention_keep_resume(struct db *db, uint64_t run, int keep, struct error *e);

#endif
