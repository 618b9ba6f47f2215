// Which files a job may have a worker read. A submitter's job runs as the workers' user; with `islrd work --allow DIR` it
// reads what is below one of these directories and nothing else.
#ifndef ISLR_DAEMON_WORK_ALLOW_H
#define ISLR_DAEMON_WORK_ALLOW_H

#include <stddef.h>

#include "core/base/error.h"
#include "proto/job.pb-c.h"

struct work_allowed {
    char **roots; // [count], absolute and without links; count 0: everything
    size_t count;
};

// Adds a directory, which must be there.
int work_allowed_add(struct work_allowed *a, const char *directory, struct error *e);
void work_allowed_free(struct work_allowed *a);

// Every path that the job names (data, folds, models), links followed. ERR_DENIED names the field. References to the
// server's own checkpoints are no paths, and a path where nothing is is left to whoever opens it.
int work_allowed_check(const struct work_allowed *a, const Islr__JobSpec *job, struct error *e);

#endif
