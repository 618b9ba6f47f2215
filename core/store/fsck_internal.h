// What the files of fsck share. Private to core/store.
#ifndef ISLR_STORE_FSCK_INTERNAL_H
#define ISLR_STORE_FSCK_INTERNAL_H

#include "core/store/artifact.h"
#include "core/store/db.h"
#include "core/store/fsck.h"

struct fsck {
    const struct fsck_options *options;
    struct fsck_result *out;
    struct db db;
    struct artifact_store artifacts;
    char *quarantine; // directory
    uint64_t total;   // bytes of artifacts
};

void fsck_found(struct fsck *f, enum fsck_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Each returns -1 only when it could not look.
int fsck_pages(struct fsck *f, struct error *e);   // SQLite's own checks
int fsck_rows(struct fsck *f, struct error *e);    // rows against each other
int fsck_records(struct fsck *f, struct error *e); // every run's sequence, every block of metrics
int fsck_files(struct fsck *f, struct error *e);   // artifacts

#endif
