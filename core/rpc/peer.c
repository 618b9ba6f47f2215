// One connection that speaks envelopes: see peer.h. Its life, and bytes in and out.
#include "core/rpc/peer.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/peer_internal.h"
#include "core/rpc/protocol.h"

enum { LINGER_MS = 1000 }; // after peer_end()'s last byte the other end may take so long to hang up

// ---- creation and end -----------------------------------------------------------------------------------------------

struct peer *peer_create(uv_loop_t *loop, const struct peer_setup *setup)
{
    struct peer *p = xcalloc(1, sizeof *p);
    p->loop = loop;
    p->setup = *setup;
    p->reader.limit = RPC_FRAME_MAX_STRANGER;
    p->idle_ms = RPC_IDLE_MS;
    p->ping_ms = setup->server ? 0 : RPC_PING_MS;
    peer_set_patience(p, RPC_HANDSHAKE_MS, RPC_PARTIAL_MS, RPC_STALL_MS);
    p->opened = p->heard = p->sent = peer_now(p);
    peer_timer_init(p);
    return p;
}

static void finish(struct peer *p)
{
    if (p->transport || !p->timer_closed)
        return;
    peer_fail_requests(p);
    if (p->started)
        p->events.on_close(p, &p->why);
    if (p->setup.on_gone)
        p->setup.on_gone(p, p->setup.owner);
    frame_reader_free(&p->reader);
    free(p->held.data);
    free(p);
}

static void timer_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    p->timer_closed = 1;
    finish(p);
}

static void transport_closed(void *context)
{
    struct peer *p = context;
    p->transport = NULL;
    finish(p);
}

void peer_close(struct peer *p, const struct error *why)
{
    if (p->closing)
        return;
    p->closing = 1;
    if (why != &p->why)
        p->why = why ? *why : (struct error){ERR_NONE, ""};
    uv_close((uv_handle_t *)&p->timer, timer_closed);
    if (p->transport)
        transport_close(p->transport);
}

static void flushed(struct peer *p)
{
    p->linger_until = peer_now(p) + LINGER_MS;
    peer_timer_arm(p);
}

void peer_end(struct peer *p, const struct error *why)
{
    if (p->closing || p->ending)
        return;
    if (why) {
        peer_reply_fault(p, 0, why);
        p->why = *why;
    }
    if (p->closing)
        return;
    p->ending = 1;
    transport_finish(p->transport);
    transport_read(p->transport, 1); // only to see the other end hang up
    if (!transport_queued(p->transport))
        flushed(p);
}

void peer_start(struct peer *p, const struct peer_events *events, void *context)
{
    p->events = *events;
    p->context = context;
    p->started = 1;
    transport_read(p->transport, peer_listening(p));
    peer_timer_arm(p);
}

// ---- sending --------------------------------------------------------------------------------------------------------

int peer_send(struct peer *p, const Islr__Envelope *m, struct error *e)
{
    if (p->closing || p->ending)
        return error_set(e, ERR_UNREACHABLE, "the connection is closing");
    size_t size;
    uint8_t *frame = envelope_pack(m, RPC_FRAME_MAX, &size, e);
    if (!frame)
        return -1;
    size_t queued = transport_queued(p->transport);
    struct error why;
    if (queued + size > RPC_QUEUE_MAX) {
        free(frame);
        error_set(&why, ERR_UNREACHABLE, "the other end reads too slowly: %zu bytes wait for it", queued);
        peer_close(p, &why);
        return error_set(e, why.code, "%s", why.text);
    }
    if (transport_write(p->transport, frame, size, &why)) {
        peer_close(p, &why);
        return error_set(e, why.code, "%s", why.text);
    }
    p->sent = peer_now(p);
    queued = transport_queued(p->transport);
    if (queued && !p->moved)
        p->moved = peer_now(p);
    if (queued > RPC_QUEUE_HIGH && !p->full) {
        p->full = 1;
        transport_read(p->transport, peer_listening(p));
    }
    peer_timer_arm(p);
    return 0;
}

