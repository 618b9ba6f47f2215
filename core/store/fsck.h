// Checking a server's directory: the database in itself, its rows against each other, the artifacts against their rows.
#ifndef ISLR_STORE_FSCK_H
#define ISLR_STORE_FSCK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

enum fsck_kind {
    FSCK_NOTE,     // nothing is lost: what a crash leaves and the next start clears away, an upload that can go on
    FSCK_REPAIRED, // was damage; what could be done without losing anything has been done
    FSCK_DAMAGE
};

struct fsck_options {
    const char *directory;
    int repair;  // needs the directory to itself: no server may run on it
    int serving; // a server runs on it: what it may be busy with just now is no finding
    int quick;   // artifacts: size alone, contents are not read
    // One finding, as a sentence.
    void (*found)(void *context, enum fsck_kind kind, const char *sentence);
    int (*progress)(void *context, uint64_t bytes, uint64_t total); // of artifacts; not 0: stop. NULL: none
    void *context;
};

struct fsck_result {
    uint64_t runs, records, checkpoints, artifacts;
    uint64_t bytes;                  // of artifacts
    size_t damaged, repaired, notes; // findings
};

// Looks at everything, whatever it finds on the way. Repair does only what loses nothing:
//   * indexes that do not match their tables are built anew;
//   * a file that is not what its name says, or that nothing refers to, is moved to DIRECTORY/quarantine;
//   * an artifact without a whole file is marked as lost, so that a pull says so and a run does not resume from it;
//     one that is whole after all is unmarked.
// -1: it could not be looked at (ERR_NOT_FOUND: no database there; ERR_FAILED; ERR_INTERRUPTED).
int fsck(const struct fsck_options *options, struct fsck_result *out, struct error *e);

#endif
