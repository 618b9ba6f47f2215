// What the TLS files share; with them the only ones that know OpenSSL's ssl.h.
#ifndef ISLR_RPC_TLS_INTERNAL_H
#define ISLR_RPC_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "core/rpc/tls.h"

struct tls_context {
    SSL_CTX *ssl;
    unsigned refs;
    int server, look;
    struct hash fingerprint; // a server's own certificate's
    struct address address;  // a client's
};

// Hangs at an SSL of a client while it shakes hands.
struct tls_check {
    const struct tls_context *context;
    struct error why; // why the certificate was refused
};

// An SSL over new memory BIOs; `check` must live as long. NULL: out of memory.
SSL *tls_context_new(struct tls_context *c, struct tls_check *check);

int tls_fault(struct error *e, enum error_code code, const char *doing); // with OpenSSL's last reason; -1
void tls_fingerprint(const X509 *certificate, struct hash *out);

#endif
