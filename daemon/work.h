// A worker rank: it sleeps until the server assigns it a run, forms a communicator with the other ranks of the gang,
// runs the job and reports. The main thread sleeps, calls MPI and trains; the network has a thread of its own
// (work_net.h).
#ifndef ISLR_DAEMON_WORK_H
#define ISLR_DAEMON_WORK_H

#include "core/comm/comm.h"
#include "core/rpc/address.h"
#include "core/train/sink.h"
#include "daemon/work_allow.h"
#include "daemon/work_net.h"

// What a job runs in. Collective over comm; returns 0, or -1 with ERR_INTERRUPTED when sink->should_stop() said so and
// a resume point was saved, or another error. A struct so that tests can bring jobs of their own.
struct work_job {
    const Islr__JobSpec *job;
    struct comm *comm;
    const struct run_sink *sink;
    const char *directory; // of the run's files; used on the gang's first rank alone
    int resume;            // go on from the resume point there
    int join;              // data.fold "all": the folds' predictions are in fold-N/ there, to be joined
};
struct work_job_runner {
    void *context;
    int (*run)(void *context, const struct work_job *job, struct error *e);
    // After a failed job: can this rank compute on? -1 with *e: no, it must end. NULL: it always can.
    int (*check)(void *context, struct error *e);
};

struct work_options {
    struct address address;
    const char *token;   // NULL: none
    const char *scratch; // directory that runs' files go below
    const struct log *log;
    const Islr__Register *facts; // device and so on; world, rank, size, host and pid are filled in
    struct comm *world;
    struct work_job_runner runner;
    int catch_signals;
    struct work_allowed allowed;
    uint64_t alone_ms;  // work_net.h
    unsigned retry_ms;  // work_net.h
    uint64_t spool_max; // work_sink.h
};

// Works until it is told to end (0), or cannot go on (-1: the world must be ended, comm_abort()).
int work_serve(const struct work_options *o, struct error *e);

// One assignment, from the communicator to the last word; work_serve()'s other half. -1: the world is broken.
int work_run_task(const struct work_options *o, struct work_net *n, struct work_task *t, struct error *e);

#endif
