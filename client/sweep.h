// submit --sweep: the runs that lists of values make of one job.
#ifndef ISLR_CLIENT_SWEEP_H
#define ISLR_CLIENT_SWEEP_H

#include "core/base/options.h"
#include "core/spec/spec.h"
#include "core/spec/sweep.h"
#include "proto/control.pb-c.h"

enum { SWEEP_RUNS_MAX = 10000 }; // what the server takes

// For Islr__Submit: axes, or where those cannot say it (see sweep.c) variations.
struct sweep {
    Islr__JobSpec *base; // what they have in common; complete and valid
    Islr__Axis **axes;
    size_t axis_count;
    Islr__Variation **variations;
    size_t variation_count;
    size_t count; // runs
    // private
    struct spec_sweep combinations; // of the axes, once somebody has asked for one
};

// The file and the overrides as spec_load() takes them, with every combination of the axes' values on top, the last axis
// changing fastest. An axis is KEY=VALUE,VALUE,.. or, for whole numbers, KEY=FIRST..LAST; commas in brackets and quotes
// belong to the value. Relative paths are made absolute. All combinations are checked, and all their faults named:
// ERR_INVALID as spec_load().
int sweep_make(struct sweep *s, const char *path, const struct option_list *overrides, const struct option_list *axes,
               const char *directory, struct faults *faults, struct error *e);
// By now base and axes must be what they are to be.
Islr__JobSpec *sweep_job(struct sweep *s, size_t i); // of one run, to spec_free()
char *sweep_label(struct sweep *s, size_t i);        // what it is called, to free()
// Everything in it that gives fields of a job: each_job() is called with the base and all of them, until it returns -1.
int sweep_each(struct sweep *s, int (*each_job)(Islr__JobSpec *job, void *context), void *context);
void sweep_free(struct sweep *s);

#endif
