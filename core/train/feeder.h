// Sets that are larger than the device: only the clips that a batch takes are on it. Two batches' worth of memory take
// turns, so that one is filled through pinned memory, on a stream of its own, while the other is computed with. Kernels
// see the same frames as from a resident set, so results are the same to the bit.
#ifndef ISLR_TRAIN_FEEDER_H
#define ISLR_TRAIN_FEEDER_H

#include "core/data/set.h"
#include "kernels/backend.h"

struct feeder;

// Where the clips of one batch are: for struct augment, whose plans name places in it.
struct feed {
    const float *frames;        // device
    const int64_t *offset;      // device
    const int32_t *frame_count; // device
    uint64_t number;            // of the feed, from 1
};

// For up to `clips` clips a batch, each in up to `views` views, which may each take another clip's face. The set must
// outlive it.
struct feeder *feeder_create(const struct set *set, struct backend *b, int clips, int views, struct error *e);
void feeder_destroy(struct feeder *f);                           // NULL is fine
size_t feeder_size(const struct set *set, int clips, int views); // bytes of device memory

// Queues the upload of the clips that the plans name, whose `clip` and `partner` become places in the feed. It takes the
// memory of the feed before the last one: what was queued with that must be done.
struct feed feeder_put(struct feeder *f, struct augment_plan *plans, int count);
// Is it still there?
int feeder_holds(const struct feeder *f, const struct feed *feed);
// Until all feeds have arrived: before what reads them is queued.
int feeder_wait(struct feeder *f, struct error *e);

#endif
