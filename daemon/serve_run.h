// The runs that have not ended, in memory, and what follows when one changes. A group is among them only while it is
// itself to be worked on (run_now.joining); what its members make of it is the database's (serve_group.h).
#ifndef ISLR_DAEMON_SERVE_RUN_H
#define ISLR_DAEMON_SERVE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "core/store/run.h"
#include "core/store/run_read.h"
#include "daemon/serve_scheduler.h"

struct server;
struct worker;

// A place in the gang of the attempt under way.
struct gang_rank {
    uint32_t world_rank;
    struct worker *worker; // NULL: not there (the server has just started, or it lost its connection for good)
    int taken;             // it has said Ok to Assign
    int asking;            // Assign is on its way to it
};

struct run {
    uint64_t id;
    struct run_now now;
    struct user *owner;
    struct scheduler_run wants; // but for user, waited_ms and left_ms
    double limit_ms;            // of work, 0: none
    int64_t queued_at;          // loop time: it has waited since
    uint64_t *after;            // runs that it still waits for
    size_t after_count;
    int after_any;
    int after_groups;               // some of those are groups, which memory does not know
    int after_behind;               // one of them has ended, which this run was read too early to know
    struct scheduler_answer answer; // what the scheduler said last, while schedule.told; its ranks are gone
    uint64_t ready_at;              // loop time: not started before
    uint32_t offered;               // its number in the offer that is being made (serve_offer.c)

    // of the attempt under way
    int busy;                              // a request that starts or ends an attempt is on its way
    struct run *next_live, *previous_live; // of those that have a gang
    char *world;
    struct gang_rank *gang; // [gang_count], the first one reports
    size_t gang_count;
    Islr__JobSpec *job; // for Assign, until all ranks have taken it
    uint64_t *folds;    // for Assign, of a group that joins its folds
    size_t fold_count;
    int has_resume;
    struct hash resume_hash;
    uint64_t resume_size;
    int64_t begun_at;       // loop time
    uint64_t gang_deadline; // loop time until which ranks that were there before the server may stay away
    double ran_ms;          // in the attempts before
    int stop_asked;         // the server has had it stopped: its time is up, or it has to make room
    // what its first rank said last
    uint64_t step, steps;
    double clips_per_second;
    uint64_t group_told_at; // loop time: its group's followers were told of its progress
    uint64_t steps_stored;  // of which the database knows
};

struct fetch;
enum { FETCH_BUCKETS = 256 };

struct runs {
    struct run **items; // by id
    size_t count, capacity;
    struct run *live;                     // those that have a gang
    int behind;                           // a run is after_behind
    struct fetch *fetches[FETCH_BUCKETS]; // under way, chained
};

struct run *runs_find(const struct runs *all, uint64_t id); // NULL: not there, or ended
void runs_close(struct runs *all);

// Takes a run in as the database has it (a new one, one that is retried, all of them at start).
struct run *run_take(struct server *s, const struct run_live *live);

// Reads a run from the database and takes it in, or what it waits for anew when it is there. What was read before a
// change that is known by then (another call, run_update()) is not taken in: it is read again.
void run_fetch(struct server *s, uint64_t id);
void run_reload(struct server *s, struct run *r); // forgets the run (its memory was behind) and fetches it

// After a request: makes memory what `now` says, tells followers and those who wait, and when the run has ended lets go
// of it and looks after the runs that waited for it. May free the run.
void run_update(struct server *s, const struct run_now *now);

// After RUN_STOP: tells the ranks, then run_update().
void run_stopped(struct server *s, const struct run_now *now);

// Looks runs up again that are after_behind.
void runs_tick(struct server *s);

// Puts what only memory knows into a summary from the database: the step that its ranks are at, why it still waits (a
// text in the pool).
void run_show_live(struct server *s, Islr__RunSummary *summary, struct pool *pool);

// The run has a gang of `count` places in this world (taken over) from now on; and forgets it: its ranks are free.
void run_make_gang(struct server *s, struct run *r, char *world, size_t count);
void run_release_gang(struct server *s, struct run *r);
struct gang_rank *run_rank_of(struct run *r, const char *world, uint32_t world_rank); // NULL: not in its gang

#endif
