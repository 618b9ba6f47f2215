// A server's end: listens on a unix socket or, with TLS, on the network, and makes a peer of every connection.
#ifndef ISLR_RPC_LISTEN_H
#define ISLR_RPC_LISTEN_H

#include <sys/types.h>
#include <uv.h>

#include "core/base/error.h"
#include "core/rpc/address.h"
#include "core/rpc/peer.h"

struct listener;
struct tls_context;

// A new connection: call peer_start() (or peer_close()) before returning. RPC_CONNECTIONS_MAX peers of one listener may
// live at a time.
typedef void (*listener_peer_fn)(struct listener *l, struct peer *p);

#define LISTENER_NO_GROUP ((gid_t)-1)

// Listens on a unix socket at `path`. The socket appears with its final mode (0600, or 0660 for a group, whose it then
// is unless LISTENER_NO_GROUP), replaces a stale one, and a path on which a server answers is refused (ERR_FAILED), as
// is one that is no socket. Missing directories are not made. NULL with an error when it cannot listen.
struct listener *listener_open_unix(uv_loop_t *loop, const char *path, mode_t mode, gid_t group,
                                    listener_peer_fn on_peer, void *context, struct error *e);

// Listens on the host's first address (a name is looked up, which may block) with TLS. Connections of addresses that
// guard.h does not let in are closed at once.
struct listener *listener_open_tls(uv_loop_t *loop, const struct address *a, struct tls_context *tls,
                                   listener_peer_fn on_peer, void *context, struct error *e);
void listener_set_tls(struct listener *l, struct tls_context *tls); // from the next connection on

void *listener_context(const struct listener *l);
unsigned listener_peers(const struct listener *l);      // alive now
const char *listener_address(const struct listener *l); // as clients write it; the port is the real one

// Stops listening and removes the socket if it is still the one that was made; peers live on. The listener is freed
// from the loop when its last peer is gone. NULL is fine.
void listener_close(struct listener *l);

#endif
