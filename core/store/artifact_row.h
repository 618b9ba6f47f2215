// The database's side of artifacts (artifact.h: the files): which are known, and which nobody needs any more.
//
// A row is made after its file is durable and deleted before its file is, so a row always has its file; a file without
// a row is rubbish of a crash and is swept at start. Where somebody has removed or altered a file behind the server's
// back, fsck marks the row as lost: what refers to it stays, nobody is given it, and the same content uploaded again
// heals it.
#ifndef ISLR_STORE_ARTIFACT_ROW_H
#define ISLR_STORE_ARTIFACT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/hash.h"
#include "core/store/store.h"

enum { ARTIFACT_GRACE_MS = 15 * 60 * 1000 }; // how long an artifact may wait for a checkpoint to refer to it

// The file is durable: it is an artifact from now on. Knowing it already is fine. `run` has brought all of it (0: no run
// has): from now on it may name it as its checkpoint.
struct artifact_add {
    struct store_op op;
    struct hash hash;
    uint64_t size, run;
    int64_t time_ms;
};
void artifact_add_prepare(struct artifact_add *r);

// A run is about to refer to an artifact: is it there, and not lost, and one that the run has brought or named before?
// Then it stays for ARTIFACT_GRACE_MS at least. To know a hash alone does not make one a run's: who has the content brings
// it once more.
struct artifact_touch {
    struct store_op op;
    struct hash hash;
    uint64_t run;
    int64_t time_ms;
    // results
    int exists;
    uint64_t size;
};
void artifact_touch_prepare(struct artifact_touch *r);

// The file was found gone or damaged: from now on the artifact is lost. REFUSED (ERR_NOT_FOUND): it was no artifact.
struct artifact_lost {
    struct store_op op;
    struct hash hash;
    int64_t time_ms;
};
void artifact_lost_prepare(struct artifact_lost *r);

// Deletes the rows of artifacts that nothing refers to and that were not offered since before_ms. Their files are then
// the caller's to remove (artifact_discard()), unless they are being uploaded anew.
struct artifact_collect {
    struct store_op op;
    int64_t before_ms;
    // results
    struct hash *hashes; // to free()
    size_t count;
    uint64_t bytes;
};
void artifact_collect_prepare(struct artifact_collect *r);

// Private to core/store: an artifact that is not lost, and that a run (0: any) has brought or named. Its number, 0: none.
struct db;
int artifact_of_run(struct db *db, const struct hash *hash, uint64_t run, int64_t *id, struct error *e);
int artifact_named(struct db *db, uint64_t run, int64_t id, struct error *e); // the run has, as its checkpoint

// Reading. 1: known, though its file may be lost; 0: not; -1.
int artifact_find(struct store_reader *reader, const struct hash *hash, uint64_t *size, int *lost, struct error *e);

int artifact_total(struct store_reader *reader, uint64_t *bytes, struct error *e); // of all of them

#endif
