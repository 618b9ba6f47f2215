// A client's end: a connection to a server that is dialled, greeted (Hello, Welcome) and, if wanted, brought back with
// back-off whenever it is lost. Workers and followers keep one; call.h drives one for a single command.
//
// All on the loop's thread; link_close() may be called from any callback.
#ifndef ISLR_RPC_LINK_H
#define ISLR_RPC_LINK_H

#include <uv.h>

#include "core/rpc/address.h"
#include "core/rpc/peer.h"

struct link;

struct link_events {
    void (*on_up)(struct link *l, struct peer *p, const Islr__Welcome *welcome);
    void (*on_message)(struct link *l, Islr__Envelope *m); // as peer_events.on_message
    void (*on_drained)(struct link *l);                    // may be NULL
    // Not up, or no longer. again_ms: the next try comes by itself after so long; -1: none does (reconnect is off, or
    // the server answered Hello with a Fault other than ERR_UNREACHABLE: it would say the same again). After -1 only
    // link_close() is left.
    void (*on_down)(struct link *l, const struct error *why, int again_ms);
    void (*on_closed)(struct link *l); // the link is freed when it returns; may be NULL
};

struct link_options {
    struct address address;
    Islr__Hello__Role role;
    const char *token; // copied; NULL: none
    int reconnect;
    uint64_t dial_ms; // a try may take so long, the greeting included; 0: RPC_HANDSHAKE_MS
};

struct link *link_open(uv_loop_t *loop, const struct link_options *options, const struct link_events *events,
                       void *context);
void *link_context(const struct link *l);
struct peer *link_peer(const struct link *l); // NULL while not up
// The connection has been of use: waits begin with the first one again. Until then each is longer than the last, so
// that a server which greets and then always hangs up is not asked in a rush.
void link_proved(struct link *l);
void link_close(struct link *l);

// Whether an error of a connection or of a request over it says that the connection broke or went dead, so that the same
// may be asked over another one: it could not be made (ERR_UNREACHABLE) or nothing was heard for too long (ERR_TIMEOUT).
static inline int link_is_break(const struct error *why)
{
    return why->code == ERR_UNREACHABLE || why->code == ERR_TIMEOUT;
}

#endif
