// What happens to runs: the requests (see store.h) behind submit, cancel, hold, release, retry, set, the scheduler's
// starts and the ends of attempts. Each decides inside its transaction, on the state that the database has then, so
// requests that cross each other cannot contradict; the caller's memory follows from `now` in `done`.
//
// Every change of state is an event and a record of the run's sequence (state.h: which are allowed).
#ifndef ISLR_STORE_RUN_H
#define ISLR_STORE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/hash.h"
#include "core/store/reporter.h"
#include "core/store/state.h"
#include "core/store/store.h"
#include "proto/control.pb-c.h"

// A group is a run whose work is done by other runs, its members (their parent_id). Its state follows from theirs in the
// transaction that changes one of them (group.h), and what is said to it is said to them. The folds of a job with
// data.fold "all" are a group that does one thing itself: once all folds have succeeded it is queued like any run
// (`joining`), for a rank to join their predictions.
enum run_group { RUN_ALONE, RUN_FOLDS, RUN_SWEEP };
enum { RUN_MEMBERS_MAX = 10000 };                 // of a submission, the members' own included
const char *run_group_name(enum run_group group); // "", "folds", "sweep"

enum { RUN_JOB_MAX = 480 << 10 }; // bytes of a packed job: it is sent to ranks, and shown, within one message

// A run as it is after a request.
struct run_now {
    uint64_t run;
    uint64_t parent; // the group that it belongs to, 0: none
    enum run_group group;
    int joining; // of RUN_FOLDS
    char user[64];
    Islr__RunState state;
    char reason[600];
    int stop_why; // of state.h
    int32_t priority;
    uint32_t attempt; // number of the last one, 0: none yet
    uint32_t tries;   // attempts that count against max_attempts
    uint32_t max_attempts;
    uint64_t last_seq;
    int64_t
        changed_ms; // when it got into this state. A run's times never go back, even if the clock does: see run_row.h
};

// ---- submit ---------------------------------------------------------------------------------------------------------

// One run of a group.
struct run_member {
    char *name;
    struct hash job_hash;
    const void *spec;
    size_t spec_size;
    uint32_t max_attempts;
    enum run_group group; // it may be one itself
    int parent;           // the place of its group in `members`, -1: the run that is submitted
    uint64_t run;         // result
};

// Makes a run, queued or held. With a key that this user has used before it makes none and gives the first one back.
// A group is made with all its members, which wait for `after` and have the priority.
// REFUSED: a run in `after` or `named` does not exist (ERR_NOT_FOUND), or one in `after` has ended so that this one could
// never start.
struct run_named { // one that the job takes something from
    uint64_t run;
    char field[32]; // by which of its fields
};
struct run_submit {
    struct store_op op;
    const char *user, *name, *kind;
    const char *key; // NULL or "": none
    struct hash job_hash;
    const void *spec; // the packed JobSpec
    size_t spec_size;
    int32_t priority;
    int hold;
    const uint64_t *after;
    size_t after_count;
    int after_any; // the others need only have ended
    const struct run_named *named;
    size_t named_count;
    uint32_t max_attempts;
    enum run_group group;
    struct run_member *members; // of a group, each behind the one that it belongs to
    size_t member_count;
    const void *recipe; // of a group whose members run_expand makes later: what they are made from; NULL: they are here
    size_t recipe_size;
    const char *refusal; // no new run is made: why (ERR_DENIED); NULL: it is
    int64_t time_ms;
    // results
    struct run_now now;
    int existed;
};
void run_submit_prepare(struct run_submit *r);

// A large group is acknowledged before its members are there: with its row their numbers are taken (the next
// member_count ones) and the recipe is kept, which says all that they are made from. run_expand makes them, some at a
// time and in order; what a crash leaves unmade is made when the server starts again (run_read_expansions()). Until the
// last one is there nothing can be said to the group or its members, and none of them is started.
struct run_expand {
    struct store_op op;
    const struct run_submit *of; // as it was submitted, now.run the group; members: those at hand, member_count of them
    size_t first;                // which ones they are; nothing happens when they are there already
    // results
    size_t made; // of the group, up to now
};
void run_expand_prepare(struct run_expand *r);

