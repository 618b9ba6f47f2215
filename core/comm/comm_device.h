// Sums over the ranks of what lies in device memory that the host does not reach, and the gathering of the ranks' parts
// (comm.h), by NCCL, beside the computation: queued on a stream of its own, of the device's highest priority, so that
// nothing waits for the host. One on top of a communicator, whose MPI it takes
// for what must be agreed on.
//
// Rules that hold here as in comm.h:
//  * All ranks call the same in the same order with the same sizes.
//  * Sums have one order: every element over the ranks 0, 1, 2, .. in double, rounded once. NCCL's own reductions promise
//    none (it depends on the machines' wiring and on NCCL's version), so NCCL carries the ranks' contributions to the one
//    that adds them up, and the results back: every rank sends and receives 2(n-1)/n of the data, as with a ring. The
//    result is that of comm_reduce_begin() to the bit. ISLR_NCCL=bf16 sends contributions and results as bf16, half the
//    bytes, added up in the same way: the same bits in every repetition, but not those of fp32. ISLR_NCCL=fast has NCCL
//    add up, in fp32 and in its own order (the same in every run only with the same wiring, and
//    NCCL_ALGO=Ring and NCCL_NVLS_ENABLE=0).
//  * No wait is without end. comm_device_wait() takes the place of the stream's synchronize; it watches NCCL's
//    asynchronous errors and the communicator's deadline. A failure names the ranks that are missing or behind, as far
//    as these can be asked, and gives up NCCL's communicator; where that hangs, the process is left (within
//    COMM_DEVICE_LEAVE seconds, or the deadline if that is shorter), as it is where a call into the driver never comes
//    back.
//  * After a failure every later call fails with the same sentence.
#ifndef ISLR_COMM_COMM_DEVICE_H
#define ISLR_COMM_COMM_DEVICE_H

#include "core/comm/comm.h"
#include "kernels/backend.h"

#define COMM_DEVICE_LEAVE 20.0

struct comm_device;

// Collective over `c`, which must outlive it. *out is NULL where there is nothing to do for it (one rank, a device without
// streams of its own) or where it cannot be had: ISLR_NCCL=off, or no NCCL on some rank. `note` then says why, else what
// is used. -1: NCCL is there, but the ranks do not come together over it.
enum { COMM_DEVICE_NOTE = 256 };
int comm_device_open(struct comm *c, struct backend *b, struct comm_device **out, char note[COMM_DEVICE_NOTE],
                     struct error *e);
void comm_device_close(struct comm_device *d); // NULL is fine. No sum may be under way, unless it failed

// All three queue their work behind what is queued on `after` so far. Failures are kept.

// data[0..count) := sum over the ranks / divisor.
void comm_device_sum(struct comm_device *d, struct stream *after, float *data, size_t count, float divisor);
// Of the sum, each rank gets its part (comm_part_start() of `count` and COMM_PART_UNIT), with the bits of
// comm_device_sum(); what the rest of `data` holds is undefined. count <= COMM_DEVICE_PIECE.
enum { COMM_DEVICE_PIECE = 4 << 20 }; // elements that one exchange is of: 16 MiB
void comm_device_reduce_scatter(struct comm_device *d, struct stream *after, float *data, size_t count);
// Each rank's part of each of parts[0..count) comes to all. Those whose size is no multiple of ranks * unit are at most
// COMM_DEVICE_PIECE floats long.
void comm_device_all_gather(struct comm_device *d, struct stream *after, const struct comm_part *parts, int count);
// `s` goes on only when all that was queued is done.
void comm_device_join(struct comm_device *d, struct stream *s);
// Where the streams are recorded (kernels/backend.h; on all ranks at once, or on none): how many sums were queued so far,
// and a word before a replay that queues so many again.
uint64_t comm_device_begun(const struct comm_device *d);
void comm_device_replay(struct comm_device *d, uint64_t sums);
// To be called in a failure, before NCCL's communicator is given up: NCCL would wait until recordings that its operations are
// part of are destroyed. What it returns stands behind the failure's sentence (or NULL). NULL: nothing is called.
void comm_device_before_failure(struct comm_device *d, const char *(*call)(void *context), void *context);
// The failure that was kept, if there is one: -1 with *e.
int comm_device_failed(const struct comm_device *d, struct error *e);
// Until all that is queued on `s` is done.
int comm_device_wait(struct comm_device *d, struct stream *s, struct error *e);

// Bytes of device memory that it takes for so many ranks, at most.
size_t comm_device_size(int ranks);

// "2.27.7" into text, or -1 with *e: there is none. Loads it, makes nothing.
enum { COMM_DEVICE_LIBRARY = 32 };
int comm_device_library(char text[COMM_DEVICE_LIBRARY], struct error *e);

#endif
