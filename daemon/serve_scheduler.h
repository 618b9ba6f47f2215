// Which queued run gets which ranks, and which running one has to make room: a pure function over what there is, so
// that every rule can be tested without a server.
//
// Whose turn it is. Each waiting run has
//     points = priority + 1 for every SCHEDULER_AGE_MS of waiting, at most SCHEDULER_AGE_MOST of them,
// and more points come first. A run waits since it was queued, or since its user had a run of no higher priority
// started, whichever is later: a long queue of one user's does not age past everybody else's. Among equal points the
// user comes first who has had least of the machine for his share,
//     (usage + SCHEDULER_PLEDGE_S x ranks that he has now) / share,
// where usage is in rank-seconds and decays by half in SCHEDULER_HALF_LIFE_S (serve_user.h); a start counts at once, so
// that one pass does not give everything to one user. A user's own runs of equal points go by age (run number).
//
// What it gets. All its ranks at once or none, all of one world (one mpirun: only its ranks can build a communicator)
// and of one kind of device. How many: `ranks` if it says so; otherwise the most that are free, but at least min_ranks,
// and only as many as its groups of clips divide evenly by; a run that goes on keeps its former number where it can,
// since then it gives the same bits. Ranks are taken from as few hosts as possible.
//
// Backfill. A run that cannot start yet, but could once others have ended, holds the part of the machine where it is
// sure to start first. What comes after it may use free ranks of that part only if the run that holds it cannot lose by
// that: it ends (limits.minutes) before the holder is sure to start by the limits of those that run now; or it uses
// ranks that the holder will not need. Where the holder depends on runs without a limit there is no such moment, and
// "not need" is taken strictly: in whatever order they end, the same end lets the holder start.
//
// Preemption. A run that would hold a part may have runs stopped there whose own priority (not points) is lower than
// its own priority, those of the lowest priority and the latest start first and no more than it takes; they save, go
// back into the queue and resume. A run is left alone for some time after each start (scheduler_busy.settled_ms).
//
// A user at a limit of his own holds nothing up: his runs are passed over.
#ifndef ISLR_DAEMON_SERVE_SCHEDULER_H
#define ISLR_DAEMON_SERVE_SCHEDULER_H

#include <stddef.h>
#include <stdint.h>

#define SCHEDULER_AGE_MS      (12 * 3600 * INT64_C(1000))
#define SCHEDULER_HALF_LIFE_S (7 * 24 * 3600.0)
#define SCHEDULER_PLEDGE_S    3600.0 // what a rank that was just given away counts as
enum { SCHEDULER_AGE_MOST = 10 };

enum scheduler_device { SCHEDULER_ANY, SCHEDULER_CPU, SCHEDULER_CUDA };

// A rank of a world all of whose ranks are there (half a world is about to go).
struct scheduler_rank {
    uint32_t world; // any number that its world's ranks share
    uint32_t host;  // any number that its host's ranks share
    enum scheduler_device device;
    uint32_t run; // 1 + the index in `busy` of the run that has it, 0: free
};

// A run that has ranks.
struct scheduler_busy {
    uint64_t id;
    int32_t priority;
    int64_t left_ms;    // it is sure to end within so long, -1: unknown
    int64_t settled_ms; // until it may be preempted
    int64_t ran_ms;     // since it was started
    int stopping;       // it is giving its ranks back
};

struct scheduler_user {
    double usage;                   // rank-seconds, decayed
    double share;                   // > 0
    uint32_t runs, ranks;           // under way
    uint32_t most_runs, most_ranks; // limits, 0: none
};

// A run that waits.
struct scheduler_run {
    uint64_t id;
    uint32_t user; // index of input.users
    int32_t priority;
    int64_t waited_ms;
    int64_t left_ms;     // from its start on it is sure to end within so long, 0: unknown
    uint32_t ranks;      // 0: what is free
    uint32_t min_ranks;  // of ranks 0; at least 1
    uint32_t max_ranks;  // of ranks 0; 0: no bound
    uint32_t groups;     // the number of ranks must divide it; 0: any number will do
    uint32_t last_ranks; // of its last attempt, 0: none
    enum scheduler_device device;
};

struct scheduler_input {
    const struct scheduler_rank *ranks; // worlds in any order, a world's ranks ascending
    size_t rank_count;
    const struct scheduler_busy *busy;
    size_t busy_count;
    const struct scheduler_run *runs; // in any order
    size_t run_count;
    const struct scheduler_user *users;
    size_t user_count;
    int explain; // every answer is to be complete; else only of runs that start
};

enum scheduler_why {
    SCHEDULER_STARTS,
    SCHEDULER_NO_NUMBER,  // no number of ranks that it allows shares its groups evenly
    SCHEDULER_NO_RANK,    // no rank of the device that it wants is there
    SCHEDULER_TOO_LARGE,  // it needs more ranks of one world than any has
    SCHEDULER_OCCUPIED,   // it is the first that waits for ranks: others have them
    SCHEDULER_BEHIND,     // the ranks that it could have are held for `behind`
    SCHEDULER_MAKES_ROOM, // the run `behind` gives it its ranks as soon as it has saved
    SCHEDULER_USER_RUNS,  // its user's limit of runs
    SCHEDULER_USER_RANKS  // its user's limit of ranks
};

// What becomes of runs[i].
struct scheduler_answer {
    enum scheduler_why why;
    size_t count;      // SCHEDULER_STARTS: on so many
    size_t *ranks;     // [count] indices of input.ranks, ascending
    uint32_t needs;    // ranks at least
    uint32_t free;     // in the best world, as far as it may have them
    uint32_t possible; // in the best world if all were free
    uint64_t behind;   // see `why`
    int32_t behind_priority;
};

struct scheduler_stop {
    size_t busy;     // index of input.busy: to be preempted
    uint64_t by_run; // for this one
};

struct scheduler_plan {
    struct scheduler_answer *answers; // [run_count]
    struct scheduler_stop *stops;
    size_t stop_count;
    int64_t again_ms; // nothing else happening, it may be decided otherwise after so long; -1: never
};

struct scheduler_plan scheduler_decide(const struct scheduler_input *input);
void scheduler_free(struct scheduler_plan *plan, size_t run_count);

#endif
