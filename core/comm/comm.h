// Ranks and what they do together: collectives over host memory. One implementation for a single rank (comm_none.c),
// one over MPI (comm_mpi.c); callers see no difference. Only this directory knows MPI.
//
// Rules that hold for every call:
//  * A struct comm is a set of ranks, numbered from 0. All of them call the same collectives in the same order with the
//    same sizes. One thread calls at a time, over all communicators of the process (MPI_THREAD_SERIALIZED).
//  * No wait is without end: a rank that does not arrive within the timeout (COMM_TIMEOUT_SECONDS, or the environment's
//    ISLR_COMM_TIMEOUT in seconds, or comm_set_timeout) makes the call fail with ERR_TIMEOUT and a sentence that names
//    the operation, the rank and its host.
//  * After a failure the buffers' contents are undefined and every communicator of this process is broken: each later
//    call fails at once with the same sentence. There is nothing left but to report it and to leave through comm_abort()
//    (or exit without closing the world: mpirun then ends the other ranks).
//  * Sums have one order: element by element over the ranks 0, 1, 2, .. in double, rounded once. The result therefore
//    depends on the ranks' numbers alone - not on timing, bucket sizes or where a rank runs - and has the same bits on
//    all ranks.
//  * Sizes are not limited by MPI's int counts: large data goes in pieces.
#ifndef ISLR_COMM_COMM_H
#define ISLR_COMM_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/pulse.h"

#define COMM_TIMEOUT_SECONDS 600.0

struct comm;

// ---- opening and closing ------------------------------------------------------------------------------------------

struct comm *comm_open_single(void); // one rank, no MPI; cannot fail

// The world that mpirun or srun launched this process into, else a single rank. Initialises MPI (once a process). From
// then on the process is killed when its launcher dies, so that a killed mpirun leaves no rank behind.
// NULL: a launcher is there but MPI could not be joined (ERR_FAILED), or ISLR_COMM_TIMEOUT is no number (ERR_INVALID).
struct comm *comm_open_world(struct error *e);

// A communicator of the given ranks of `world`, in that order: only they call, all with the same arguments. Disjoint
// sets may do so at the same time. `tag` (0..32767) tells apart groups that share ranks and are created at about the
// same time; any number will do otherwise. Of a single world only {0} can be asked for. The group must be closed before
// the world.
struct comm *comm_create_group(struct comm *world, const int *ranks, int count, int tag, struct error *e);

// Frees it; NULL is fine. No reduction may be under way. Closing the world waits for the other ranks to do the same and
// finalises MPI. A broken communicator is let go of without a word to the others.
void comm_close(struct comm *c);

// Ends all ranks of the world, each with this exit code where the launcher allows it; does not return and takes at most
// ten seconds. For a rank that cannot go on while the others wait for it. On a single rank: exit.
void comm_abort(struct comm *c, int exit_code) __attribute__((noreturn));

// The same deadline must be set on all ranks; groups created later inherit it. seconds > 0.
void comm_set_timeout(struct comm *c, double seconds);
double comm_timeout(const struct comm *c);

// Where ranks wait while one of them, or each by itself, does what takes as long as it takes (preparation, a whole
// evaluation): a deadline for what comes until it is set back.
#define COMM_LONG_SECONDS (4 * 3600.0)

// This process's sign of life, one for the world and all its groups; never NULL, lives as long as the world. The waits
// in here tell it whom they wait for; what is done between them is the caller's to tell.
struct pulse *comm_pulse(const struct comm *c);
void comm_set_pulse(struct comm *c, struct pulse *p); // another one, which must outlive c: before groups are made

int comm_rank(const struct comm *c);
int comm_size(const struct comm *c);
// Name of the machine that a rank runs on, or what that rank's environment says in ISLR_HOST; lives as long as c.
const char *comm_host(const struct comm *c, int rank);

// ---- collectives: 0, or -1 with *e --------------------------------------------------------------------------------

int comm_barrier(struct comm *c, struct error *e);
int comm_broadcast(struct comm *c, void *data, size_t size, int root, struct error *e); // size in bytes
int comm_sum_f32(struct comm *c, float *data, size_t count, struct error *e);           // in place
int comm_sum_f64(struct comm *c, double *data, size_t count, struct error *e);          // in place
int comm_max_i64(struct comm *c, int64_t *value, struct error *e);                      // in place; agrees on flags
int comm_all_gather(struct comm *c, const void *mine, size_t size, void *all,
                    struct error *e); // all: [ranks, size] bytes

// Every rank's bytes, one after the other in rank order, at the root: *all (malloc'ed) and *total there, NULL and 0 on
// the others. sizes, if not NULL, gets every rank's size on every rank: [ranks].
int comm_gather_variable(struct comm *c, const void *mine, size_t size, int root, void **all, size_t *total,
                         size_t *sizes, struct error *e);

// Makes a failure of some ranks one of all. Each rank passes its own outcome: failed != 0 with *e filled, or 0. Returns 0
// where no rank failed; else -1 on every rank with the lowest failing rank's code and text in *e, behind
// "rank 3 on node7: " (on a single rank: as it was). e must not be NULL. Also a barrier.
int comm_agree(struct comm *c, int failed, struct error *e);

// ---- data of which every rank has a part --------------------------------------------------------------------------
// Rank r's part of `size` (elements, bytes) begins at comm_part_start(.., r) and ends where the next one's begins: whole
// units but for the end of the data, for each rank as many as for the first; where they do not suffice, the last ranks
// have fewer, or none.

enum { COMM_PART_UNIT = 8192 }; // elements, of sums

size_t comm_part_start(size_t size, size_t unit, int ranks, int rank);

struct comm_part {
    void *data;
    size_t size, unit; // bytes
};

// ---- sums that run beside a computation ---------------------------------------------------------------------------
// An in-place sum over the ranks is begun when a bucket of gradients is complete, moves on whenever comm_progress() (or
// any other call) is made, and is over when comm_reduce_wait() returns. Begun in the same order with the same counts on
// all ranks; the bucket must not be touched meanwhile. MPI moves nothing unless somebody is inside it, so call
// comm_progress() between the operations of the computation: it costs about a microsecond when there is nothing to do.
// A failure in begin or progress is kept and reported by the wait. Blocking collectives may be called in between.
// In the same way, with the sums and among them in any order: a sum of which every rank gets its part alone, and the
// gathering of such parts. In place both.

void comm_reduce_begin(struct comm *c, float *data, size_t count);
// Of the sum, each rank gets its part (comm_part_start() of `count` and COMM_PART_UNIT); the rest of `data` stays.
void comm_reduce_scatter_begin(struct comm *c, float *data, size_t count);
// Each rank's part of `data` comes to all.
void comm_all_gather_begin(struct comm *c, const struct comm_part *p);
void comm_progress(struct comm *c);
int comm_reduce_wait(struct comm *c, struct error *e); // all that was begun is done

// The MPI in use: "Open MPI v4.1.4". Needs no world. Returns text.
enum { COMM_LIBRARY_SIZE = 128 };
const char *comm_library(char text[COMM_LIBRARY_SIZE]);

#endif
