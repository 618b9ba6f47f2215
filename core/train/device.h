// Opens the device that a rank computes on.
#ifndef ISLR_TRAIN_DEVICE_H
#define ISLR_TRAIN_DEVICE_H

#include "core/comm/comm.h"
#include "kernels/backend.h"

// Collective. kind: "cpu"; "cuda": a card for each rank of a host, numbered as its ranks are among those that see the same
// cards (CUDA_VISIBLE_DEVICES); "auto": cards where there is one for each, else the CPU. threads of the CPU: 0:
// device_threads(). NULL with *e: what is asked for is not there, or cannot be used, on this rank.
struct backend *device_open(const char *kind, int threads, struct comm *comm, struct error *e);

// Collective: refuses ranks that compute on different kinds of devices, or in different types, in one run. Their results
// would depend on which rank had which clips.
int device_agree(struct comm *comm, struct backend *backend, enum dtype type, struct error *e);

// Can it still be computed on? A card that has met an error of its own cannot, until the process is another one.
int device_check(struct backend *backend, struct error *e);

// This rank's share of the cores: those that the launcher has bound it to, or has left to several ranks of the host. At
// least 1; -1: the ranks do not meet. Collective.
int device_threads(struct comm *comm, struct error *e);

#endif
