// Bytes over TLS over a stream: see tls.h and transport.h. Ciphertext that arrives goes into one memory BIO, what
// OpenSSL wants sent is taken out of the other. Both stay small: input is fed in pieces, output is taken out record by
// record, and while the user does not read, nothing is read below.
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "core/base/memory.h"
#include "core/rpc/tls_internal.h"

enum {
    PIECE = 16 << 10,      // plaintext of a TLS record at most
    RECORD_OVERHEAD = 256, // ciphertext of a record is longer by no more (RFC 8446, 5.2)
    ANSWERS_MAX = 64 << 10 // bytes that the protocol itself says after the handshake, in answer to key updates
};

struct tls_transport {
    struct transport base;
    struct transport *below; // NULL once it is closed
    struct tls_context *context;
    SSL *ssl; // owns the two BIOs
    struct tls_check check;
    tls_secure_fn on_secure;
    uv_timer_t soon; // rings when there is something to do that no byte from below will announce
    int soon_closed;
    uint8_t *waiting; // written before the handshake was over
    size_t waiting_size;
    size_t answered; // of ANSWERS_MAX

    int secure;    // the handshake is over
    int reading;   // the user's wish
    int draining;  // inside drain()
    int finishing; // finish() was called before the handshake was over
    int ended;     // on_end has been called
    int closing;
};

static void end(struct tls_transport *t, const struct error *why)
{
    if (t->ended || t->closing)
        return;
    t->ended = 1;
    t->base.user.on_end(t->base.user.context, why);
}

// ---- out ------------------------------------------------------------------------------------------------------------

// What OpenSSL has put into its outgoing BIO.
struct outgoing {
    uint8_t *data;
    size_t size, capacity;
};

static void take_out(struct tls_transport *t, struct outgoing *o)
{
    BIO *out = SSL_get_wbio(t->ssl);
    size_t n = BIO_ctrl_pending(out);
    if (!n)
        return;
    if (o->size + n > o->capacity) {
        o->capacity = o->size + n;
        o->data = xrealloc(o->data, o->capacity, 1);
    }
    int got = BIO_read(out, o->data + o->size, (int)n);
    o->size += got > 0 ? (size_t)got : 0;
}

static int send_out(struct tls_transport *t, struct outgoing *o, struct error *e)
{
    if (o->size)
        return transport_write(t->below, o->data, o->size, e);
    free(o->data);
    return 0;
}

static int flush(struct tls_transport *t, struct error *e)
{
    struct outgoing o = {0};
    take_out(t, &o);
    return send_out(t, &o, e);
}

static int encrypt(struct tls_transport *t, const uint8_t *data, size_t size, struct error *e)
{
    size_t records = (size + PIECE - 1) / PIECE, capacity = size + records * RECORD_OVERHEAD;
    struct outgoing o = {xmalloc(capacity), 0, capacity};
    for (size_t done = 0; done < size;) {
        size_t n = size - done < PIECE ? size - done : PIECE;
        ERR_clear_error();
        if (SSL_write(t->ssl, data + done, (int)n) != (int)n) { // a memory BIO takes all
            free(o.data);
            return tls_fault(e, ERR_UNREACHABLE, "writing to the TLS connection failed");
        }
        take_out(t, &o);
        done += n;
    }
    return send_out(t, &o, e);
}

// ---- in -------------------------------------------------------------------------------------------------------------

static void fail(struct tls_transport *t, const char *doing)
{
    struct error why;
    tls_fault(&why, ERR_UNREACHABLE, doing);
    flush(t, NULL); // the alert that tells the other end
    end(t, t->check.why.code ? &t->check.why : &why);
}

// The other end may ask for new keys as often as it likes and not read what it gets: that must not pile up here.
static int answer(struct tls_transport *t, struct error *e)
{
    t->answered += BIO_ctrl_pending(SSL_get_wbio(t->ssl));
    if (t->answered > ANSWERS_MAX)
        return error_set(e, ERR_UNREACHABLE, "the other end asks for new TLS keys without end");
    return flush(t, e);
}

static void drain(struct tls_transport *t)
{
    uint8_t buffer[PIECE];
    struct error none = {ERR_NONE, ""}, e;
    t->draining = 1;
    while (t->reading && !t->closing && !t->ended) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, buffer, sizeof buffer);
        if (n > 0) {
            t->base.user.on_bytes(t->base.user.context, buffer, (size_t)n);
            continue;
        }
        int reason = SSL_get_error(t->ssl, n);
        if (reason == SSL_ERROR_ZERO_RETURN)
            end(t, &none);
        else if (reason != SSL_ERROR_WANT_READ)
            fail(t, "reading from the TLS connection failed");
        else if (answer(t, &e))
            end(t, &e);
        break;
    }
    t->draining = 0;
}

static int tls_finish_now(struct tls_transport *t, struct error *e)
{
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    return flush(t, e);
}

// The handshake is over: what waited goes out.
static void become_secure(struct tls_transport *t)
{
    struct error e = {ERR_NONE, ""};
    struct hash shown;
    t->secure = 1;
    transport_read(t->below, t->reading);
    if (t->waiting_size && encrypt(t, t->waiting, t->waiting_size, &e)) {
        end(t, &e);
        return;
    }
    free(t->waiting);
    t->waiting = NULL;
    t->waiting_size = 0;
    if (t->finishing) {
        tls_finish_now(t, NULL);
        transport_finish(t->below);
    }
    if (!t->on_secure)
        return;
    X509 *certificate = SSL_get0_peer_certificate(t->ssl);
    if (certificate)
        tls_fingerprint(certificate, &shown);
    t->on_secure(t->base.user.context, certificate ? &shown : NULL);
}

