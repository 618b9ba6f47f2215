// submit --sweep: the runs that lists of values make of one job.
#ifndef ISLR_CLIENT_SWEEP_H
#define ISLR_CLIENT_SWEEP_H

#include "core/base/options.h"
#include "core/spec/spec.h"
#include "proto/control.pb-c.h"

enum { SWEEP_RUNS_MAX = 10000 }; // what the server takes

struct sweep {
    Islr__JobSpec *base;          // what they have in common; complete and valid
    Islr__Variation **variations; // for Islr__Submit
    size_t count;
};

// The file and the overrides as spec_load() takes them, with every combination of the axes' values on top, the last axis
// changing fastest. An axis is KEY=VALUE,VALUE,.. or, for whole numbers, KEY=FIRST..LAST; commas in brackets and quotes
// belong to the value. Relative paths are made absolute. All combinations are checked, and all their faults named:
// ERR_INVALID as spec_load().
int sweep_make(struct sweep *s, const char *path, const struct option_list *overrides, const struct option_list *axes,
               const char *directory, struct faults *faults, struct error *e);
Islr__JobSpec *sweep_job(const struct sweep *s, size_t i); // of one run, to spec_free()
void sweep_free(struct sweep *s);

#endif
