// One try to reach an address: see dial.h.
#include "core/rpc/dial.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct dial {
    uv_loop_t *loop;
    dial_fn on_end; // NULL: cancelled
    void *context;
    struct address address;
    uv_getaddrinfo_t lookup;
    struct addrinfo *found, *next; // next: to be tried after the one under way
    uv_connect_t request;
    union {
        uv_pipe_t pipe;
        uv_tcp_t tcp;
        uv_stream_t stream;
        uv_handle_t handle;
    } * socket; // being connected
    int status; // of the last that failed
};

static void finish(struct dial *d, uv_stream_t *stream, int status)
{
    dial_fn on_end = d->on_end;
    void *context = d->context;
    uv_freeaddrinfo(d->found);
    free(d);
    if (on_end)
        on_end(context, stream, status);
}

static void try_next(struct dial *d);

static void socket_closed(uv_handle_t *handle)
{
    struct dial *d = handle->data;
    free(handle);
    d->socket = NULL;
    try_next(d);
}

static void connected(uv_connect_t *request, int status)
{
    struct dial *d = request->data;
    if (!status && d->on_end) {
        uv_stream_t *stream = &d->socket->stream;
        if (d->address.kind == ADDRESS_TLS)
            uv_tcp_nodelay(&d->socket->tcp, 1);
        finish(d, stream, 0);
        return;
    }
    d->status = status;
    if (!uv_is_closing(&d->socket->handle))
        uv_close(&d->socket->handle, socket_closed);
}

static void try_next(struct dial *d)
{
    struct addrinfo *a = d->next;
    if (!a || !d->on_end) {
        finish(d, NULL, d->status);
        return;
    }
    d->next = a->ai_next;
    d->socket = xcalloc(1, sizeof *d->socket);
    uv_tcp_init(d->loop, &d->socket->tcp);
    d->socket->handle.data = d;
    int rc = uv_tcp_connect(&d->request, &d->socket->tcp, a->ai_addr, connected);
    if (rc) { // no route, say
        d->status = rc;
        uv_close(&d->socket->handle, socket_closed);
    }
}

static void found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
    struct dial *d = lookup->data;
    d->found = d->next = list;
    d->status = status ? status : UV_EAI_NONAME;
    try_next(d);
}

struct dial *dial_start(uv_loop_t *loop, const struct address *a, dial_fn on_end, void *context)
{
    struct dial *d = xcalloc(1, sizeof *d);
    d->loop = loop;
    d->on_end = on_end;
    d->context = context;
    d->address = *a;
    d->request.data = d->lookup.data = d;
    if (a->kind == ADDRESS_TLS) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        d->status = uv_getaddrinfo(loop, &d->lookup, found, d->address.host, d->address.port, &hints);
        if (!d->status)
            return d;
    }
    d->socket = xcalloc(1, sizeof *d->socket);
    uv_pipe_init(loop, &d->socket->pipe, 0);
    d->socket->handle.data = d;
    if (a->kind == ADDRESS_UNIX)
        uv_pipe_connect(&d->request, &d->socket->pipe, d->address.path, connected);
    else
        uv_close(&d->socket->handle, socket_closed); // the answer comes from the loop here too
    return d;
}

void dial_cancel(struct dial *d)
{
    d->on_end = NULL;
    if (!d->socket)
        uv_cancel((uv_req_t *)&d->lookup); // found() comes in any case
    else if (!uv_is_closing(&d->socket->handle))
        uv_close(&d->socket->handle, socket_closed);
}
