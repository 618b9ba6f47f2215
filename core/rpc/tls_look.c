// Whose certificate is it: see tls.h.
#include <stdlib.h>

#include "core/rpc/dial.h"
#include "core/rpc/protocol.h"
#include "core/rpc/tls.h"

struct looking {
    uv_loop_t loop;
    uv_timer_t timer;
    const struct address *address;
    struct tls_context *context;
    struct dial *dial;
    struct transport *transport;
    struct hash *fingerprint;
    int done;
    struct error why; // unless ERR_NONE
};

static void finish(struct looking *l, enum error_code code, const char *text)
{
    char where[ADDRESS_TEXT];
    if (l->done)
        return;
    l->done = 1;
    if (code) {
        address_format(l->address, where);
        error_set(&l->why, code, "cannot look at the server at %s: %s", where, text);
    }
}

static void on_bytes(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

static void on_written(void *context)
{
    (void)context;
}

static void on_end(void *context, const struct error *why)
{
    finish(context, ERR_UNREACHABLE, why->code ? why->text : "it hung up");
}

static void on_closed(void *context)
{
    struct looking *l = context;
    l->transport = NULL;
}

static void on_secure(void *context, const struct hash *fingerprint)
{
    struct looking *l = context;
    if (fingerprint)
        *l->fingerprint = *fingerprint;
    finish(l, fingerprint ? ERR_NONE : ERR_DENIED, "it shows no certificate");
}

static void connected(void *context, uv_stream_t *stream, int status)
{
    struct looking *l = context;
    l->dial = NULL;
    if (!stream) {
        finish(l, ERR_UNREACHABLE, uv_strerror(status));
        return;
    }
    struct transport_user user = {l, on_bytes, on_written, on_end, on_closed};
    l->transport = transport_tls(l->context, stream, &user, on_secure);
}

static void late(uv_timer_t *timer)
{
    finish(timer->data, ERR_TIMEOUT, "it does not answer");
}

int tls_look(const struct address *a, struct hash *fingerprint, struct error *e)
{
    struct looking l = {.address = a, .fingerprint = fingerprint};
    l.context = tls_context_client(a, 1, e);
    if (!l.context)
        return -1;
    uv_loop_init(&l.loop);
    uv_timer_init(&l.loop, &l.timer);
    l.timer.data = &l;
    uv_timer_start(&l.timer, late, RPC_HANDSHAKE_MS, 0);
    l.dial = dial_start(&l.loop, a, connected, &l);
    while (!l.done)
        uv_run(&l.loop, UV_RUN_ONCE);
    if (l.dial)
        dial_cancel(l.dial);
    if (l.transport)
        transport_close(l.transport);
    uv_close((uv_handle_t *)&l.timer, NULL);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    uv_loop_close(&l.loop);
    tls_context_free(l.context);
    return l.why.code ? error_set(e, l.why.code, "%s", l.why.text) : 0;
}
