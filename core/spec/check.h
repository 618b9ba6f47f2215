// The checks of a job that is already in memory: between the files of core/spec.
#ifndef ISLR_SPEC_CHECK_H
#define ISLR_SPEC_CHECK_H

#include <stdbool.h>

#include "core/spec/fault.h"
#include "core/spec/origin.h"
#include "proto/job.pb-c.h"

struct checker {
    const char *source;            // where a value came from that has no origin
    const struct origins *origins; // NULL: none known
    struct faults *faults;
    bool given; // the job is not complete: what it does not give is not looked at
};

// Adds a fault of `fields` (separated by blanks): reported at the one that was set last, under its place; left out
// where one of them has a fault already.
void check_fault(const struct checker *c, const char *fields, const char *allowed, const char *problem, ...)
    __attribute__((format(printf, 4, 5)));

// Every value by itself: bounds, choices, enum values, texts. The job must be complete, unless `given`.
void check_values(const struct checker *c, const Islr__JobSpec *job);

// One of them: of the field `f`, called `path`, at `value`.
void check_value(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path, const void *value);

// What one field demands of another, and each kind of job of its fields.
void check_rules(const struct checker *c, const Islr__JobSpec *job);

#endif
