// A run's state between two steps: all that a bit-identical continuation needs beside the job and the data. What is
// random is drawn from counters (seed, epoch, step), so the step's number stands for sampler and generators.
#ifndef ISLR_TRAIN_STATE_H
#define ISLR_TRAIN_STATE_H

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/train/step.h"

enum { STATE_BEST_MAX = 16 }; // and the bound of checkpoint.keep_best

// Checkpoints kept for their accuracy.
struct state_best {
    uint32_t epoch;
    double accuracy;
};

// What a run began from beside its job: hashes of the prepared set, and of the files of init, zero where none is given.
struct state_origin {
    struct hash set, init[LEARNERS];
};

struct run_state {
    struct state_origin origin;
    uint32_t step;   // done; 0 before the first
    uint32_t frozen; // step_space.frozen
    uint32_t best_count;
    struct state_best best[STATE_BEST_MAX]; // best first
};

// What of a job decides its mathematics: hash of the resolved job without name, resources, retries, limits and the
// interval of resume points. A resume point of another hash is refused; a run's summary and its checkpoints carry it.
struct hash state_job_hash(const Islr__JobSpec *job);

// Writes a resume point of the three models, their moments and the loss scale into `directory`. Collective: rank 0
// writes. It is the same, whoever keeps which moments.
int state_save(const char *directory, const struct run_state *state, struct step_space *t, struct error *e);

// Loads the newest whole resume point and removes damaged ones of later steps; ERR_NOT_FOUND if there is none,
// ERR_INVALID if it is of another job, or of another origin than `state` has before (one of init that is zero there
// will do). Called on one rank; state_share() must follow, which gives all ranks what is theirs. One of a run that had
// no loss scale goes on in fp16 with a fresh one, as a line in the log says.
int state_load(const char *directory, const struct log *log, struct run_state *state, struct step_space *t,
               struct error *e);

// Gives rank 0's state to the others, after a fresh start as after a state_load(). Collective.
int state_share(struct run_state *state, struct step_space *t, struct error *e);

#endif
