// One connection that speaks envelopes, the same type on a server and a client, whatever carries the bytes.
//
// Everything happens on the loop's thread. A peer comes from a listener (listen.h) or a link (link.h). It lives until
// its on_close has returned: on_close comes exactly once, last, from the loop and never from within a peer_ function;
// between peer_close() and on_close only the open requests' on_reply are called, each once. Every callback may close
// its peer.
//
// The peer itself answers Ping, matches replies to requests, bounds its write queue, and gives up on a handshake, a
// partial frame, a stalled writer or a silent partner that takes too long (times in protocol.h).
#ifndef ISLR_RPC_PEER_H
#define ISLR_RPC_PEER_H

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "core/base/error.h"
#include "core/rpc/envelope.h"
#include "core/rpc/guard.h"

struct peer;
struct transport;

struct peer_events {
    // Anything but a reply to one of our requests. The message is the peer's and freed when the callback returns,
    // unless peer_keep_message() was called.
    void (*on_message)(struct peer *p, Islr__Envelope *m);
    void (*on_drained)(struct peer *p); // the queue fell below RPC_QUEUE_LOW after peer_is_full(); may be NULL
    void (*on_close)(struct peer *p, const struct error *why); // ERR_NONE: orderly, by either end
};

// Who is at the other end. On a unix socket the kernel knows a user; over the network (known is 0) there is an address.
struct peer_identity {
    int known;
    uid_t uid;
    pid_t pid;
    char user[64];    // login name, or the number
    char address[48]; // "192.0.2.1"; "": a unix socket
    struct network network;
};

// On a listener's on_peer: from here on events come. `context` is yours.
void peer_start(struct peer *p, const struct peer_events *events, void *context);
void *peer_context(const struct peer *p);
const struct peer_identity *peer_identity(const struct peer *p);

// The handshake is over: full-sized frames from now on. A server calls it when it has accepted Hello, just before it
// sends Welcome. Before that a server's peer delivers nothing but Hello; anything else ends the connection.
void peer_recognise(struct peer *p);
// It failed to say who it is: its address is let in more rarely (guard.h).
void peer_blame(struct peer *p);

// Queues a message (packed at once: it may live on the stack). Returns -1 when it is larger than a frame may be
// (nothing was sent, the connection goes on; ERR_INVALID) or the connection is closing or its queue would go over
// RPC_QUEUE_MAX (it is then closed as a slow reader; ERR_UNREACHABLE). Callers that push should stop at peer_is_full()
// and go on in on_drained.
int peer_send(struct peer *p, const Islr__Envelope *m, struct error *e);
int peer_is_full(const struct peer *p);
size_t peer_queued(const struct peer *p); // bytes

// Answers a request: a reply with that request's id (set in m). One that is larger than a frame is not sent, a Fault that
// says so goes in its place: -1 with ERR_FAILED. Otherwise -1 as peer_send().
int peer_reply(struct peer *p, uint64_t id, Islr__Envelope *m, struct error *e);
void peer_reply_ok(struct peer *p, uint64_t id);
void peer_reply_fault(struct peer *p, uint64_t id, const struct error *why);

// Sends a request under an id of its own (set in m, and returned; 0 when it could not be sent: then on_reply is not
// called). on_reply is called for every reply (see envelope_is_last_reply), or once with m NULL and `why` when the
// connection ends, the time (0: none; it runs to the first reply) is over, or peer_forget() ends it without a call.
// A Fault arrives as m NULL and `why` too. The message is freed when the callback returns.
typedef void (*peer_reply_fn)(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why);
uint64_t peer_request(struct peer *p, Islr__Envelope *m, uint64_t timeout_ms, peer_reply_fn on_reply, void *context,
                      struct error *e);
void peer_forget(struct peer *p, uint64_t id); // no more callbacks for this request; unknown ids are fine

// In on_message: the message is now the caller's; envelope_free() it.
Islr__Envelope *peer_keep_message(struct peer *p);

// A quiet connection sends a Ping every ping_ms (0: never; dialled peers RPC_PING_MS) and is closed when nothing was
// heard for idle_ms (0: never; RPC_IDLE_MS at both ends by default).
void peer_set_keepalive(struct peer *p, uint64_t ping_ms, uint64_t idle_ms);
// How long the other end may take for its handshake, for the rest of a frame, and with what it is sent: by default what
// protocol.h says. 0: as it is.
void peer_set_patience(struct peer *p, uint64_t handshake_ms, uint64_t partial_ms, uint64_t stall_ms);
uint64_t peer_silent_ms(const struct peer *p); // since the last byte from the other end
// This process was held up for so long: what it could not hear meanwhile is no silence.
void peer_forgive(struct peer *p, uint64_t ms);

// Stops reading from the other end (and minding its silence) while `on`: back-pressure of the owner's own, besides that
// of a full queue. What had arrived already comes from the loop later, never from within this call.
void peer_throttle(struct peer *p, int on);

// Closes now; what is queued is lost. `why` (NULL: orderly) comes back in on_close.
void peer_close(struct peer *p, const struct error *why);
// Sends a Fault with id 0 (why NULL: nothing), reads no more, and closes when the queue is out.
void peer_end(struct peer *p, const struct error *why);

// ---- for listen.c and link.c ------------------------------------------------------------------------------------

struct peer_setup {
    int server; // accepted: unrecognised at first, throttled while its queue is full
    struct peer_identity identity;
    void (*on_recognised)(struct peer *p, void *owner); // may be NULL, as the next ones
    void (*on_blamed)(struct peer *p, void *owner);
    void (*on_gone)(struct peer *p, void *owner); // after on_close, the peer is about to be freed
    void *owner;
};
struct peer *peer_create(uv_loop_t *loop, const struct peer_setup *setup);
struct transport_user peer_transport_user(struct peer *p);
void peer_attach(struct peer *p, struct transport *t); // once, before peer_start()
int peer_recognised(const struct peer *p);

#endif
