// Preparation: a data directory in the competition's layout becomes a prepared set (set.h). Threads share the work, and
// so can processes that see the same file system: a team, whose members call the same function with the same arguments.
// The set is the same, to the bit, whatever the number of threads and members.
#ifndef ISLR_DATA_PREPARE_H
#define ISLR_DATA_PREPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"

// What the caller learns while it runs. All may be NULL. stopped() is called from several threads at once; the other
// two one at a time, though not always from the same thread.
struct prepare_watch {
    void *context;
    // Clips of this member's part that are done, of how many.
    void (*progress)(void *context, size_t done, size_t total);
    // A clip that cannot be prepared, in train.csv's order; `path` as train.csv gives it.
    void (*broken)(void *context, const char *path, const char *reason);
    // Whether to end early, with ERR_INTERRUPTED. Every member of a team is to be told.
    bool (*stopped)(void *context);
};

struct prepare_options {
    int max_len;           // frames at most in a prepared clip, >= 1
    int k;                 // folds; below 2: none
    uint64_t fold_seed;    // folds.h
    const char *fold_file; // folds from this CSV instead, k (below 2: as many as it names); NULL or "": computed
    bool any_folds; // nothing needs folds: a ready-made set may have others, and of too few participants none are made
    bool strict;    // a broken clip is an error (after all were looked at) instead of being left out
    int threads;    // of this member; 0: all cores
    struct prepare_watch watch;
};

// Members that prepare together (core/comm's ranks, say, whose functions these are made after). All make the same calls
// in the same order; each call waits for all, for as long as the slowest member takes for its part. -1 with *e set also
// if the team has fallen apart.
struct prepare_team {
    void *context;
    int rank, size;
    int (*agree)(void *context, int failed, struct error *e);   // 0 if none failed, else -1 and a failed member's error
    int (*max)(void *context, int64_t *value, struct error *e); // the largest of all members' values
};

// Prepares `directory` into the set file `out` (replaced at the end, in one step). team NULL: alone. On failure, and
// when the process is killed, `out` is as it was; the next preparation of the same file removes what a killed one left.
// ERR_INVALID: recordings_read(), folds_compute() and folds_read() name the faults, or broken clips with `strict`;
// ERR_FAILED also if another preparation is writing `out` now. A recording that cannot be read for another reason than
// damage ends the preparation with that (parquet.h).
int prepare_set(const char *directory, const char *out, const struct prepare_options *o,
                const struct prepare_team *team, struct error *e);

// The prepared set of `data`, whichever that is: a set file is checked to be what `o` asks for, each member verifying
// the frames of its share (ERR_DAMAGED); a directory is prepared into `cache` (created if need be) under a name that
// says what went in (prepare_plan.h: key), unless that was done before and its frames are whole; if another process is
// at it now, it is waited for. *path is malloc'ed.
int prepare_cached(const char *data, const char *cache, const struct prepare_options *o,
                   const struct prepare_team *team, char **path, struct error *e);

// $ISLR_CACHE, $XDG_CACHE_HOME/islr, or ~/.cache/islr; malloc'ed.
char *prepare_default_cache(void);

#endif