// What had arrived before comes first.
static void read_or_not(struct peer *p)
{
    if (!p->closing)
        transport_read(p->transport, p->ending || (peer_listening(p) && !p->held.size));
    peer_timer_arm(p);
}

// Reads on after a throttle was lifted. Nothing is delivered from here, held bytes neither: the caller may be in the
// middle of an earlier message's work.
static void listen_again(struct peer *p)
{
    if (p->closing || !peer_listening(p))
        return;
    p->heard = peer_now(p); // silence while nobody listened does not count
    if (p->partial_since)
        p->partial_since = peer_now(p);
    read_or_not(p);
}

static void transport_written(void *context)
{
    struct peer *p = context;
    size_t queued = transport_queued(p->transport);
    p->moved = queued ? peer_now(p) : 0;
    if (p->ending) {
        if (!queued && !p->linger_until)
            flushed(p);
        return;
    }
    if (!p->full || queued >= RPC_QUEUE_LOW)
        return;
    p->full = 0;
    if (p->events.on_drained && p->started)
        p->events.on_drained(p);
    listen_again(p);
}

int peer_is_full(const struct peer *p)
{
    return p->full;
}

size_t peer_queued(const struct peer *p)
{
    return p->closing ? 0 : transport_queued(p->transport);
}

int peer_reply(struct peer *p, uint64_t id, Islr__Envelope *m, struct error *e)
{
    struct error why;
    m->has_id = 1;
    m->id = id;
    if (!peer_send(p, m, &why))
        return 0;
    if (why.code == ERR_INVALID) { // too large: the request has failed, and who made it is not left waiting
        why.code = ERR_FAILED;
        error_prefix(&why, "the answer cannot be sent");
        peer_reply_fault(p, id, &why);
    }
    return error_set(e, why.code, "%s", why.text);
}

void peer_reply_ok(struct peer *p, uint64_t id)
{
    Islr__Ok ok = ISLR__OK__INIT;
    Islr__Envelope m = ENVELOPE(OK, ok, &ok);
    peer_reply(p, id, &m, NULL);
}

void peer_reply_fault(struct peer *p, uint64_t id, const struct error *why)
{
    struct error clean = *why;
    envelope_clean_text(clean.text);
    Islr__Fault fault = ISLR__FAULT__INIT;
    fault.has_code = 1;
    fault.code = clean.code;
    fault.text = clean.text;
    Islr__Envelope m = ENVELOPE(FAULT, fault, &fault);
    peer_reply(p, id, &m, NULL);
}

// ---- receiving ------------------------------------------------------------------------------------------------------

static void deliver(struct peer *p, const Islr__Envelope *m)
{
    if (p->setup.server && !p->recognised && m->body_case != ISLR__ENVELOPE__BODY_HELLO) {
        struct error why;
        error_set(&why, ERR_DENIED, "the first message must be hello, not %s", envelope_name(m));
        peer_end(p, &why);
    } else if (m->body_case == ISLR__ENVELOPE__BODY__NOT_SET) {
        struct error why;
        error_set(&why, ERR_INVALID, "a message came that this program does not know; it speaks protocol %d",
                  RPC_PROTOCOL);
        if (m->id)
            peer_reply_fault(p, m->id, &why);
    } else if (m->body_case == ISLR__ENVELOPE__BODY_PING && p->recognised) {
        peer_reply_ok(p, m->id);
    } else if (m->body_case == ISLR__ENVELOPE__BODY_FAULT && m->id == 0) {
        struct error why;
        envelope_fault_error(m->fault, &why);
        peer_close(p, &why);
    } else if (envelope_is_reply(m)) {
        peer_deliver_reply(p, m);
    } else {
        p->events.on_message(p, p->current);
    }
}

static void take_frame(struct peer *p)
{
    struct error why;
    p->current = envelope_unpack(p->reader.body, p->reader.length, (size_t)RPC_UNPACK_FACTOR * p->reader.limit, &why);
    if (!p->current) {
        peer_end(p, &why);
        return;
    }
    deliver(p, p->current);
    envelope_free(p->current);
    p->current = NULL;
}

