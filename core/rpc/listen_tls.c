// A listener on the network, with TLS: see listen.h.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "core/rpc/listen_internal.h"
#include "core/rpc/tls.h"

static int look_up(const struct address *a, struct sockaddr_storage *out, struct error *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    int rc = getaddrinfo(a->host, a->port, &hints, &list);
    if (rc)
        return error_set(e, ERR_INVALID, "cannot listen on %s: %s", a->host, gai_strerror(rc));
    memcpy(out, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static void note_address(struct listener *l, const struct address *a)
{
    struct sockaddr_storage bound = {0};
    int size = sizeof bound;
    struct address real = *a;
    uv_tcp_getsockname(&l->socket.tcp, (struct sockaddr *)&bound, &size);
    in_port_t port = bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                 : ((struct sockaddr_in *)&bound)->sin_port;
    snprintf(real.port, sizeof real.port, "%u", (unsigned)ntohs(port));
    address_format(&real, l->address);
}

struct listener *listener_open_tls(uv_loop_t *loop, const struct address *a, struct tls_context *tls,
                                   listener_peer_fn on_peer, void *context, struct error *e)
{
    struct sockaddr_storage where;
    if (look_up(a, &where, e))
        return NULL;
    struct listener *l = listener_new(loop, on_peer, context);
    address_format(a, l->address);
    listener_set_tls(l, tls);
    uv_tcp_init(loop, &l->socket.tcp);
    int rc = uv_tcp_bind(&l->socket.tcp, (const struct sockaddr *)&where, 0);
    if (rc) {
        error_set(e, ERR_FAILED, "cannot listen on %s: %s", l->address, uv_strerror(rc));
        listener_close(l);
        return NULL;
    }
    if (listener_start(l, e)) // here it shows that the port is taken
        return NULL;
    note_address(l, a);
    return l;
}
