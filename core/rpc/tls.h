// TLS 1.3 below a peer: keys, what is trusted, and the transport. OpenSSL works on two memory BIOs, libuv moves the
// bytes; nothing here blocks.
#ifndef ISLR_RPC_TLS_H
#define ISLR_RPC_TLS_H

#include "core/base/hash.h"
#include "core/rpc/address.h"
#include "core/rpc/transport.h"

// What connections of one end share. Connections hold it too: it may be let go of while they live on.
struct tls_context;

// A server's: `path` is a PEM file with its private key and its certificate (and those that vouch for it, in order),
// which may not be readable by everybody.
struct tls_context *tls_context_server(const char *path, struct error *e);
// A client's, with the address's proof. ERR_DENIED: it has none. `look`: any certificate will do; what is said to such
// a server is said to a stranger.
struct tls_context *tls_context_client(const struct address *a, int look, struct error *e);
void tls_context_hold(struct tls_context *c);                            // one more tls_context_free() is due
void tls_context_free(struct tls_context *c);                            // NULL is fine
const struct hash *tls_context_fingerprint(const struct tls_context *c); // of a server's own certificate

// Makes a key (ECDSA, P-256) and a certificate by itself, for this host's name and "localhost", without an end, in one
// file for the owner's eyes (0600) that appears whole.
int tls_make_identity(const char *path, struct error *e);

// Over a connected or accepted stream, of which it takes ownership. on_secure (may be NULL) comes once, when the
// handshake is over, with the other end's certificate's fingerprint (a client's; NULL on a server). What goes wrong
// before that reaches on_end: ERR_DENIED where the server did not prove what it should.
typedef void (*tls_secure_fn)(void *context, const struct hash *fingerprint);
struct transport *transport_tls(struct tls_context *c, uv_stream_t *stream, const struct transport_user *user,
                                tls_secure_fn on_secure);

// The fingerprint of the certificate of whoever answers at a tls: address, by a handshake in which nothing else is
// said. Blocks, RPC_HANDSHAKE_MS at most.
int tls_look(const struct address *a, struct hash *fingerprint, struct error *e);

#endif