// Frame by frame, until the bytes are used up or the peer is to be left waiting.
static void take_bytes(struct peer *p, const uint8_t *data, size_t size)
{
    struct error why;
    while (size && !p->closing && !p->ending && peer_listening(p)) {
        int rc = frame_reader_take(&p->reader, &data, &size, &why);
        if (rc < 0)
            peer_end(p, &why);
        if (rc > 0) {
            p->partial_since = 0;
            take_frame(p);
        }
    }
    if (!p->partial_since && frame_reader_partial(&p->reader))
        p->partial_since = peer_now(p);
    if (!size || p->closing || p->ending)
        return;
    p->held.data = xmalloc(size);
    p->held.size = size;
    memcpy(p->held.data, data, size);
}

static void transport_bytes(void *context, const uint8_t *data, size_t size)
{
    struct peer *p = context;
    p->heard = peer_now(p);
    if (p->ending)
        return;
    take_bytes(p, data, size);
    read_or_not(p);
}

void peer_take_held(struct peer *p)
{
    struct held held = p->held;
    memset(&p->held, 0, sizeof p->held);
    take_bytes(p, held.data, held.size);
    free(held.data);
    read_or_not(p);
}

static void transport_ended(void *context, const struct error *why)
{
    struct peer *p = context;
    struct error cut;
    if (p->ending) {
        peer_close(p, &p->why);
    } else if (why->code == ERR_NONE && frame_reader_partial(&p->reader)) {
        error_set(&cut, ERR_UNREACHABLE, "the connection ended in the middle of a message");
        peer_close(p, &cut);
    } else {
        peer_close(p, why);
    }
}

Islr__Envelope *peer_keep_message(struct peer *p)
{
    Islr__Envelope *m = p->current;
    p->current = NULL;
    return m;
}

// ---- the rest -------------------------------------------------------------------------------------------------------

struct transport_user peer_transport_user(struct peer *p)
{
    return (struct transport_user){p, transport_bytes, transport_written, transport_ended, transport_closed};
}

void peer_attach(struct peer *p, struct transport *t)
{
    p->transport = t;
}

void *peer_context(const struct peer *p)
{
    return p->context;
}

const struct peer_identity *peer_identity(const struct peer *p)
{
    return &p->setup.identity;
}

void peer_recognise(struct peer *p)
{
    if (!p->recognised && p->setup.on_recognised)
        p->setup.on_recognised(p, p->setup.owner);
    p->recognised = 1;
    p->reader.limit = RPC_FRAME_MAX;
    p->heard = peer_now(p);
    peer_timer_arm(p);
}

int peer_recognised(const struct peer *p)
{
    return p->recognised;
}

void peer_blame(struct peer *p)
{
    if (p->setup.on_blamed)
        p->setup.on_blamed(p, p->setup.owner);
}

void peer_set_keepalive(struct peer *p, uint64_t ping_ms, uint64_t idle_ms)
{
    p->ping_ms = ping_ms;
    p->idle_ms = idle_ms;
    peer_timer_arm(p);
}

void peer_set_patience(struct peer *p, uint64_t handshake_ms, uint64_t partial_ms, uint64_t stall_ms)
{
    p->handshake_ms = handshake_ms ? handshake_ms : p->handshake_ms;
    p->partial_ms = partial_ms ? partial_ms : p->partial_ms;
    p->stall_ms = stall_ms ? stall_ms : p->stall_ms;
    peer_timer_arm(p);
}

uint64_t peer_silent_ms(const struct peer *p)
{
    return peer_now(p) - p->heard;
}

void peer_forgive(struct peer *p, uint64_t ms)
{
    uint64_t silent = peer_silent_ms(p);
    p->heard += ms < silent ? ms : silent;
}

void peer_throttle(struct peer *p, int on)
{
    p->throttled = on;
    if (p->closing || p->ending || !p->started)
        return;
    if (on)
        transport_read(p->transport, 0);
    else
        listen_again(p);
}
