// The MPI implementation's own structs. For core/comm alone.
#ifndef ISLR_COMM_COMM_MPI_H
#define ISLR_COMM_COMM_MPI_H

#include <mpi.h>
#include <stdint.h>

#include "core/comm/comm_impl.h"
#include "core/comm/mpi_message.h"

// What all communicators of a process share.
struct mpi_world {
    int broken;       // a call failed: nothing may be sent or received any more (buffers may be gone)
    struct error why; // the first failure
    struct pulse pulse;
};

struct comm_mpi {
    struct comm base;
    MPI_Comm channel;
    struct mpi_world *world;
    int is_world;             // the communicator of all ranks: owns *world and ends MPI
    uint32_t operations;      // begun so far: the same on all ranks, gives each its tag
    struct messages messages; // of the blocking collective under way
    struct reduction *reduction;
    char (*host_names)[MPI_MAX_PROCESSOR_NAME]; // [size]
    int *world_ranks;                           // [size]; NULL: the world itself
};

// A tag for the next operation: two phases each, and far more of them than can be under way at once.
int comm_mpi_next_tag(struct comm_mpi *c);

int comm_mpi_check(const struct comm_mpi *c, struct error *e);   // -1 with the first failure where there was one
int comm_mpi_break(struct comm_mpi *c, const struct error *why); // marks all communicators as broken; returns -1
int comm_mpi_error(const struct comm_mpi *c, int mpi_error, int peer, struct error *e); // peer < 0: unknown. Returns -1

// ---- what runs beside a computation (comm_mpi_reduce.c) ------------------------------------------------------------

struct reduction *reduction_create(struct comm_mpi *c);
void reduction_destroy(struct reduction *r);
void comm_mpi_begin(struct comm *c, const struct comm_task *t);
void comm_mpi_progress(struct comm *c);
int comm_mpi_wait(struct comm *c, struct error *e);

#endif
