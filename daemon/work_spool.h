// A file that an attempt's records wait in until the server has them: what a run says while the server is away costs no
// memory. One thread adds, one reads; neither waits for the other. It lives as long as the attempt does in this
// process: a new attempt begins with an empty one.
#ifndef ISLR_DAEMON_WORK_SPOOL_H
#define ISLR_DAEMON_WORK_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "proto/control.pb-c.h"

struct spool;

// Where a reader stands: before the record `seq`, at this offset. Begin with {1, 0}.
struct spool_cursor {
    uint64_t seq;
    uint64_t offset;
};

struct spool *spool_create(const char *path, struct error *e); // an existing file is emptied
void spool_destroy(struct spool *s);                           // the file stays; NULL is fine

// Numbers the record (1, 2, ..) and keeps it. -1: the disk is full or broken; the same record may be tried again.
int spool_add(struct spool *s, Islr__Record *r, struct error *e);
uint64_t spool_count(const struct spool *s);
uint64_t spool_waiting(
    const struct spool *
        s); // bytes of what is not forgotten; for the adding thread // records in it; their numbers are 1 to this. Any thread

// The next records in order, at most `most` of them and, after the first, at most `bytes` packed; moves the cursor on.
// Each is to be freed with islr__record__free_unpacked(). Returns their number, -1 with ERR_DAMAGED or ERR_FAILED.
int spool_read(const struct spool *s, struct spool_cursor *at, Islr__Record **out, size_t most, size_t bytes,
               struct error *e);
int spool_skip(const struct spool *s, struct spool_cursor *at, uint64_t seq, struct error *e);
// Records before the cursor are not read again: their room on the disk may be given back. For the reading thread.
void spool_forget(struct spool *s, const struct spool_cursor *before); // to before this record

#endif
