// An artifact's bytes from the server, in order: several Fetch requests are kept under way, so that the line is full
// also where answers take long.
#ifndef ISLR_RPC_FETCH_H
#define ISLR_RPC_FETCH_H

#include "core/base/hash.h"
#include "core/rpc/peer.h"

struct fetch;

struct fetch_events {
    // The next bytes; -1 with *e ends the fetch with that error.
    int (*on_data)(void *context, const uint8_t *data, size_t size, struct error *e);
    // Once, last, never from within fetch_start(): ERR_NONE when all bytes have come, else why not (a lost connection
    // too). The fetch is freed when it returns.
    void (*on_end)(void *context, const struct error *why);
};

struct fetch_range {
    struct hash sha256;
    uint64_t offset, size;  // the bytes from `offset` on of an artifact of `size` bytes; offset < size
    const Islr__ReadAs *as; // as which rank is read, until the end; NULL: as a client
};

// NULL: the peer takes no requests.
struct fetch *fetch_start(struct peer *p, const struct fetch_range *range, const struct fetch_events *events,
                          void *context, struct error *e);
void fetch_cancel(struct fetch *f); // frees it; no more callbacks

#endif
