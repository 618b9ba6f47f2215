// Downloads for programs that may block: a lost connection is made again and the file gone on with, until nothing has
// come for too long.
#ifndef ISLR_RPC_RETRIEVE_H
#define ISLR_RPC_RETRIEVE_H

#include "core/base/hash.h"
#include "core/rpc/call.h"

struct retrieval {
    const struct address *address;
    const char *token;       // NULL: none
    const Islr__ReadAs *as;  // as which rank is read; NULL: as a client
    double patience_seconds; // without a byte
    void *context;
    void (*on_progress)(void *context, uint64_t have); // may be NULL
    int (*should_stop)(void *context);                 // asked while the server is away; may be NULL
    struct caller *caller; // the connection, for other calls too; NULL: none yet. caller_close() it at the end

    double moved; // private: clock_seconds() of the last bytes
    int done;
    struct error why;
};

// A connection, made if there is none; NULL with *e when there is no server now.
struct caller *retrieval_caller(struct retrieval *r, struct error *e);

// See download.h for what happens to the file. A file at `path` that has this hash already is left as it is.
// ERR_UNREACHABLE, ERR_TIMEOUT: patience is at an end; the same call later goes on. ERR_INTERRUPTED: should_stop().
int retrieve_file(struct retrieval *r, const char *path, const struct hash *sha256, uint64_t size, struct error *e);

// ListCheckpoints; the answer holds checkpoint_list, envelope_free() it. NULL: as retrieve_file().
Islr__Envelope *retrieve_checkpoints(struct retrieval *r, uint64_t run, struct error *e);

// Calls `ask` until it does not fail for want of a connection, in the same patience.
int retrieve_answer(struct retrieval *r, int (*ask)(struct caller *c, void *context, struct error *e), void *context,
                    struct error *e);

#endif
