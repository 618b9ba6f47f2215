// Bytes over a libuv stream (unix socket, TCP): see transport.h.
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/rpc/transport.h"

enum { READ_SIZE = 64 << 10 };

struct stream_transport {
    struct transport base;
    uv_stream_t *stream;
    uv_shutdown_t shutdown;
    int reading, closing;
};

struct stream_write {
    uv_write_t request;
    struct stream_transport *owner;
    uint8_t *data;
};

static void end(struct stream_transport *s, int status, const char *doing)
{
    struct error why = {ERR_NONE, ""};
    if (status != UV_EOF)
        error_set(&why, ERR_UNREACHABLE, "%s: %s", doing, uv_strerror(status));
    s->base.user.on_end(s->base.user.context, &why);
}

static void write_done(uv_write_t *request, int status)
{
    struct stream_write *w = request->data;
    struct stream_transport *s = w->owner;
    free(w->data);
    free(w);
    if (s->closing)
        return;
    if (status < 0)
        end(s, status, "writing to the connection failed");
    else
        s->base.user.on_written(s->base.user.context);
}

static int stream_write(struct transport *t, uint8_t *data, size_t size, struct error *e)
{
    struct stream_transport *s = (struct stream_transport *)t;
    struct stream_write *w = xcalloc(1, sizeof *w);
    w->request.data = w;
    w->owner = s;
    w->data = data;
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)size);
    int rc = uv_write(&w->request, s->stream, &buffer, 1, write_done);
    if (!rc)
        return 0;
    free(data);
    free(w);
    return error_set(e, ERR_UNREACHABLE, "writing to the connection failed: %s", uv_strerror(rc));
}

static size_t stream_queued(const struct transport *t)
{
    return uv_stream_get_write_queue_size(((const struct stream_transport *)t)->stream);
}

// One buffer for the time of one read: idle connections hold none.
static void read_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(xmalloc(READ_SIZE), READ_SIZE);
}

static void read_some(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct stream_transport *s = stream->data;
    if (n > 0)
        s->base.user.on_bytes(s->base.user.context, (const uint8_t *)buffer->base, (size_t)n);
    else if (n < 0)
        end(s, (int)n, "reading from the connection failed");
    free(buffer->base);
}

static void stream_read(struct transport *t, int on)
{
    struct stream_transport *s = (struct stream_transport *)t;
    if (s->closing || on == s->reading)
        return;
    s->reading = on;
    if (on)
        uv_read_start(s->stream, read_alloc, read_some);
    else
        uv_read_stop(s->stream);
}

static void shutdown_done(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status; // a failure shows as the end of reading
}

static void stream_finish(struct transport *t)
{
    struct stream_transport *s = (struct stream_transport *)t;
    uv_shutdown(&s->shutdown, s->stream, shutdown_done);
}

static void stream_closed(uv_handle_t *handle)
{
    struct stream_transport *s = handle->data;
    struct transport_user user = s->base.user;
    free(s->stream);
    free(s);
    user.on_closed(user.context);
}

static void stream_close(struct transport *t)
{
    struct stream_transport *s = (struct stream_transport *)t;
    s->closing = 1;
    uv_close((uv_handle_t *)s->stream, stream_closed);
}

struct transport *transport_stream(uv_stream_t *stream, const struct transport_user *user)
{
    static const struct transport_ops ops = {stream_write, stream_queued, stream_read, stream_finish, stream_close};
    struct stream_transport *s = xcalloc(1, sizeof *s);
    s->base.ops = &ops;
    s->base.user = *user;
    s->stream = stream;
    stream->data = s;
    return &s->base;
}
