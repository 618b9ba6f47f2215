// Where a run tells what happens: the trainer knows neither files' readers nor network nor SQL. `islrd run` writes to a
// directory, `islrd work` also sends to the server. All calls come from the trainer's thread on the run's first rank
// (should_stop: on every rank), and none may block for long.
#ifndef ISLR_TRAIN_SINK_H
#define ISLR_TRAIN_SINK_H

#include <stdint.h>

#include "core/base/log.h"

struct sink_metric {
    const char *name; // "loss/student", "accuracy/soup", ..
    double value;
};

struct sink_metrics {
    uint64_t step;  // from 1
    double epoch;   // epoch of the step, from 1
    int evaluation; // figures on held-out clips, not of one step
    int count;
    const struct sink_metric *metrics; // finite, all of them
};

struct sink_file {
    const char *what; // student | teacher | distilled | soup | resume | predictions | predictions.csv | summary |
                      // set | evaluation
    const char *path; // complete and durable
    uint32_t epoch;   // 0: final
    uint64_t step;
    int member_count;           // a soup's ingredients
    const char *const *members; // their paths
};

struct sink_progress {
    uint64_t step, steps;
    const char *doing; // "prepare" | "train" | "evaluate" | "save" | "finish"
    double clips_per_second;
};

struct run_sink {
    void *context;
    void (*metrics)(void *context, const struct sink_metrics *m);
    void (*log)(void *context, enum log_level level, const char *line); // one line without its newline
    void (*file)(void *context, const struct sink_file *f);
    void (*progress)(void *context, const struct sink_progress *p); // on every rank, at least every few seconds
    int (*should_stop)(void *context); // non-zero: save a resume point at the next step boundary and return
};

void sink_log(const struct run_sink *sink, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
