// Attempts: from the scheduler's word to the end, and the ranks' part in them. An attempt is one gang's work on a run.
//
//   begin      the database gets the attempt (queued -> starting), then every rank gets Assign
//   taken      every rank has said Ok: starting -> running
//   stop       the ranks are asked to save and to end (the database says stopping already)
//   finished   the first rank says how it ended
//   lost       a rank is gone for good: the others are told to abandon it
#ifndef ISLR_DAEMON_SERVE_ATTEMPT_H
#define ISLR_DAEMON_SERVE_ATTEMPT_H

#include <stddef.h>
#include <stdint.h>

#include "core/store/state.h"
#include "proto/control.pb-c.h"

struct run;
struct server;
struct session;
struct worker;

// Ranks of one world, ascending. They count as taken from now on.
void attempt_begin(struct server *s, struct run *r, struct worker *const *gang, size_t count);

// A rank has registered (again), in the middle of a run or idle (run 0). First: is that run still its? 0: it is to be
// abandoned. Then, when the rank has its answer, what follows from it.
int attempt_claim_holds(struct server *s, const struct worker *w, uint64_t run, uint32_t attempt);
void attempt_rank_back(struct server *s, struct worker *w, uint64_t run, uint32_t attempt);
void attempt_shun(struct server *s, const struct worker *w); // worker_shun() for the ranks that work with it
void attempt_rank_gone(struct server *s, struct worker *w, const char *why); // for good; w is freed after

void attempt_stop(struct server *s, const struct run *r); // tells the ranks, as r->now says
// `lines` (may be NULL) go to the run's log before its end.
void attempt_lost(struct server *s, struct run *r, const char *reason, const char *lines);

// Tells the rank of this session, which has said something of that attempt, to leave it.
void attempt_tell_abandon(struct session *session, uint64_t run, uint32_t attempt);

// A rank speaks of an attempt under way that it has no part in: refused (1), and it is told to leave it.
int attempt_refuse_foreign(struct session *session, const Islr__Envelope *m, uint64_t run, uint32_t attempt);

// Ends an attempt in the database, by the word of a session's rank (`said` is its message, kept; it is answered when that
// is done), or of the server itself (both NULL).
struct attempt_report {
    uint64_t run;
    uint32_t attempt;
    enum attempt_outcome outcome;
    int retryable;
    const char *reason;
    const char *lines; // of the server's own, for the run's log; NULL: none
};
void attempt_end(struct server *s, const struct attempt_report *report, struct session *session, Islr__Envelope *said);

// Cancels a run because the run `other`, which had to succeed first, has not.
void attempt_cancel_for(struct server *s, uint64_t run, uint64_t other);

// Has a run stopped so that another gets its ranks.
void attempt_preempt(struct server *s, struct run *r, const struct run *other);

void attempts_drain(struct server *s, const char *reason); // asks all to save and give their ranks back
void attempts_tick(struct server *s);                      // ranks that did not come back, limits
void attempts_wait_longer(struct server *s, uint64_t ms);  // for the former

// Private to serve_attempt.c and serve_gang.c: Assign to every rank that has not got it; running when all have taken
// it.
void attempt_offer(struct server *s, struct run *r);
void attempt_check_taken(struct server *s, struct run *r);

#endif
