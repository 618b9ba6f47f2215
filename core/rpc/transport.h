// The seam between a connection and its bytes. A peer (peer.h) writes to and hears from a struct transport and does not
// know what carries it: today a libuv stream (transport_stream), later TLS, which is itself the user of a stream
// transport below and offers this same interface above.
//
// Lifetimes are libuv's: all calls and callbacks on the loop's thread; transport_close() may be called from any
// callback and at any time, ends all other callbacks at once, and on_closed comes later, once, from the loop, when the
// transport is already freed. Reading is off at first. What is written before a handshake of the transport's own is
// over waits.
#ifndef ISLR_RPC_TRANSPORT_H
#define ISLR_RPC_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/error.h"

struct transport_user {
    void *context;
    void (*on_bytes)(void *context, const uint8_t *data, size_t size);
    void (*on_written)(void *context);                      // the queue got shorter
    void (*on_end)(void *context, const struct error *why); // ERR_NONE: the other end has finished orderly
    void (*on_closed)(void *context);
};

struct transport {
    const struct transport_ops *ops;
    struct transport_user user;
};

struct transport_ops {
    // Takes the malloc'ed data. Later failures reach on_end; -1: it failed at once.
    int (*write)(struct transport *t, uint8_t *data, size_t size, struct error *e);
    size_t (*queued)(const struct transport *t); // bytes not yet with the kernel
    void (*read)(struct transport *t, int on);   // back-pressure: off stops on_bytes
    void (*finish)(struct transport *t);         // no more writes: the other end sees the end behind what is queued
    void (*close)(struct transport *t);
};

// Over a connected or accepted stream, malloc'ed, of which it takes ownership.
struct transport *transport_stream(uv_stream_t *stream, const struct transport_user *user);

static inline int transport_write(struct transport *t, uint8_t *data, size_t size, struct error *e)
{
    return t->ops->write(t, data, size, e);
}
static inline size_t transport_queued(const struct transport *t)
{
    return t->ops->queued(t);
}
static inline void transport_read(struct transport *t, int on)
{
    t->ops->read(t, on);
}
static inline void transport_finish(struct transport *t)
{
    t->ops->finish(t);
}
static inline void transport_close(struct transport *t)
{
    t->ops->close(t);
}

#endif
