// libFuzzer: a stranger's connection to a server, from its first byte: the handshake's order, sizes before and after it,
// requests and replies, back-pressure. The first byte cuts the stream into pieces, the second says how the server behaves;
// the rest is what the stranger sends. The server end is a real peer over a transport that is none.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/peer.h"
#include "core/rpc/protocol.h"
#include "core/rpc/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(x) ((x) ? (void)0 : abort())

enum { THROTTLES = 1, CLOSES = 2, ENDS = 4, KEEPS = 8, ASKS = 16, CLOGS = 32 };

struct nowhere {
    struct transport base;
    int reading, closed, finished;
    size_t queued;
};

struct scene {
    uv_loop_t *loop;
    struct peer *peer;
    struct nowhere *line; // lives as long as the peer
    int behaviour, messages, greeted, ended, asked, answered;
};

// ---- a transport that leads nowhere ---------------------------------------------------------------------------------

static struct scene *scene; // of the input under way

static int take(struct transport *t, uint8_t *data, size_t size, struct error *e)
{
    struct nowhere *n = (struct nowhere *)t;
    (void)e;
    DEMAND(!n->closed && !n->finished && size > 4);
    if (scene->behaviour & CLOGS)
        n->queued += size;
    free(data);
    return 0;
}

static size_t queued(const struct transport *t)
{
    return ((const struct nowhere *)t)->queued;
}

static void set_reading(struct transport *t, int on)
{
    ((struct nowhere *)t)->reading = on;
}

static void finish(struct transport *t)
{
    ((struct nowhere *)t)->finished = 1;
}

static void close_line(struct transport *t)
{
    DEMAND(!((struct nowhere *)t)->closed);
    ((struct nowhere *)t)->closed = 1;
}

// ---- a server -------------------------------------------------------------------------------------------------------

static void on_reply(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    (void)p;
    (void)context;
    DEMAND(m || *why->text || why->code == ERR_NONE);
    if (!m || envelope_is_last_reply(m))
        scene->answered++;
}

static void ask(struct peer *p)
{
    Islr__Stop stop = ISLR__STOP__INIT;
    Islr__Envelope m = ENVELOPE(STOP, stop, &stop);
    scene->asked += peer_request(p, &m, 0, on_reply, NULL, NULL) != 0;
}

static void greet(struct peer *p, Islr__Envelope *m)
{
    Islr__Welcome w = ISLR__WELCOME__INIT;
    Islr__Envelope answer = ENVELOPE(WELCOME, welcome, &w);
    peer_recognise(p);
    scene->greeted = 1;
    peer_reply(p, m->id, &answer, NULL);
    if (scene->behaviour & ASKS)
        ask(p);
}

static void on_message(struct peer *p, Islr__Envelope *m)
{
    struct error why;
    DEMAND(!scene->ended && !scene->line->closed);
    DEMAND(scene->greeted || m->body_case == ISLR__ENVELOPE__BODY_HELLO);
    DEMAND(!envelope_is_reply(m) && *envelope_name(m));
    scene->messages++;
    if (m->body_case == ISLR__ENVELOPE__BODY_HELLO) {
        greet(p, m);
        return;
    }
    if (scene->behaviour & KEEPS && scene->messages % 3 == 0)
        envelope_free(peer_keep_message(p));
    else
        peer_reply_ok(p, m->id);
    error_set(&why, ERR_DENIED, "enough");
    if (scene->behaviour & THROTTLES && scene->messages % 4 == 0)
        peer_throttle(p, 1);
    if (scene->behaviour & ENDS && scene->messages == 5)
        peer_end(p, &why);
    if (scene->behaviour & CLOSES && scene->messages == 7)
        peer_close(p, &why);
}

static void on_close(struct peer *p, const struct error *why)
{
    (void)p;
    DEMAND(why->code == ERR_NONE || *why->text);
    scene->ended++;
}

// ---- the stranger ---------------------------------------------------------------------------------------------------

static void play(struct scene *s, const uint8_t *data, size_t size, size_t piece)
{
    const struct transport_user *user = &s->line->base.user;
    struct error none = {ERR_NONE, ""};
    while (size && !s->line->closed) {
        size_t n = size < piece ? size : piece;
        for (int tries = 0; !s->line->reading && !s->line->closed; tries++) {
            DEMAND(tries < 100000);
            s->line->queued = 0; // what was full gets out, a throttle is lifted: what was held goes on first
            user->on_written(user->context);
            if (!s->line->closed)
                peer_throttle(s->peer, 0);
            uv_run(s->loop, UV_RUN_NOWAIT);
        }
        if (s->line->closed)
            return;
        uint8_t *copy = xmalloc(n); // its own block
        memcpy(copy, data, n);
        user->on_bytes(user->context, copy, n);
        free(copy);
        data += n;
        size -= n;
    }
    if (!s->line->closed)
        user->on_end(user->context, &none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct transport_ops ops = {take, queued, set_reading, finish, close_line};
    static const struct peer_events events = {on_message, NULL, on_close};
    static uv_loop_t loop;
    static int ready;
    if (size < 2)
        return 0;
    if (!ready++)
        uv_loop_init(&loop);
    struct scene now = {.loop = &loop, .line = xcalloc(1, sizeof(struct nowhere)), .behaviour = data[1]};
    struct peer_setup setup = {.server = 1};
    scene = &now;
    now.peer = peer_create(&loop, &setup);
    now.line->base.ops = &ops;
    now.line->base.user = peer_transport_user(now.peer);
    peer_attach(now.peer, &now.line->base);
    peer_start(now.peer, &events, NULL);
    play(&now, data + 2, size - 2, 1 + data[0]);
    DEMAND(now.line->closed);
    now.line->base.user.on_closed(now.line->base.user.context);
    while (!now.ended)
        uv_run(&loop, UV_RUN_NOWAIT);
    DEMAND(now.ended == 1 && now.answered == now.asked);
    free(now.line);
    return 0;
}
