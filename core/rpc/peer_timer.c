// When a peer has waited long enough: handshakes, partial frames, stalled writers, silent partners, unanswered
// requests; and bytes that were held back while it was throttled, which are due at once. One timer a peer; it may ring
// early (deadlines move away with every byte) and then only looks again.
#include "core/rpc/peer_internal.h"

enum { ABSENCE_MS = 2000 }; // a timer that is late by so much says that this process was not running

static void earlier(uint64_t *due, uint64_t candidate)
{
    if (candidate && (!*due || candidate < *due))
        *due = candidate;
}

static uint64_t ping_due(const struct peer *p)
{
    if (!p->ping_ms || !p->recognised || p->ending)
        return 0;
    uint64_t heard = p->heard > p->pinged ? p->heard : p->pinged;
    return (p->sent < heard ? p->sent : heard) + p->ping_ms;
}

static uint64_t next_due(const struct peer *p)
{
    uint64_t due = 0;
    if (p->linger_until)
        return p->linger_until;
    if (peer_held_due(p))
        return peer_now(p);
    if (!p->recognised)
        earlier(&due, p->opened + p->handshake_ms);
    if (p->partial_since && peer_listening(p))
        earlier(&due, p->partial_since + p->partial_ms);
    if (p->moved)
        earlier(&due, p->moved + p->stall_ms);
    if (p->idle_ms && peer_listening(p) && p->recognised)
        earlier(&due, p->heard + p->idle_ms);
    earlier(&due, ping_due(p));
    for (const struct pending *r = p->pending; r; r = r->next)
        earlier(&due, r->deadline);
    return due;
}

static void ring(uv_timer_t *timer);

void peer_timer_arm(struct peer *p)
{
    if (p->closing || !p->started)
        return;
    uint64_t due = next_due(p);
    if (!due || (p->timer_due && p->timer_due <= due))
        return;
    p->timer_due = due;
    uv_timer_start(&p->timer, ring, due > peer_now(p) ? due - peer_now(p) : 0, 0);
}

static void close_late(struct peer *p, const char *text)
{
    struct error why;
    error_set(&why, ERR_TIMEOUT, "%s", text);
    peer_close(p, &why);
}

static void ping(struct peer *p)
{
    Islr__Ping ping = ISLR__PING__INIT;
    Islr__Envelope m = ENVELOPE(PING, ping, &ping);
    m.has_id = 1;
    m.id = ++p->last_id;
    p->pinged = peer_now(p);
    peer_send(p, &m, NULL);
}

// A process that was stopped or suspended has not listened: what it did not hear meanwhile is no sign of death.
static void forgive_own_absence(struct peer *p)
{
    if (peer_now(p) < p->timer_due + ABSENCE_MS)
        return;
    p->heard = peer_now(p);
    if (p->moved)
        p->moved = peer_now(p);
    if (p->partial_since)
        p->partial_since = peer_now(p);
}

// The loop lets timers ring before it looks at sockets: what came while this process was held up lies there still.
static int silent_at_second_look(struct peer *p)
{
    if (p->doubted == p->heard)
        return 1;
    p->doubted = p->heard;
    p->timer_due = peer_now(p) + 1; // not in this turn of the loop
    uv_timer_start(&p->timer, ring, 1, 0);
    return 0;
}

static void ring(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    forgive_own_absence(p);
    p->timer_due = 0;
    if (p->linger_until) {
        if (peer_reached(p, p->linger_until))
            peer_close(p, &p->why);
    } else if (peer_held_due(p)) {
        peer_take_held(p);
    } else if (!p->recognised && peer_reached(p, p->opened + p->handshake_ms)) {
        close_late(p, "the handshake took too long");
    } else if (p->partial_since && peer_listening(p) && peer_reached(p, p->partial_since + p->partial_ms)) {
        close_late(p, "a message was begun and not finished in time");
    } else if (p->moved && peer_reached(p, p->moved + p->stall_ms)) {
        close_late(p, "the other end does not read what it is sent");
    } else if (p->idle_ms && p->recognised && peer_listening(p) && peer_reached(p, p->heard + p->idle_ms)) {
        if (!silent_at_second_look(p))
            return;
        close_late(p, "nothing was heard from the other end for too long");
    } else {
        if (peer_reached(p, ping_due(p)))
            ping(p);
        peer_expire_requests(p);
    }
    peer_timer_arm(p);
}

void peer_timer_init(struct peer *p)
{
    uv_timer_init(p->loop, &p->timer);
    p->timer.data = p;
}