static void go_on(struct tls_transport *t)
{
    struct error e;
    if (t->closing || t->ended)
        return;
    if (!t->secure) {
        ERR_clear_error();
        int rc = SSL_do_handshake(t->ssl);
        if (rc != 1 && SSL_get_error(t->ssl, rc) != SSL_ERROR_WANT_READ) {
            fail(t, t->context->server ? "the TLS handshake failed"
                                       : "the TLS handshake failed (is it islrd that listens there?)");
            return;
        }
        if (flush(t, &e)) {
            end(t, &e);
            return;
        }
        if (rc != 1)
            return;
        become_secure(t);
    }
    if (!t->closing && !t->draining)
        drain(t);
}

static void below_bytes(void *context, const uint8_t *data, size_t size)
{
    struct tls_transport *t = context;
    while (size && !t->closing && !t->ended) {
        size_t n = size < PIECE ? size : PIECE;
        if (BIO_write(SSL_get_rbio(t->ssl), data, (int)n) != (int)n) {
            fail(t, "the TLS connection takes no more bytes");
            return;
        }
        data += n;
        size -= n;
        go_on(t);
    }
}

static void below_written(void *context)
{
    struct tls_transport *t = context;
    if (t->secure && !t->closing)
        t->base.user.on_written(t->base.user.context);
}

static void below_ended(void *context, const struct error *why)
{
    struct tls_transport *t = context;
    struct error cut;
    if (t->secure)
        drain(t); // what had arrived before
    if (why->code == ERR_NONE && !t->ended) {
        error_set(&cut, ERR_UNREACHABLE, "%s",
                  t->secure ? "the connection was cut" : "the other end hung up during the TLS handshake");
        why = &cut;
    }
    end(t, why);
}

static void ring(uv_timer_t *timer)
{
    go_on(timer->data);
}

// ---- the transport --------------------------------------------------------------------------------------------------

static int tls_write(struct transport *base, uint8_t *data, size_t size, struct error *e)
{
    struct tls_transport *t = (struct tls_transport *)base;
    int rc = 0;
    if (t->ended) {
        rc = error_set(e, ERR_UNREACHABLE, "the TLS connection has ended");
    } else if (t->secure) {
        rc = encrypt(t, data, size, e);
    } else {
        t->waiting = xrealloc(t->waiting, t->waiting_size + size, 1);
        memcpy(t->waiting + t->waiting_size, data, size);
        t->waiting_size += size;
    }
    free(data);
    return rc;
}

static size_t tls_queued(const struct transport *base)
{
    const struct tls_transport *t = (const struct tls_transport *)base;
    return t->waiting_size + transport_queued(t->below);
}

static void tls_read(struct transport *base, int on)
{
    struct tls_transport *t = (struct tls_transport *)base;
    if (t->closing || t->reading == on)
        return;
    t->reading = on;
    if (!t->secure)
        return; // the handshake reads in any case
    transport_read(t->below, on);
    if (on && !t->draining && (SSL_has_pending(t->ssl) || BIO_ctrl_pending(SSL_get_rbio(t->ssl))))
        uv_timer_start(&t->soon, ring, 0, 0);
}

static void tls_finish(struct transport *base)
{
    struct tls_transport *t = (struct tls_transport *)base;
    if (!t->secure) {
        t->finishing = 1;
        return;
    }
    tls_finish_now(t, NULL); // a failure shows as the end of reading
    transport_finish(t->below);
}

static void free_if_done(struct tls_transport *t)
{
    if (t->below || !t->soon_closed)
        return;
    struct transport_user user = t->base.user;
    SSL_free(t->ssl);
    tls_context_free(t->context);
    free(t->waiting);
    free(t);
    user.on_closed(user.context);
}

static void soon_closed(uv_handle_t *handle)
{
    struct tls_transport *t = handle->data;
    t->soon_closed = 1;
    free_if_done(t);
}

static void below_closed(void *context)
{
    struct tls_transport *t = context;
    t->below = NULL;
    free_if_done(t);
}

static void tls_close(struct transport *base)
{
    struct tls_transport *t = (struct tls_transport *)base;
    t->closing = 1;
    if (t->secure && !t->ended && !transport_queued(t->below))
        tls_finish_now(t, NULL); // so that it does not look cut
    uv_close((uv_handle_t *)&t->soon, soon_closed);
    transport_close(t->below);
}

struct transport *transport_tls(struct tls_context *c, uv_stream_t *stream, const struct transport_user *user,
                                tls_secure_fn on_secure)
{
    static const struct transport_ops ops = {tls_write, tls_queued, tls_read, tls_finish, tls_close};
    struct tls_transport *t = xcalloc(1, sizeof *t);
    struct transport_user own = {t, below_bytes, below_written, below_ended, below_closed};
    t->base.ops = &ops;
    t->base.user = *user;
    t->context = c;
    tls_context_hold(c);
    t->on_secure = on_secure;
    t->ssl = tls_context_new(c, &t->check);
    if (!t->ssl)
        abort(); // out of memory, as everywhere
    uv_timer_init(stream->loop, &t->soon);
    t->soon.data = t;
    t->below = transport_stream(stream, &own);
    transport_read(t->below, 1);
    uv_timer_start(&t->soon, ring, 0, 0); // a client speaks first
    return &t->base;
}
