// A line with faults: see relay.h.
#include "tests/rpc/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct piece {
    uv_write_t request;
    char *data;
};

static void written(uv_write_t *request, int status)
{
    struct piece *p = request->data;
    (void)status; // the end that it went to has gone: the other one is told by read()
    free(p->data);
    free(p);
}

static void send_piece(uv_tcp_t *to, const char *data, size_t size)
{
    struct piece *p = xcalloc(1, sizeof *p);
    p->data = xmalloc(size);
    p->request.data = p;
    memcpy(p->data, data, size);
    uv_buf_t buffer = uv_buf_init(p->data, (unsigned)size);
    if (uv_write(&p->request, (uv_stream_t *)to, &buffer, 1, written))
        written(&p->request, UV_ECANCELED);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct relay *r = handle->data;
    size_t size = r->piece && r->piece < suggested ? r->piece : suggested;
    *buffer = uv_buf_init(xmalloc(size), (unsigned)size);
}

static void pass(uv_stream_t *from, ssize_t n, const uv_buf_t *buffer)
{
    struct relay *r = from->data;
    int is_server = from == (uv_stream_t *)&r->ends[1];
    if (n < 0)
        relay_cut(r);
    if (n > 0 && is_server && r->spoil > r->passed && r->spoil <= r->passed + (uint64_t)n)
        buffer->base[r->spoil - r->passed - 1] ^= 0x20;
    if (n > 0 && is_server)
        r->passed += (uint64_t)n;
    if (n > 0)
        send_piece(&r->ends[!is_server], buffer->base, (size_t)n);
    free(buffer->base);
}

static void dialled(uv_connect_t *request, int status)
{
    struct relay *r = request->data;
    if (status)
        return;
    r->connected = 1;
    for (int i = 0; i < 2; i++) {
        uv_tcp_nodelay(&r->ends[i], 1);
        uv_read_start((uv_stream_t *)&r->ends[i], allocate, pass);
    }
}

static void accepted(uv_stream_t *listener, int status)
{
    struct relay *r = listener->data;
    struct sockaddr_in to;
    assert_int_equal(status, 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&r->ends[0]), 0);
    assert_int_equal(uv_ip4_addr("127.0.0.1", atoi(r->server.port), &to), 0);
    r->dialling.data = r;
    assert_int_equal(uv_tcp_connect(&r->dialling, &r->ends[1], (struct sockaddr *)&to, dialled), 0);
}

void relay_open(struct relay *r, uv_loop_t *loop, const struct address *server)
{
    struct sockaddr_in here;
    int size = sizeof here;
    r->loop = loop;
    r->server = r->address = *server;
    uv_tcp_init(loop, &r->listener);
    for (int i = 0; i < 2; i++) {
        uv_tcp_init(loop, &r->ends[i]);
        r->ends[i].data = r;
    }
    r->listener.data = r;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &here), 0);
    assert_int_equal(uv_tcp_bind(&r->listener, (struct sockaddr *)&here, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&r->listener, 1, accepted), 0);
    assert_int_equal(uv_tcp_getsockname(&r->listener, (struct sockaddr *)&here, &size), 0);
    snprintf(r->address.port, sizeof r->address.port, "%d", ntohs(here.sin_port));
}

void relay_cut(struct relay *r)
{
    for (int i = 0; i < 2; i++)
        if (!uv_is_closing((uv_handle_t *)&r->ends[i]))
            uv_close((uv_handle_t *)&r->ends[i], NULL);
}

void relay_close(struct relay *r)
{
    relay_cut(r);
    uv_close((uv_handle_t *)&r->listener, NULL);
}
