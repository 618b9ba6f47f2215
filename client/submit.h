// Submitting, for `submit` and `soup`.
#ifndef ISLR_CLIENT_SUBMIT_H
#define ISLR_CLIENT_SUBMIT_H

#include <stdbool.h>

#include "client/sweep.h"

// Zero-initialise, fill in what was asked for, submit_free() at the end.
struct submit {
    const char *address, *file, *name, *key; // file NULL: the overrides are the job
    struct option_list overrides, after, axes;
    int64_t priority;
    bool hold, follow, wait, dry_run, json;
    // made on the way
    Islr__JobSpec *job; // the sweep's, where there is one
    struct sweep sweep;
    char made_key[40];
    uint64_t *after_runs;
    bool after_any;
    bool sent; // the server may have it, whatever became of the answer
};

struct submitted {
    uint64_t run;
    uint32_t runs; // of a group that is new
    bool existed;
};

int submit_run(struct submit *s); // the exit code; everything is printed
void submit_free(struct submit *s);

#endif
