// A client's end: see link.h.
#include "core/rpc/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/dial.h"
#include "core/rpc/protocol.h"
#include "core/rpc/tls.h"

enum { BUSY_MS = 5 }; // a full backlog is tried again after so long

enum link_state {
    LINK_WAITING,  // for the timer to try (again)
    LINK_DIALLING, // connecting
    LINK_GREETING, // Hello is sent
    LINK_UP,
    LINK_DOWN, // for good
    LINK_CLOSING
};

struct link {
    uv_loop_t *loop;
    struct link_options options;
    struct link_events events;
    void *context;
    enum link_state state;
    uv_timer_t timer; // the next try; while dialling and greeting: the time for it
    int timer_closed;
    struct dial *dial;       // while dialling
    struct tls_context *tls; // made at the first try of a tls: address
    struct peer *peer;
    uint64_t try_until; // loop time; 0: no try is under way
    uint64_t wait_ms;   // of the next back-off
    uint64_t random;
    int refused; // the server answered Hello with a Fault
    struct error refusal;
};

// ---- down and again -------------------------------------------------------------------------------------------------

static void try_now(uv_timer_t *timer);

static void free_if_done(struct link *l)
{
    if (l->state != LINK_CLOSING || !l->timer_closed || l->peer)
        return;
    if (l->events.on_closed)
        l->events.on_closed(l);
    tls_context_free(l->tls);
    free((char *)l->options.token);
    free(l);
}

// A random quarter more or less, so that many clients of one server do not come back all at once.
static uint64_t with_jitter(struct link *l, uint64_t ms)
{
    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    return ms * 3 / 4 + (l->random >> 33) % (ms / 2 + 1);
}

static void go_down(struct link *l, const struct error *why)
{
    if (l->state == LINK_CLOSING)
        return;
    uv_timer_stop(&l->timer);
    l->try_until = 0;
    if (l->refused || !l->options.reconnect) {
        l->state = LINK_DOWN;
        l->events.on_down(l, l->refused ? &l->refusal : why, -1);
        return;
    }
    uint64_t wait = with_jitter(l, l->wait_ms);
    l->wait_ms = 2 * l->wait_ms < RPC_BACKOFF_LAST_MS ? 2 * l->wait_ms : RPC_BACKOFF_LAST_MS;
    l->state = LINK_WAITING;
    uv_timer_start(&l->timer, try_now, wait, 0);
    l->events.on_down(l, why, (int)wait);
}

// ---- greeting -------------------------------------------------------------------------------------------------------

static void peer_message(struct peer *p, Islr__Envelope *m)
{
    struct link *l = peer_context(p);
    if (l->state == LINK_UP)
        l->events.on_message(l, m);
}

static void peer_drained(struct peer *p)
{
    struct link *l = peer_context(p);
    if (l->state == LINK_UP && l->events.on_drained)
        l->events.on_drained(l);
}

static void peer_closed(struct peer *p, const struct error *why)
{
    struct link *l = peer_context(p);
    struct error ended;
    l->peer = NULL;
    if (l->state == LINK_GREETING && why->code == ERR_NONE) {
        error_set(&ended, ERR_UNREACHABLE, "the server hung up during the greeting");
        why = &ended;
    } else if (why->code == ERR_NONE) {
        error_set(&ended, ERR_UNREACHABLE, "the server closed the connection");
        why = &ended;
    } else if (l->state == LINK_GREETING && !link_is_break(why)) {
        l->refused = 1;
        l->refusal = *why;
    }
    go_down(l, why);
    free_if_done(l);
}

static void check_welcome(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct link *l = context;
    struct error e;
    if (l->state != LINK_GREETING)
        return;
    if (!m) {
        peer_close(p, why); // does nothing where the connection has ended already
    } else if (m->body_case != ISLR__ENVELOPE__BODY_WELCOME) {
        error_set(&e, ERR_INVALID, "the server answered the greeting with %s", envelope_name(m));
        peer_close(p, &e);
    } else if (m->welcome->protocol != RPC_PROTOCOL) {
        error_set(&e, ERR_INVALID, "the server (version %s) speaks protocol %u, this program protocol %d",
                  m->welcome->version ? m->welcome->version : "?", m->welcome->protocol, RPC_PROTOCOL);
        peer_close(p, &e);
    } else {
        uv_timer_stop(&l->timer);
        l->try_until = 0;
        l->state = LINK_UP;
        peer_recognise(p);
        l->events.on_up(l, p, m->welcome);
    }
}

