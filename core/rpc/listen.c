// Listeners, whatever they listen on: connections become peers. See listen.h.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/listen_internal.h"
#include "core/rpc/protocol.h"
#include "core/rpc/tls.h"

static void free_if_done(struct listener *l)
{
    if (!l->closed || l->peers)
        return;
    socket_file_free(l->file);
    tls_context_free(l->tls);
    guard_free(&l->guard);
    free(l);
}

// ---- what becomes of a connection -----------------------------------------------------------------------------------

static void recognised(struct peer *p, void *owner)
{
    struct listener *l = owner;
    guard_release(&l->guard, &peer_identity(p)->network);
}

static void blamed(struct peer *p, void *owner)
{
    struct listener *l = owner;
    guard_blame(&l->guard, &peer_identity(p)->network, uv_now(l->loop));
}

static void gone(struct peer *p, void *owner)
{
    struct listener *l = owner;
    if (l->tls && !peer_recognised(p))
        guard_release(&l->guard, &peer_identity(p)->network);
    l->peers--;
    free_if_done(l);
}

// ---- connections ----------------------------------------------------------------------------------------------------

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

// l->peers has counted it.
static void admit(struct listener *l, union listener_socket *connection, const struct peer_identity *who)
{
    struct peer_setup setup = {.server = 1, .on_gone = gone, .owner = l, .identity = *who};
    if (l->tls) {
        setup.on_recognised = recognised;
        setup.on_blamed = blamed;
    }
    struct peer *p = peer_create(l->loop, &setup);
    struct transport_user user = peer_transport_user(p);
    peer_attach(p, l->tls ? transport_tls(l->tls, &connection->stream, &user, NULL)
                          : transport_stream(&connection->stream, &user));
    l->on_peer(l, p);
}

// Somebody from the network. 0: may come in.
static int check_network(struct listener *l, union listener_socket *connection, struct peer_identity *who)
{
    struct sockaddr_storage from;
    int size = sizeof from;
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&from, &size))
        return -1; // gone already
    uv_tcp_nodelay(&connection->tcp, 1);
    who->network = network_of((struct sockaddr *)&from, who->address, sizeof who->address);
    return guard_admit(&l->guard, &who->network, uv_now(l->loop)) ? 0 : -1;
}

// A user of this machine whose name may have to be found first.
struct arrival {
    struct listener *listener;
    union listener_socket *connection;
};

static void identified(void *context, const struct peer_identity *who)
{
    struct arrival a = *(struct arrival *)context;
    free(context);
    if (!uv_is_closing(&a.listener->socket.handle)) {
        admit(a.listener, a.connection, who);
        return;
    }
    uv_close(&a.connection->handle, free_handle);
    a.listener->peers--;
    free_if_done(a.listener);
}

static void accept_one(uv_stream_t *server, int status)
{
    struct listener *l = server->data;
    struct peer_identity who = {.known = 0};
    if (status < 0)
        return; // out of descriptors or memory; libuv turns the connection away
    union listener_socket *connection = xcalloc(1, sizeof *connection);
    if (l->tls)
        uv_tcp_init(l->loop, &connection->tcp);
    else
        uv_pipe_init(l->loop, &connection->pipe, 0);
    if (uv_accept(server, &connection->stream) || l->peers >= RPC_CONNECTIONS_MAX ||
        (l->tls && check_network(l, connection, &who))) {
        uv_close(&connection->handle, free_handle);
        return;
    }
    l->peers++;
    if (l->tls) {
        admit(l, connection, &who);
        return;
    }
    struct arrival *a = xmalloc(sizeof *a);
    *a = (struct arrival){l, connection};
    socket_file_identify(l->file, l->loop, &connection->handle, identified, a);
}

// ---- the listener itself --------------------------------------------------------------------------------------------

struct listener *listener_new(uv_loop_t *loop, listener_peer_fn on_peer, void *context)
{
    struct listener *l = xcalloc(1, sizeof *l);
    l->loop = loop;
    l->on_peer = on_peer;
    l->context = context;
    return l;
}

int listener_start(struct listener *l, struct error *e)
{
    l->socket.handle.data = l;
    int rc = uv_listen(&l->socket.stream, RPC_BACKLOG, accept_one);
    if (!rc)
        return 0;
    error_set(e, ERR_FAILED, "cannot listen on %s: %s", l->address, uv_strerror(rc));
    listener_close(l);
    return -1;
}

void listener_set_tls(struct listener *l, struct tls_context *tls)
{
    tls_context_hold(tls);
    tls_context_free(l->tls);
    l->tls = tls;
}

void *listener_context(const struct listener *l)
{
    return l->context;
}

unsigned listener_peers(const struct listener *l)
{
    return l->peers;
}

const char *listener_address(const struct listener *l)
{
    return l->address;
}

static void socket_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    l->closed = 1;
    free_if_done(l);
}

void listener_close(struct listener *l)
{
    if (!l || uv_is_closing(&l->socket.handle))
        return;
    l->socket.handle.data = l;
    if (l->file)
        socket_file_remove(l->file);
    uv_close(&l->socket.handle, socket_closed);
}
