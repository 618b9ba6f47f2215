// A tree onto a job, by the descriptors of job.proto: unknown fields, wrong types, numbers outside their C type.
#ifndef ISLR_SPEC_MAP_H
#define ISLR_SPEC_MAP_H

#include "core/spec/fault.h"
#include "core/spec/origin.h"
#include "core/spec/tree.h"
#include "proto/job.pb-c.h"

struct mapper {
    const char *source; // outlives `origins`
    struct faults *faults;
    struct origins *origins; // gets an entry for every value set
};

// Sets what the tree gives in a complete job; lists are replaced whole. Adds a fault for everything it cannot set, and
// goes on.
void map_job(const struct mapper *m, const struct node *root, Islr__JobSpec *job);

// Sets the field that `key` ("train.lr") names.
void map_argument(const struct mapper *m, const char *key, const struct node *value, Islr__JobSpec *job);

#endif
