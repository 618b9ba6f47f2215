// Between the files of islrd bench: not for others.
#ifndef ISLR_DAEMON_BENCH_H
#define ISLR_DAEMON_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/base/error.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

struct bench {
    const char *what, *preset, *precision, *device;
    int64_t batch, steps, threads, clips;
    double fill;
    bool json;
    char *dir; // temporary, for what a bench needs on disk
};

// How long each repetition took.
struct timing {
    double *ms; // [count]
    int64_t count;
};

json_t *bench_timing_json(struct timing t); // median, min, max; sorts t.ms
double bench_peak_memory_mib(void);
int bench_stopped(struct error *e); // -1: the user has asked to end (ERR_INTERRUPTED)

// Best rate of some large matrix products: what the device can do where nothing stands in its way.
int bench_measure_peak(struct backend *b, enum dtype type, double *flops, struct error *e);

// The preset's job with the bench's precision, and one more argument where `train` is not NULL.
Islr__JobSpec *bench_job(const struct bench *b, const char *train, struct error *e);

// Prints the document (--json) or one line for people, and frees it.
void bench_print(const struct bench *b, json_t *root, const char *format, ...) __attribute__((format(printf, 3, 4)));

int bench_train(const struct bench *b, struct error *e);
int bench_predict(const struct bench *b, struct error *e);

#endif
