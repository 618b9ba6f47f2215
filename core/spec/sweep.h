// The jobs that axes (proto/job.proto) make of one: every combination of one value from each axis, the last axis changing
// fastest. None is stored: a job is put together when it is asked for, so that a sweep of thousands is checked in a
// moment and told in a few bytes. Where several axes give the same field, the last one's value stands.
#ifndef ISLR_SPEC_SWEEP_H
#define ISLR_SPEC_SWEEP_H

#include "core/spec/spec.h"

enum { SPEC_SWEEP_LABEL_MAX = 256 }; // bytes of a combination's label

struct spec_sweep {
    size_t count; // combinations
    // private
    const Islr__JobSpec *base;
    Islr__Axis *const *axes; // [axis_count]
    size_t axis_count;
    struct spec_sweep_place *places; // [axis_count]: of axes with a key, where in `job` the number goes
    Islr__JobSpec *job;              // combination `at`
    size_t at;
    Islr__JobSpec *given; // all fields that the axes' values give
};

// base is complete; it and the axes stay with the caller and must outlive the sweep. Axes may come over the wire: any
// that unpack are safe to give. ERR_INVALID: an axis is no axis (no values, no labels, a key that is no whole number's,
// ..), or there are more than `most` combinations.
int spec_sweep_open(struct spec_sweep *s, const Islr__JobSpec *base, Islr__Axis *const *axes, size_t axis_count,
                    size_t most, struct error *e);
void spec_sweep_close(struct spec_sweep *s); // also of a zeroed one

// Validates every combination of a valid base, as spec_validate() would; faults are reported under the labels. 0, or -1
// with the faults added. Until this has been done only spec_sweep_label() is safe to call with axes from the wire.
int spec_sweep_check(struct spec_sweep *s, struct faults *faults);

// Combination i, complete; the sweep's, and only until the next call.
const Islr__JobSpec *spec_sweep_job(struct spec_sweep *s, size_t i);
char *spec_sweep_label(const struct spec_sweep *s, size_t i); // "train.lr=1e-4,train.seed=2"; free() it

// Whether `key` ("train.seed") is a field that an axis may number.
int spec_sweep_can_count(const char *key);

#endif