struct run_expansion { // one that is under way
    uint64_t run;
    char *user;
    int64_t submitted_ms;
    size_t members, made;
    const void *recipe;
    size_t recipe_size;
};

// ---- a user's or the server's word ----------------------------------------------------------------------------------

enum run_verb_kind {
    RUN_STOP,    // queued, held: cancelled at once (why == CANCEL; otherwise nothing happens); under way: stopping.
                 // A second cancel does not wait for the ranks any more: cancelled, the attempt is lost. On a cancelled
                 // run: nothing. REFUSED: it has ended otherwise
    RUN_HOLD,    // queued -> held
    RUN_RELEASE, // held -> queued
    RUN_RETRY,   // failed, cancelled -> queued, with all its tries again; goes on from its resume point
    RUN_PRIORITY // of one that has not ended
};
struct run_verb {
    struct store_op op;
    enum run_verb_kind kind;
    uint64_t run;
    const char *as_user; // REFUSED (ERR_DENIED) unless it is this user's run; NULL: anyone's
    const char *reason;  // why: for events and lists ("cancelled by ann")
    int stop_why;        // RUN_STOP: Islr__Stop__Why
    int32_t priority;    // RUN_PRIORITY
    int64_t time_ms;
    int in_group; // said to its group: who says so settles that once for all members
    // results
    Islr__RunState before;
    struct run_now now;
    struct run_now *members; // of a group, to free(): those (and theirs) that it did something to
    size_t member_count;
};
void run_verb_prepare(struct run_verb *r);

// ---- attempts -------------------------------------------------------------------------------------------------------

struct run_rank {
    uint32_t world_rank;
    const char *host, *device;
    uint32_t pid;
};

// queued -> starting: a new attempt on these ranks (ranks[0] reports). REFUSED: the run is not queued any more.
struct run_start {
    struct store_op op;
    uint64_t run;
    const char *world;
    const struct run_rank *ranks;
    size_t rank_count;
    int64_t time_ms;
    // results
    struct run_now now;
    uint8_t *spec; // the packed JobSpec, to free()
    size_t spec_size;
    int resumes; // there is a resume point:
    struct hash resume_hash;
    uint64_t resume_size, resume_step;
    uint64_t *folds; // of a run that joins its folds: their runs, fold 0 first, to free()
    size_t fold_count;
};
void run_start_prepare(struct run_start *r);

// starting -> running, once all ranks have taken the attempt. Nothing happens when the run is elsewhere by then.
struct run_began {
    struct store_op op;
    uint64_t run;
    uint32_t attempt;
    int64_t time_ms;
    // results
    struct run_now now;
};
void run_began_prepare(struct run_began *r);

// The attempt has ended; where the run goes is decided by run_state_after_attempt(). An attempt that had ended before
// stays as it was (`repeated`): a worker may say so twice. REFUSED: there is no such attempt (ERR_NOT_FOUND), another rank
// reports on it (ERR_DENIED).
struct run_end {
    struct store_op op;
    const struct reporter *by; // NULL: the server itself
    uint64_t run;
    uint32_t attempt;
    enum attempt_outcome outcome;
    int retryable;
    const char *reason;
    const char *lines; // the server's own, for the run's log before the end; NULL: none
    int64_t time_ms;
    // results
    struct run_now now;
    int repeated;
};
void run_end_prepare(struct run_end *r);

// How many steps the run will have, as its first rank says; not in the run's sequence.
struct run_steps {
    struct store_op op;
    uint64_t run;
    uint64_t steps;
};
void run_steps_prepare(struct run_steps *r);

#endif
