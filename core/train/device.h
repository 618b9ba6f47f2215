// Opens the device that a rank computes on.
#ifndef ISLR_TRAIN_DEVICE_H
#define ISLR_TRAIN_DEVICE_H

#include "core/comm/comm.h"
#include "kernels/backend.h"

// kind: "cpu"; "cuda": a card for each rank of the host, by the rank's number there; "auto": cards where the host has one
// for each of its ranks, else the CPU. threads of the CPU: 0: this rank's share of the machine, which is its affinity mask where
// the launcher has bound it, else the cores divided by the ranks on this host.
struct backend *device_open(const char *kind, int threads, const struct comm *comm, struct error *e);

int device_threads(const struct comm *comm); // that share

#endif
