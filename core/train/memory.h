// What a training run will need of a device's memory, before anything is taken: a table for people, the choice between
// a resident set and one that is fed batch by batch, and, where neither fits, what would.
#ifndef ISLR_TRAIN_MEMORY_H
#define ISLR_TRAIN_MEMORY_H

#include "core/data/set.h"
#include "kernels/backend.h"
#include "proto/job.pb-c.h"

enum { MEMORY_ROWS_MAX = 16 };

struct memory_plan {
    struct memory_row {
        char what[64];
        size_t size; // bytes
    } rows[MEMORY_ROWS_MAX];
    int count;
    size_t total;
};

struct memory_request {
    const Islr__JobSpec *job; // resolved
    const struct set *set;
    struct backend *backend;
    enum dtype type;
    int ranks;
    int fed; // the set is fed
};

void memory_plan_make(struct memory_plan *p, const struct memory_request *r);

// Where the device's memory is its own (a card's): compares with what is free and sets r->fed. ERR_INVALID with the table
// and the settings that would fit where there is too little. Elsewhere nothing is looked at.
int memory_decide(struct memory_request *r, struct error *e);

#endif
