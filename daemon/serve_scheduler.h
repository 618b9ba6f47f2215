// Which queued run gets which ranks: a pure function over what there is, so that every rule can be tested by a table.
//
// Rules: runs by priority, then by age (run number). A run gets all its ranks at once or none, all of one world (one
// mpirun: only its ranks can build a communicator) and of one kind of device. How many: `ranks` if it says so;
// otherwise the most that are free, but at least min_ranks, and only as many as its groups of clips divide evenly by; a
// run that goes on keeps its former number where it can, since then it gives the same bits. Ranks are taken from as few
// hosts as possible. A run that cannot start yet, but could once others have ended, holds the free ranks of the world
// that it waits for: what is behind it in the queue may only use others, so no run starves.
#ifndef ISLR_DAEMON_SERVE_SCHEDULER_H
#define ISLR_DAEMON_SERVE_SCHEDULER_H

#include <stddef.h>
#include <stdint.h>

enum scheduler_device { SCHEDULER_ANY, SCHEDULER_CPU, SCHEDULER_CUDA };

// A rank of a world all of whose ranks are there (half a world is about to go).
struct scheduler_rank {
    uint32_t world; // any number that its world's ranks share
    uint32_t host;  // any number that its host's ranks share
    enum scheduler_device device;
    int free;
};

struct scheduler_run {
    uint64_t id;
    int32_t priority;
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
    const struct scheduler_run *runs; // in any order
    size_t run_count;
};

// What becomes of runs[i].
struct scheduler_answer {
    size_t count;  // > 0: it starts on these
    size_t *ranks; // [count] indices of input.ranks, ascending
    // count 0: why not
    uint32_t needs;    // ranks at least
    uint32_t free;     // in the best world, as far as no run before it holds them
    uint32_t possible; // in the best world if all were free
    uint64_t behind;   // the run that holds the ranks it could have had, 0: none
};

// answers: [run_count], malloc'ed; free with scheduler_free().
struct scheduler_answer *scheduler_decide(const struct scheduler_input *input);
void scheduler_free(struct scheduler_answer *answers, size_t run_count);

#endif
