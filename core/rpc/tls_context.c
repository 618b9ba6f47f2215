// Keys and trust: see tls.h.
//
// A pinned certificate is compared by its hash alone: names and dates in it do not matter, since whoever logged in
// accepted this certificate and no other. That the server has its key is what the handshake proves.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "core/base/memory.h"
#include "core/rpc/tls_internal.h"

int tls_fault(struct error *e, enum error_code code, const char *doing)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    error_set(e, code, "%s: %s", doing, reason ? reason : "the TLS library does not say why");
    ERR_clear_error();
    return -1;
}

void tls_fingerprint(const X509 *certificate, struct hash *out)
{
    unsigned size = sizeof out->bytes;
    memset(out, 0, sizeof *out);
    X509_digest(certificate, EVP_sha256(), out->bytes, &size);
}

static struct tls_context *context_new(const SSL_METHOD *method, struct error *e)
{
    struct tls_context *c = xcalloc(1, sizeof *c);
    c->refs = 1;
    c->ssl = SSL_CTX_new(method);
    if (!c->ssl || !SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION)) {
        tls_fault(e, ERR_FAILED, "cannot set TLS up");
        tls_context_free(c);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c->ssl, 0); // connections live long: there is nothing to resume
    SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    return c;
}

void tls_context_hold(struct tls_context *c)
{
    c->refs++;
}

void tls_context_free(struct tls_context *c)
{
    if (!c || --c->refs)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

const struct hash *tls_context_fingerprint(const struct tls_context *c)
{
    return &c->fingerprint;
}

// ---- servers --------------------------------------------------------------------------------------------------------

static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1; // never ask on the terminal
}

static int check_mode(const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st))
        return error_set_errno(e, ERR_FAILED, "cannot read the server's key %s", path);
    if (st.st_mode & S_IRWXO)
        return error_set(e, ERR_DENIED, "the server's key %s is open to everybody: chmod 600 it", path);
    return 0;
}

struct tls_context *tls_context_server(const char *path, struct error *e)
{
    if (check_mode(path, e))
        return NULL;
    struct tls_context *c = context_new(TLS_server_method(), e);
    if (!c)
        return NULL;
    c->server = 1;
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(c->ssl, no_password);
    if (SSL_CTX_use_certificate_chain_file(c->ssl, path) != 1 ||
        SSL_CTX_use_PrivateKey_file(c->ssl, path, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(c->ssl) != 1) {
        tls_fault(e, ERR_INVALID, "it does not hold a private key without a password and its certificate in PEM form");
        error_prefix(e, "cannot use the server's key %s", path);
        tls_context_free(c);
        return NULL;
    }
    tls_fingerprint(SSL_CTX_get0_certificate(c->ssl), &c->fingerprint);
    return c;
}

// ---- clients --------------------------------------------------------------------------------------------------------

static int check_pin(X509_STORE_CTX *chain, struct tls_check *check)
{
    const struct address *a = &check->context->address;
    struct hash shown;
    char where[ADDRESS_TEXT], seen[FINGERPRINT_TEXT], known[FINGERPRINT_TEXT];
    tls_fingerprint(X509_STORE_CTX_get0_cert(chain), &shown);
    if (hash_equal(&shown, &a->fingerprint))
        return 1;
    address_format(a, where);
    fingerprint_format(&shown, seen);
    fingerprint_format(&a->fingerprint, known);
    error_set(&check->why, ERR_DENIED,
              "THE SERVER'S CERTIFICATE IS NOT THE ONE THAT IS KNOWN.\n"
              "  server   %s\n  it shows %s\n  known is %s\n"
              "Somebody may be listening in between, or the server has a new certificate. Nothing was sent to it. Ask "
              "whoever runs the server; if the new one is right, `islrctl login %s --fingerprint %s` accepts it",
              where, seen, known, where, seen);
    return 0;
}

static int check_chain(X509_STORE_CTX *chain, struct tls_check *check)
{
    if (X509_verify_cert(chain) == 1)
        return 1;
    int code = X509_STORE_CTX_get_error(chain);
    const struct address *a = &check->context->address;
    char where[ADDRESS_TEXT];
    address_format(a, where);
    error_set(&check->why, ERR_DENIED, "the certificate of the server at %s does not hold by %s: %s%s", where,
              a->ca_file, X509_verify_cert_error_string(code),
              code == X509_V_ERR_CERT_NOT_YET_VALID || code == X509_V_ERR_CERT_HAS_EXPIRED
                  ? " (by this machine's clock: is it right?)"
                  : "");
    return 0;
}

static int verify(X509_STORE_CTX *chain, void *context)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_check *check = SSL_get_app_data(ssl);
    (void)context;
    if (check->context->look)
        return 1;
    return check->context->address.pinned ? check_pin(chain, check) : check_chain(chain, check);
}

static int load_ca(struct tls_context *c, const char *path, struct error *e)
{
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations(c->ssl, path, NULL) != 1) {
        tls_fault(e, ERR_INVALID, "no certificates in PEM form can be read from it");
        return error_prefix(e, "the CA file %s", path);
    }
    // A server's own certificate in the file is enough.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return 0;
}

struct tls_context *tls_context_client(const struct address *a, int look, struct error *e)
{
    char where[ADDRESS_TEXT];
    if (!look && !a->pinned && !*a->ca_file) {
        address_format(a, where);
        error_set(e, ERR_DENIED,
                  "the certificate of the server at %s is not known here: `islrctl login %s` shows and accepts it; "
                  "programs take $ISLR_FINGERPRINT or $ISLR_CA",
                  where, where);
        return NULL;
    }
    struct tls_context *c = context_new(TLS_client_method(), e);
    if (!c)
        return NULL;
    c->address = *a;
    c->look = look;
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(c->ssl, verify, NULL);
    if (!look && *a->ca_file && load_ca(c, a->ca_file, e)) {
        tls_context_free(c);
        return NULL;
    }
    return c;
}

// The name that a certificate must be for.
static int set_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return 0;
    ERR_clear_error(); // a name, then
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1 ? 0 : -1;
}

SSL *tls_context_new(struct tls_context *c, struct tls_check *check)
{
    SSL *ssl = SSL_new(c->ssl);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    check->context = c;
    if (!ssl || !in || !out || (!c->server && set_host(ssl, c->address.host))) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    BIO_set_mem_eof_return(in, -1); // empty means: wait for more
    SSL_set_bio(ssl, in, out);
    SSL_set_app_data(ssl, check);
    if (c->server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}
