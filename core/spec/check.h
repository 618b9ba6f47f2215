// The checks of a job that is already in memory: between the files of core/spec.
#ifndef ISLR_SPEC_CHECK_H
#define ISLR_SPEC_CHECK_H

#include "core/spec/fault.h"
#include "core/spec/origin.h"
#include "proto/job.pb-c.h"

struct checker {
    const char *source;            // where a value came from that has no origin
    const struct origins *origins; // NULL: none known
    struct faults *faults;
};

// Adds a fault of `fields` (separated by blanks): reported at the one that was set last, under its place; left out
// where one of them has a fault already.
void check_fault(const struct checker *c, const char *fields, const char *allowed, const char *problem, ...)
    __attribute__((format(printf, 4, 5)));

// Every value by itself: bounds, choices, enum values, texts. The job must be complete.
void check_values(const struct checker *c, const Islr__JobSpec *job);

// What one field demands of another, and each kind of job of its fields.
void check_rules(const struct checker *c, const Islr__JobSpec *job);

#endif
