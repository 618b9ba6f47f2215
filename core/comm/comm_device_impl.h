// Sums and gathering in device memory (comm_device.h): what its three files share. For core/comm alone.
#ifndef ISLR_COMM_COMM_DEVICE_IMPL_H
#define ISLR_COMM_COMM_DEVICE_IMPL_H

#include "core/comm/comm_device.h"
#include "core/comm/nccl_library.h"

struct deadline;

enum way { WAY_OFF, WAY_ORDERED, WAY_BF16, WAY_FAST };

struct comm_device {
    struct comm *comm;
    struct backend *backend;
    struct stream *stream;
    struct nccl_library nccl;
    struct nccl_comm *channel;
    enum way way;
    float *incoming; // device [ranks, slot]: contributions to this rank's segment of a piece; what is gathered in parts
                     // of different lengths
    size_t slot;
    uint16_t *rounded, *arrived; // device [PIECE], [ranks, slot]: what travels as bf16
    uint64_t begun;              // collectives
    const char *doing;           // what is under way, for errors
    struct deadline *deadline;
    const char *(*before_failure)(void *context); // or NULL
    void *before_context;
    struct error failed;
};

// A call's result `rc`; one that goes on in the background is waited for. `doing` is for errors, here as below. Returns 0,
// or -1 with *e (which may be NULL): the failure is kept and NCCL's communicator given up.
int comm_device_settle(struct comm_device *d, int rc, const char *doing, struct error *e);
// Counts collectives that are to be queued. Returns -1 where there is nothing left to do, after a failure.
int comm_device_begin(struct comm_device *d, uint64_t collectives);
// Gives up NCCL's communicator, within a bound or by leaving the process.
void comm_device_abort(struct comm_device *d);

#endif
