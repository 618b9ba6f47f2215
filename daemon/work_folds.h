// What a rank that joins the folds of a k-fold needs of the runs that trained them.
#ifndef ISLR_DAEMON_WORK_FOLDS_H
#define ISLR_DAEMON_WORK_FOLDS_H

#include "core/rpc/retrieve.h"

struct work_task;

// Fetches the held-out predictions and the summary of every fold into directory/fold-N, as `islrd run` would have left
// them there. Nothing to do for other tasks.
int work_folds(struct retrieval *r, const char *directory, const struct work_task *t, struct error *e);

#endif
