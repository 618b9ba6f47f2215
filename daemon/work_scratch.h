// Where the first rank of a gang keeps a run's files: SCRATCH/<server>/run-<number>, locked while an attempt works
// there.
#ifndef ISLR_DAEMON_WORK_SCRATCH_H
#define ISLR_DAEMON_WORK_SCRATCH_H

#include "core/base/lock.h"
#include "core/base/log.h"

struct work_task;

enum { SCRATCH_DAYS = 3 }; // what was not touched for so long is removed: the server has all of it that matters

struct scratch {
    char *directory; // exists; NULL: not opened
    struct file_lock lock;
};

// Where an earlier attempt of the same run left its directory it is found again. If a process that is not gone yet
// still works there, the attempt gets a directory of its own.
int scratch_open(struct scratch *s, const char *base, const struct work_task *t, const struct log *log,
                 struct error *e);

#endif
