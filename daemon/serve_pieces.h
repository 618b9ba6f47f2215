// Answers in pieces: lists, on their way to readers that may be slower than what they are made from. A piece is a message.
// It is made and sent when the connection has room, so a slow reader costs two pieces of memory and gets them all; one that
// is waited for long has the state of the database let go of that its list is read from. A list ends with its last piece, or
// with a Fault: it cannot be read on, or the server stops while its reader is waited for.
#ifndef ISLR_DAEMON_SERVE_PIECES_H
#define ISLR_DAEMON_SERVE_PIECES_H

#include <stdint.h>

#include "daemon/serve_read.h"

// Of one piece. The last one that fits may go beyond the bytes, by far less than a frame has room for.
enum { PIECE_ITEMS = 256, PIECE_BYTES = 256 << 10 };

struct pieces;

struct pieces_kind {
    // Makes the next piece, in the job's pool: 1: others may follow, 0: it is the last, -1. One of the two: from the
    // database, not on the loop; from memory, on the loop.
    int (*read)(struct pieces *p, struct store_reader *reader, struct error *e);
    int (*gather)(struct pieces *p);
    // On the loop, the session_reply() of it.
    int (*send)(struct pieces *p, int more);
    // Of a list that holds on to a state of the database between its pieces; NULL: it does not. Lets go of it for good, so
    // that each piece from then on may have another reader.
    int (*park)(struct pieces *p, struct error *e);
    void (*close)(struct pieces *p); // the list is over; may be called twice; NULL: nothing to do
};

// Embed it at the front of what the list needs.
struct pieces {
    struct read_job job; // to be started, by read_job_start() or as the list wants
    const struct pieces_kind *kind;
    struct pieces *next; // private: of those that wait
    uint64_t since;      // loop time
    enum { PIECES_HELD, PIECES_PARKING, PIECES_PARKED } state;
};

void *pieces_new(struct session *session, size_t size, const struct pieces_kind *kind);

void pieces_drained(struct session *session); // its connection takes data again, or is gone
void pieces_tick(struct server *s);
void pieces_stop(struct server *s); // those that wait end with a Fault

#endif