static void greet(struct link *l, uv_stream_t *stream)
{
    static const struct peer_events events = {peer_message, peer_drained, peer_closed};
    struct peer_setup setup = {.server = 0};
    l->peer = peer_create(l->loop, &setup);
    struct transport_user user = peer_transport_user(l->peer);
    peer_attach(l->peer, l->tls ? transport_tls(l->tls, stream, &user, NULL) : transport_stream(stream, &user));
    l->state = LINK_GREETING;
    peer_start(l->peer, &events, l);
    Islr__Hello hello = ISLR__HELLO__INIT;
    hello.has_protocol = hello.has_role = 1;
    hello.protocol = RPC_PROTOCOL;
    hello.version = ISLR_VERSION;
    hello.role = l->options.role;
    hello.token = (char *)l->options.token;
    Islr__Envelope m = ENVELOPE(HELLO, hello, &hello);
    peer_request(l->peer, &m, 0, check_welcome, l, NULL); // a failure closes the peer
}

// ---- dialling -------------------------------------------------------------------------------------------------------

static void drop_dial(struct link *l)
{
    dial_cancel(l->dial);
    l->dial = NULL;
}

static void dial_late(uv_timer_t *timer)
{
    struct link *l = timer->data;
    char address[ADDRESS_TEXT];
    struct error why;
    address_format(&l->options.address, address);
    error_set(&why, ERR_TIMEOUT, "the server at %s does not answer", address);
    if (l->peer) {
        peer_close(l->peer, &why);
    } else {
        drop_dial(l);
        go_down(l, &why);
    }
}

static void connected(void *context, uv_stream_t *stream, int status)
{
    struct link *l = context;
    l->dial = NULL;
    if (stream) {
        greet(l, stream);
        return;
    }
    if (status == UV_EAGAIN && uv_now(l->loop) + BUSY_MS < l->try_until) {
        l->state = LINK_WAITING;
        uv_timer_start(&l->timer, try_now, BUSY_MS, 0);
        return;
    }
    char address[ADDRESS_TEXT];
    struct error why;
    address_format(&l->options.address, address);
    if (status == UV_ECONNREFUSED || status == UV_ENOENT)
        error_set(&why, ERR_UNREACHABLE, "no server is running at %s", address);
    else if (status == UV_EACCES || status == UV_EPERM)
        error_set(&why, ERR_DENIED, "the server at %s is not yours to use: %s", address, uv_strerror(status));
    else
        error_set(&why, ERR_UNREACHABLE, "cannot reach the server at %s: %s", address, uv_strerror(status));
    go_down(l, &why);
}

static void try_now(uv_timer_t *timer)
{
    struct link *l = timer->data;
    uint64_t now = uv_now(l->loop), patience = l->options.dial_ms ? l->options.dial_ms : RPC_HANDSHAKE_MS;
    if (!l->try_until)
        l->try_until = now + patience; // else: the same try goes on after a full backlog
    if (l->options.address.kind == ADDRESS_TLS && !l->tls) {
        l->tls = tls_context_client(&l->options.address, 0, &l->refusal);
        if (!l->tls) {
            l->refused = 1;
            go_down(l, &l->refusal);
            return;
        }
    }
    l->state = LINK_DIALLING;
    uv_timer_start(&l->timer, dial_late, l->try_until - now, 0);
    l->dial = dial_start(l->loop, &l->options.address, connected, l);
}

// ---- the link itself ------------------------------------------------------------------------------------------------

struct link *link_open(uv_loop_t *loop, const struct link_options *options, const struct link_events *events,
                       void *context)
{
    struct link *l = xcalloc(1, sizeof *l);
    l->loop = loop;
    l->options = *options;
    l->options.token = options->token ? xstrdup(options->token) : NULL;
    l->events = *events;
    l->context = context;
    l->wait_ms = RPC_BACKOFF_FIRST_MS;
    l->random = (uint64_t)clock_wall_ms() ^ (uint64_t)(uintptr_t)l;
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, try_now, 0, 0);
    return l;
}

void *link_context(const struct link *l)
{
    return l->context;
}

void link_proved(struct link *l)
{
    l->wait_ms = RPC_BACKOFF_FIRST_MS;
}

struct peer *link_peer(const struct link *l)
{
    return l->state == LINK_UP ? l->peer : NULL;
}

static void timer_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;
    l->timer_closed = 1;
    free_if_done(l);
}

void link_close(struct link *l)
{
    if (l->state == LINK_CLOSING)
        return;
    l->state = LINK_CLOSING;
    uv_close((uv_handle_t *)&l->timer, timer_closed);
    if (l->dial)
        drop_dial(l);
    if (l->peer)
        peer_close(l->peer, NULL);
}
