// What an attempt needs of the attempts before it, fetched from the server where the run's directory does not have it:
// the resume point, and the checkpoints that the soup is made of.
#ifndef ISLR_DAEMON_WORK_RESTORE_H
#define ISLR_DAEMON_WORK_RESTORE_H

#include "core/rpc/retrieve.h"
#include "daemon/work_net.h"

struct work_restore_options {
    struct retrieval *retrieval;
    const struct log *log;
    const char *directory; // of the run
    struct work_task *task;
    struct work_net *net; // told of the files that the server has; may be NULL
};

// Blocks. Afterwards directory/resume holds exactly the task's resume point, or nothing if it has none (the server has
// not heard of what a later one would stand on), and directory/checkpoints what the server has of the epochs before it.
// *resumes: there is something to go on from.
int work_restore(const struct work_restore_options *o, int *resumes, struct error *e);

#endif
