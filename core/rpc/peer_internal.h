// The inside of a peer, shared by peer.c (life, bytes in and out), peer_request.c (requests and their replies) and
// peer_timer.c (deadlines).
#ifndef ISLR_RPC_PEER_INTERNAL_H
#define ISLR_RPC_PEER_INTERNAL_H

#include "core/rpc/frame.h"
#include "core/rpc/peer.h"
#include "core/rpc/transport.h"

// A request of ours that waits for replies.
struct pending {
    struct pending *next;
    uint64_t id;
    uint64_t deadline; // loop time in ms, 0: none
    peer_reply_fn on_reply;
    void *context;
};

// Bytes that arrived while the peer was throttled; at most what one read gave.
struct held {
    uint8_t *data;
    size_t size;
};

struct peer {
    uv_loop_t *loop;
    struct transport *transport; // NULL once it is closed
    struct peer_setup setup;
    struct peer_events events;
    void *context;
    uv_timer_t timer;   // rings at the earliest deadline, or before
    uint64_t timer_due; // 0: not set
    int timer_closed;
    struct frame_reader reader;
    struct held held;
    struct pending *pending; // newest first
    uint64_t last_id;
    Islr__Envelope *current; // being delivered
    struct error why;

    int started;
    int recognised; // full-sized frames
    int full;       // above RPC_QUEUE_HIGH, until it falls below RPC_QUEUE_LOW
    int throttled;  // by the owner
    int ending;     // peer_end(): flushing, input is discarded
    int closing;

    // loop times in ms; 0: does not apply
    uint64_t opened, heard, sent, pinged, partial_since, moved, linger_until;
    uint64_t doubted; // `heard` when silence was found to be too long
    uint64_t ping_ms, idle_ms, handshake_ms, partial_ms, stall_ms;
};

static inline uint64_t peer_now(const struct peer *p)
{
    return uv_now(p->loop);
}

static inline int peer_reached(const struct peer *p, uint64_t due)
{
    return due && peer_now(p) >= due;
}

// Is the other end being read from?
static inline int peer_listening(const struct peer *p)
{
    return !p->throttled && !(p->full && p->setup.server);
}

// Bytes wait to be delivered, by the timer: from the loop, never from within a call.
static inline int peer_held_due(const struct peer *p)
{
    return p->held.size && peer_listening(p) && !p->ending;
}

void peer_take_held(struct peer *p);

void peer_timer_init(struct peer *p);
void peer_timer_arm(struct peer *p); // after any change of a time below: rings at the earliest deadline, or before

void peer_deliver_reply(struct peer *p, const Islr__Envelope *m);
void peer_expire_requests(struct peer *p);
void peer_fail_requests(struct peer *p); // the connection is over: p->why

#endif
