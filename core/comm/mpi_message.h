// Messages between the ranks of an MPI communicator: non-blocking sends and receives that are polled, and a wait for
// them that ends. Every collective of comm_mpi.c is made of these alone: MPI's own collectives can neither be bounded
// nor say who is missing.
#ifndef ISLR_COMM_MPI_MESSAGE_H
#define ISLR_COMM_MPI_MESSAGE_H

#include <mpi.h>
#include <stddef.h>

#include "core/base/error.h"

struct comm_mpi;

enum message_direction { MESSAGE_SEND, MESSAGE_RECEIVE };

struct message {
    int peer;
    enum message_direction direction;
    int phase; // of the collective: what is missing in the first phase explains what is missing in the second
    int size;  // bytes
};

// The messages of one collective. Zero-initialise with `comm` set; messages_free() at the end.
struct messages {
    struct comm_mpi *comm;
    MPI_Comm channel;          // that they travel on
    int count, open, capacity; // posted, not yet complete, room
    struct message *message;   // [capacity]
    MPI_Request *request;      // [capacity]
    MPI_Status *status;        // [capacity], scratch
    int *index;                // [capacity], scratch
};

// Called for a message that is complete; may post further ones. -1 with *e: the collective fails.
typedef int messages_done(void *context, const struct message *m, struct error *e);

// Posts a message of any size (above MPI's int counts it travels as several, in order). Between two ranks, messages
// with the same tag match in the order of posting. Both return 0 or -1 with *e.
int messages_send(struct messages *m, const void *data, size_t size, int peer, int phase, int tag, struct error *e);
int messages_receive(struct messages *m, void *data, size_t size, int peer, int phase, int tag, struct error *e);

// Lets MPI move and hands what is complete to `done` (may be NULL). Returns how many were, or -1 with *e: also where a
// peer sent less than is received, which MPI takes, but which only ranks do that are at different collectives.
int messages_poll(struct messages *m, messages_done *done, void *context, struct error *e);

// Polls until none is open, while begun reductions move on. `what` names the collective in errors ("a barrier"). A failure
// breaks the communicator.
int messages_wait(struct messages *m, messages_done *done, void *context, const char *what, struct error *e);

void messages_reset(struct messages *m); // forgets complete messages; none may be open
void messages_free(struct messages *m);

// A wait for messages. It spends the time in which nothing moves by yielding the core at first, then by sleeping in
// short pieces, since ranks may share cores with their peers' threads; and it tells the pulse what is waited for.
struct patience {
    const struct comm_mpi *comm;
    const struct messages *const *sets; // [count]: what is waited for
    int count;
    const char *what; // the collective
    double moved;     // clock_seconds() when something last moved
    double told;      // when the missing ranks were last told
};
void patience_start(struct patience *p);
int patience_spend(struct patience *p, int moved, struct error *e); // -1, ERR_TIMEOUT: nothing has moved for too long
void patience_end(struct patience *p);

#endif
