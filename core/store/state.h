// The states of a run, which may follow which, and where an attempt's end leads. Nothing here touches the database: the
// writer asks these functions inside the transaction that makes the change.
//
//     queued  <-> held          hold, release
//     queued   -> starting      the scheduler gave it a gang: an attempt begins
//     starting -> running       every rank of the gang has taken it
//     starting, running -> stopping    cancel, preemption, drain: the ranks are asked to save
//     starting, running, stopping -> succeeded, failed, cancelled, queued    the attempt has ended
//     queued, held -> cancelled
//     failed, cancelled -> queued      retry
#ifndef ISLR_STORE_STATE_H
#define ISLR_STORE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

const char *run_state_name(Islr__RunState s); // "queued", ..
int run_state_from_name(const char *name, Islr__RunState *out);
int run_state_allowed(Islr__RunState from, Islr__RunState to);
int run_state_ended(Islr__RunState s); // succeeded, failed or cancelled
int run_state_live(Islr__RunState s);  // an attempt is under way: starting, running or stopping

// The state of a group, by how many of its runs are in which. Ended only when all of them have.
Islr__RunState run_state_of_group(const uint64_t of[8]);

enum attempt_outcome { ATTEMPT_SUCCEEDED, ATTEMPT_FAILED, ATTEMPT_STOPPED, ATTEMPT_LOST };
const char *attempt_outcome_name(enum attempt_outcome o);

// stop_why of a run: who asked it to stop. Else an Islr__Stop__Why.
enum {
    STOP_NOBODY = -1,
    STOP_LIMIT = 100 // it took longer than its job's limits.minutes: it fails
};

struct attempt_end {
    enum attempt_outcome outcome;
    int retryable;      // of a failed one: another attempt may do better
    const char *reason; // a sentence
    int stop_why;
    unsigned tries;          // attempts before this one that counted
    unsigned max_attempts;   // at least 1
    const char *stop_reason; // whose word stop_why was: "cancelled by ann"; NULL or "": not known
};
struct attempt_verdict {
    Islr__RunState state; // the run's next
    int counts;           // the attempt uses up one of max_attempts: it failed or was lost without having been stopped
    char reason[600];     // why the run is in that state
};
struct attempt_verdict run_state_after_attempt(const struct attempt_end *end);

#endif
