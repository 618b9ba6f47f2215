// Blocking calls: see call.h.
#include "core/rpc/call.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"

struct caller {
    uv_loop_t loop;
    struct link *link;
    int up;
    int failed; // `why` says why
    struct error why;
    Islr__Envelope *welcome;
    // the request under way
    uint64_t id;
    rpc_stream_fn on_reply;
    void *context;
    int result, done;
};

static void fail(struct caller *c, const struct error *why)
{
    if (c->failed)
        return;
    c->failed = 1;
    c->why = *why;
}

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct caller *c = link_context(l);
    (void)welcome;
    c->up = 1;
    c->welcome = peer_keep_message(p);
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m; // nothing is pushed to a caller that did not ask
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct caller *c = link_context(l);
    (void)again_ms;
    c->up = 0;
    fail(c, why);
}

static void on_closed(struct link *l)
{
    struct caller *c = link_context(l);
    c->link = NULL;
}

struct caller *caller_open(const struct address *address, const char *token, struct error *e)
{
    return caller_open_within(address, token, RPC_HANDSHAKE_MS, e);
}

struct caller *caller_open_within(const struct address *address, const char *token, uint64_t ms, struct error *e)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    struct caller *c = xcalloc(1, sizeof *c);
    int rc = uv_loop_init(&c->loop);
    if (rc) {
        free(c);
        error_set(e, ERR_FAILED, "cannot make an event loop: %s", uv_strerror(rc));
        return NULL;
    }
    struct link_options options = {
        .address = *address, .role = ISLR__HELLO__ROLE__ROLE_CLIENT, .token = token, .dial_ms = ms ? ms : 1};
    c->link = link_open(&c->loop, &options, &events, c);
    while (!c->up && !c->failed)
        uv_run(&c->loop, UV_RUN_ONCE);
    if (c->up)
        return c;
    error_set(e, c->why.code, "%s", c->why.text);
    caller_close(c);
    return NULL;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void caller_close(struct caller *c)
{
    if (!c)
        return;
    c->id = 0;
    link_close(c->link);
    while (c->link)
        uv_run(&c->loop, UV_RUN_ONCE);
    uv_walk(&c->loop, close_handle, NULL); // the command's own signals and timers
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
    envelope_free(c->welcome);
    free(c);
}

uv_loop_t *caller_loop(struct caller *c)
{
    return &c->loop;
}

const Islr__Welcome *caller_welcome(const struct caller *c)
{
    return c->welcome->welcome;
}

struct peer *caller_peer(const struct caller *c)
{
    return link_peer(c->link);
}

void caller_run_until(struct caller *c, const int *done)
{
    while (!*done)
        uv_run(&c->loop, UV_RUN_ONCE);
}

void caller_interrupt(struct caller *c, const struct error *why)
{
    if (c->id && !c->done) {
        c->done = 1;
        c->result = -1;
        c->why = *why;
    }
}

static void reply(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct caller *c = context;
    (void)p;
    if (c->done)
        return;
    if (!m) {
        c->done = 1;
        c->result = -1;
        c->why = *why;
        return;
    }
    struct error e = {ERR_FAILED, ""};
    int last = envelope_is_last_reply(m); // on_reply may keep it, and free it
    c->result = c->on_reply(c->context, m, &e);
    c->done = c->result || last;
    if (c->result < 0)
        c->why = e;
}

int rpc_stream(struct caller *c, Islr__Envelope *request, uint64_t timeout_ms, rpc_stream_fn on_reply, void *context,
               struct error *e)
{
    if (!c->up)
        return error_set(e, ERR_UNREACHABLE, "the connection to the server is lost");
    uv_update_time(&c->loop); // the loop has stood still since the last call
    c->on_reply = on_reply;
    c->context = context;
    c->done = c->result = 0;
    c->id = peer_request(link_peer(c->link), request, timeout_ms, reply, c, e);
    if (!c->id)
        return -1;
    caller_run_until(c, &c->done);
    if (link_peer(c->link))
        peer_forget(link_peer(c->link), c->id);
    c->id = 0;
    if (c->result < 0)
        error_set(e, c->why.code, "%s", c->why.text);
    return c->result;
}

struct single {
    struct caller *caller;
    Islr__Envelope__BodyCase expect;
    Islr__Envelope *reply;
};

static int take_single(void *context, const Islr__Envelope *m, struct error *e)
{
    struct single *s = context;
    if (m->body_case != s->expect)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not what was asked for", envelope_name(m));
    s->reply = peer_keep_message(link_peer(s->caller->link));
    return 1;
}

Islr__Envelope *rpc_call(struct caller *c, Islr__Envelope *request, Islr__Envelope__BodyCase expect,
                         uint64_t timeout_ms, struct error *e)
{
    struct single s = {c, expect, NULL};
    int rc = rpc_stream(c, request, timeout_ms ? timeout_ms : RPC_CALL_MS, take_single, &s, e);
    return rc < 0 ? NULL : s.reply;
}
