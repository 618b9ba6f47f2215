// The inside of a listener, shared by listen.c (connections, life), listen_unix.c and listen_tls.c.
#ifndef ISLR_RPC_LISTEN_INTERNAL_H
#define ISLR_RPC_LISTEN_INTERNAL_H

#include "core/rpc/guard.h"
#include "core/rpc/listen.h"

struct socket_file; // listen_unix.c

union listener_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
};

struct listener {
    uv_loop_t *loop;
    union listener_socket socket;
    listener_peer_fn on_peer;
    void *context;
    char address[ADDRESS_TEXT];
    unsigned peers;
    int closed;
    struct socket_file *file; // unix: the socket's
    struct tls_context *tls;  // network
    struct guard guard;       // network
};

struct listener *listener_new(uv_loop_t *loop, listener_peer_fn on_peer, void *context);
int listener_start(struct listener *l, struct error *e); // `socket` is bound and `address` set; -1: it is being closed

// Who has connected: the kernel says the user, the user database its name. Calls back at once where the name is known, else
// from the loop when the database, which may be slow, has been asked off it. `f` must stay until then.
typedef void (*identified_fn)(void *context, const struct peer_identity *who);
void socket_file_identify(struct socket_file *f, uv_loop_t *loop, const uv_handle_t *connection,
                          identified_fn on_identified, void *context);
void socket_file_remove(const struct socket_file *f);
void socket_file_free(struct socket_file *f);

#endif
