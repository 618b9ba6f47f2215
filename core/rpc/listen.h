// A server's end: listens on a unix socket and makes a peer of every connection.
#ifndef ISLR_RPC_LISTEN_H
#define ISLR_RPC_LISTEN_H

#include <sys/types.h>
#include <uv.h>

#include "core/base/error.h"
#include "core/rpc/peer.h"

struct listener;

// A new connection: call peer_start() (or peer_close()) before returning. RPC_CONNECTIONS_MAX peers may live at a time.
typedef void (*listener_peer_fn)(struct listener *l, struct peer *p);

// Listens on a unix socket at `path`. The socket appears with its final mode (0600, or 0660 for a group), replaces a
// stale one, and a path on which a server answers is refused (ERR_FAILED), as is one that is no socket. Missing
// directories are not made. NULL with an error when it cannot listen.
struct listener *listener_open_unix(uv_loop_t *loop, const char *path, mode_t mode, listener_peer_fn on_peer,
                                    void *context, struct error *e);
void *listener_context(const struct listener *l);
unsigned listener_peers(const struct listener *l); // alive now

// Stops listening and removes the socket if it is still the one that was made; peers live on. The listener is freed
// from the loop when its last peer is gone.
void listener_close(struct listener *l);

#endif
