// Steps that are recorded once and replayed (kernels/backend.h, record_begin()): what is launched operation by operation in
// the first step of a shape, and kept in its second, is one launch from then on. Results are the same to the bit: a
// recording is of the very operations that a step queues, and what changes between steps of one shape lies in device
// memory.
//
// What does not lie there is the step's shape, and a device with recordings computes in few of them (whether they are used
// or not): all models have the packed rows of the one that needs most, in multiples of RECORDER_ROWS, and mixup stands
// before every encoder in steps that mix anywhere. The ranks have one shape too, since NCCL wants that its operations are
// recorded on all of them at once, or on none.
#ifndef ISLR_TRAIN_RECORDER_H
#define ISLR_TRAIN_RECORDER_H

#include "core/train/reduce.h"

// What the operations of a step depend on that may change during a run.
struct step_shape {
    int rows;   // packed rows
    int mixed;  // mixup in at least one group
    int frozen; // the distilled model is in evaluation mode
};

enum { RECORDER_ROWS = 128, RECORDER_ROOM = 32 };

struct recorder_entry {
    struct step_shape shape;
    struct recording *recording; // NULL: seen, not recorded
    uint64_t sums;               // over the ranks, in a step
    uint64_t used;               // the last time; 0: free
};

struct recorder {
    struct reducer *reducer;
    int uniform;                                // the device has recordings: shapes are few
    int on;                                     // and they are made; the same on all ranks
    struct recorder_entry entry[RECORDER_ROOM]; // the one that was not used for longest makes room
    uint64_t clock;
    int recording;               // a step is being recorded
    uint64_t recorded, replayed; // steps
    struct error trouble;        // why no more are made, for a log; code ERR_NONE: nothing to tell
};

// Collective; where it is must stay. The environment's ISLR_RECORD=off on any rank: none are made. -1: it says something else.
int recorder_create(struct recorder *r, struct reducer *reducer, struct error *e);
void recorder_destroy(struct recorder *r); // before the reducer; a zeroed one is fine

// The shape of a step in which this rank needs `shape`: rows rounded up, `rows_max` at most; the same on all ranks
// (collective, but where `uniform` is 0: then it stays as it is).
int recorder_agree(struct recorder *r, struct step_shape *shape, int rows_max, struct error *e);

// Has the step done that queue_step(context) queues on the reducer's stream: by a call, or by a replay of what such a call
// with this shape queued.
int recorder_run(struct recorder *r, struct step_shape shape, int (*queue_step)(void *context, struct error *e),
                 void *context, struct error *e);

#endif
