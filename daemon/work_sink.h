// What the trainer tells, on its way to the server: on the gang's first rank records into the spool and files to the
// delivery; on every rank progress and the answer to "should I stop?". Nothing here waits.
#ifndef ISLR_DAEMON_WORK_SINK_H
#define ISLR_DAEMON_WORK_SINK_H

#include "core/train/sink.h"
#include "daemon/work_delivery.h"

struct work_sink {
    struct work_net *net;
    struct work_task *task;
    const struct log *log;
    struct spool *spool; // NULL: not the first rank
    const char *outbox;  // directory of the files' second names
    unsigned files;
    double epoch; // of the last metrics
    struct {
        uint64_t step; // 0: none yet
        int count;
        char names[24][48];
        double values[24];
    } evaluation;   // the last one: figures of the checkpoints of its step
    double told;    // clock_seconds() of the last progress
    char doing[32]; // told last
    uint64_t
        spool_max; // bytes of records that may wait for the server: beyond, the run is asked to stop; 0: any number
    int full;
    int failed; // a record or a file could not be kept: the run is asked to stop
    struct error why;
};

struct run_sink work_sink_make(struct work_sink *s);

#endif
