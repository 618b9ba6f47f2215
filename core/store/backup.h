// Backups: one file that holds a server's whole state at one moment, taken while the server works.
//
// The file is a tar archive, so that restoring needs nothing but tar(1):
//     BACKUP                  facts, one a line: "islr backup 1", taken_ms, schema, runs, artifacts, database_sha256
//     islr.db                 the database, compacted
//     artifacts/ab/abcdef..   every artifact that the database names, by the SHA-256 of its content
// The database is copied in one read transaction; the artifacts it names are held (artifact_store_hold()) until they
// are copied, so the two belong together. The database in the archive carries the setting "restored", by which a server
// that starts on it knows that ranks may be out there with work it has never heard of (daemon/serve_recover.c).
#ifndef ISLR_STORE_BACKUP_H
#define ISLR_STORE_BACKUP_H

#include <stdint.h>

#include "core/base/error.h"

#define BACKUP_SETTING "restored" // its value: when the backup was taken, in milliseconds since 1970

struct backup_facts {
    int64_t taken_ms;
    int schema; // the database's version
    uint64_t runs, artifacts;
    uint64_t bytes; // of the archive
};

struct backup_options {
    const char *directory; // of the server
    const char *out;       // made whole or not at all
    // Bytes copied so far of `total`, then verified of `total`; not 0: stop (ERR_INTERRUPTED). May be NULL.
    int (*progress)(void *context, const char *doing, uint64_t done, uint64_t total);
    void *context;
};

// Writes the archive beside `out`, reads it back from the disk and verifies it, and only then gives it its name.
// ERR_NOT_FOUND: there is no server's state in the directory. ERR_DAMAGED: the database or an artifact is damaged.
int backup_write(const struct backup_options *options, struct backup_facts *out, struct error *e);

// Whether an archive is whole: every header, the database's and every artifact's SHA-256, their number. ERR_DAMAGED.
int backup_verify(const struct backup_options *options, struct backup_facts *out, struct error *e);

#endif
