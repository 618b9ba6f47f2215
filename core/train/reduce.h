// Sums over the ranks of what lies in device memory: gradients, beside the backward pass that makes them (they become
// final from the end of the flat buffer on, and go out in buckets), and BatchNorm's statistics; and the gathering of what
// each rank has a part of. Three ways, the results of which are the same to the bit:
//  * where the host reaches the device's memory, in place (core/comm/comm.h);
//  * where it does not, by NCCL on a stream of its own (core/comm/comm_device.h);
//  * without NCCL, through host memory: a bucket is downloaded while the next one is computed.
#ifndef ISLR_TRAIN_REDUCE_H
#define ISLR_TRAIN_REDUCE_H

#include "core/comm/comm_device.h"
#include "core/nn/model.h"

// Elements of a bucket: [k * bucket, (k+1) * bucket) of the gradients. 16 MiB, or a little less for the ranks to have
// parts of one length (core/comm/comm.h).
size_t reduce_bucket(int ranks);

// What is on its way through host memory.
struct reduce_piece {
    float *device, *host;
    size_t count;
    int parts; // each rank gets its part of the sum
};

struct reducer {
    struct comm *comm;
    struct backend *backend;
    struct stream *stream;      // of the computation
    struct comm_device *device; // NULL: not by NCCL
    struct stream *side;        // of the downloads; NULL: not through host memory
    struct reduce_piece *piece; // through host memory: [count]; the last one is not begun until the next comes
    int count, capacity, begun;
    struct error failed;         // the first failure of what cannot return one
    char note[COMM_DEVICE_NOTE]; // how the sums travel, where that is worth a line
};

// Collective.
int reducer_create(struct reducer *r, struct comm *comm, struct backend *backend, struct stream *stream,
                   struct error *e);
void reducer_destroy(struct reducer *r); // a zeroed one is fine

// For one backward pass over `count` gradients; the watch is to be given to model_backward(). Several may follow each
// other before reducer_finish(). parts: each rank gets the sum of its part of every bucket alone, and what it has in the
// rest is undefined.
struct reduce_pass {
    struct reducer *reducer;
    float *gradient; // device
    size_t end;      // gradients from here on are under way or done
    int parts;
};
struct gradient_watch reduce_pass_begin(struct reduce_pass *p, struct reducer *r, float *gradient, size_t count,
                                        int parts);

// What is queued on the stream from now on finds all sums done.
int reducer_finish(struct reducer *r, struct error *e);

// data[0..count) := mean over the ranks, on the device, in the stream's order.
int reducer_average(struct reducer *r, float *data, size_t count, struct error *e);

// Whether all of it is queued on the device, so that it may be recorded (kernels/backend.h). How many sums were queued so
// far; and a word that a replay will queue so many, before it does.
int reducer_queues(const struct reducer *r);
uint64_t reducer_sums(const struct reducer *r);
void reducer_replay(struct reducer *r, uint64_t sums);

// Each rank's part of each of parts[0..count), device memory, comes to all, in the stream's order.
int reducer_all_gather(struct reducer *r, const struct comm_part *parts, int count, struct error *e);

// Waits for all that is queued on the stream, and delivers its downloads: in place of synchronize, which would wait for
// a missing rank without end.
int reducer_wait(struct reducer *r, struct error *e);

#endif
