// Checkpoints of the server's that a job names as its inputs (init.*, models): fetched into the run's directory.
#ifndef ISLR_DAEMON_WORK_INPUTS_H
#define ISLR_DAEMON_WORK_INPUTS_H

#include "core/rpc/retrieve.h"
#include "proto/job.pb-c.h"

// Replaces RUN:what and sha256:HEX in a complete job by the path of the fetched file,
// directory/inputs/<hash>.safetensors. What is a file's path stays. Blocks. ERR_NOT_FOUND: the server has no such
// thing; ERR_INVALID: it is not one model.
int work_inputs(struct retrieval *r, const char *directory, Islr__JobSpec *job, struct error *e);

#endif
