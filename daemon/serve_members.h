// A submission and the runs of its group, made from what was submitted: counted and checked all at once, then told one after the other, none
// of them stored. Knows neither loop nor database: a large sweep is worked out in the pool.
#ifndef ISLR_DAEMON_SERVE_MEMBERS_H
#define ISLR_DAEMON_SERVE_MEMBERS_H

#include "core/spec/sweep.h"
#include "core/store/run.h"
#include "proto/control.pb-c.h"

struct members {
    enum run_group group; // of the submission: RUN_ALONE has no members
    size_t count;
    size_t direct; // those that belong to the submitted run itself, the first ones; the others to groups among them
    // private
    const Islr__Submit *submit;
    struct spec_sweep sweep;       // of its axes
    struct members_nested *nested; // [nested_count]: groups among the members
    size_t nested_count;
    Islr__JobSpec *job; // the one told last, where the sweep has not got it
};

// The job is complete and valid, and stays with the caller. ERR_INVALID: faults of its variations or combinations, all of
// them named by their labels. trusted: it was checked before, by this or an older version of the program, and has to do.
int members_open(struct members *m, const Islr__Submit *q, int trusted, struct error *e);
void members_close(struct members *m); // also of a zeroed one
// Whether members_open() takes less than a millisecond or so, whatever the axes hold.
int members_are_quick(const Islr__Submit *q);

size_t
members_runs(const struct members *m); // that work is to be done by: the submitted one alone, or those of no group

// What a submission and its job say of the run to make; user, time and members are the caller's.
void members_describe(const struct members *m, struct run_submit *out);

// Member i: its job, until the next call; the place of its group among the members, -1: the submitted run.
const Islr__JobSpec *members_job(struct members *m, size_t i);
int members_parent(const struct members *m, size_t i);
enum run_group members_group_of(const Islr__JobSpec *job);

// Members `first` to `first` + `count` for the store; members_put_back() frees what they hold.
void members_take(struct members *m, size_t first, size_t count, struct run_member *out);
void members_put_back(struct run_member *items, size_t count);

#endif
