// TLS between links and listeners: what it carries, whom it trusts, and lines and partners that are up to no good.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "tests/rpc/relay.h"
#include "tests/rpc/rig.h"

struct client {
    struct link *link;
    int up, down, closed, replies;
    struct error why;
    uint64_t bytes, sum; // of what came
};

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct client *c = link_context(l);
    (void)p;
    (void)welcome;
    c->up = 1;
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m;
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct client *c = link_context(l);
    (void)again_ms;
    c->down = 1;
    c->why = *why;
}

static void on_closed(struct link *l)
{
    struct client *c = link_context(l);
    c->closed = 1;
}

static void dial_for(struct rig *r, struct client *c, const struct address *a, uint64_t ms)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    struct link_options options = {.address = *a, .dial_ms = ms};
    memset(c, 0, sizeof *c);
    c->link = link_open(&r->loop, &options, &events, c);
}

static void dial(struct rig *r, struct client *c, const struct address *a)
{
    dial_for(r, c, a, 0);
}

static void hang_up(struct rig *r, struct client *c)
{
    link_close(c->link);
    rig_run_until(r, &c->closed);
}

static void expect_refused(struct rig *r, const struct address *a, enum error_code code, const char *text)
{
    struct client c;
    dial(r, &c, a);
    for (int waited = 0; !c.down && waited < 60000; waited++)
        rig_run_for(r, 1); // it may be refused before anything is dialled
    if (c.why.code != code || !strstr(c.why.text, text))
        fail_msg("code %d: %s", (int)c.why.code, c.why.text);
    hang_up(r, &c);
}

// ---- what is carried ------------------------------------------------------------------------------------------------

enum { CHUNKS = 40 };

// As many large chunks as the request's offset says; each byte follows from its place.
static void send_chunks(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    static uint8_t bytes[RPC_CHUNK_MAX];
    (void)r;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + m->id);
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    chunk.has_data = 1;
    chunk.data = (ProtobufCBinaryData){m->fetch->size, bytes};
    Islr__Envelope answer = ENVELOPE(CHUNK, chunk, &chunk);
    assert_int_equal(peer_reply(p, m->id, &answer, NULL), 0);
}

static void take_chunk(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct client *c = context;
    (void)p;
    if (!m) {
        c->why = *why;
        return;
    }
    for (size_t i = 0; i < m->chunk->data.len; i++)
        if (m->chunk->data.data[i] != (uint8_t)(i * 7 + m->id))
            fail_msg("byte %zu of chunk %d is wrong", i, (int)m->id);
    c->bytes += m->chunk->data.len;
    c->replies++;
}

static void ask(struct client *c, uint32_t size)
{
    static uint8_t ballast[200000]; // requests that are large too
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    fetch.has_size = fetch.has_sha256 = 1;
    fetch.size = size;
    fetch.sha256 = (ProtobufCBinaryData){sizeof ballast, ballast};
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    assert_int_not_equal(peer_request(link_peer(c->link), &m, 0, take_chunk, c, NULL), 0);
}

static void carries_everything(void **state)
{
    struct rig r = {.on_message = send_chunks};
    struct client c;
    (void)state;
    rig_open_tls(&r);
    dial(&r, &c, &r.address);
    rig_run_until(&r, &c.up);
    const struct peer_identity *who = peer_identity(r.server);
    assert_false(who->known);
    assert_string_equal(who->address, "127.0.0.1");
    for (int i = 0; i < CHUNKS; i++)
        ask(&c, RPC_CHUNK_MAX);
    while (c.replies < CHUNKS && !c.down)
        uv_run(&r.loop, UV_RUN_ONCE);
    assert_int_equal(c.bytes, (uint64_t)CHUNKS * RPC_CHUNK_MAX);
    assert_false(c.down);
    hang_up(&r, &c);
    rig_run_until(&r, &r.ended);
    assert_int_equal(r.ended_why.code, ERR_NONE); // it said goodbye
    rig_close(&r);
}

static void any_pieces_will_do(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 7; piece += 3) {
        struct rig r = {.on_message = send_chunks};
        struct relay line = {.piece = piece};
        struct client c;
        rig_open_tls(&r);
        relay_open(&line, &r.loop, &r.address);
        dial(&r, &c, &line.address);
        rig_run_until(&r, &c.up);
        Islr__Fetch fetch = ISLR__FETCH__INIT;
        fetch.has_size = 1;
        fetch.size = 5000;
        Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
        peer_request(link_peer(c.link), &m, 0, take_chunk, &c, NULL);
        rig_run_until(&r, &c.replies);
        assert_int_equal(c.bytes, 5000);
        hang_up(&r, &c);
        relay_close(&line);
        rig_close(&r);
    }
}

// A server that is full stops reading; what lies decrypted or not in its buffers then is not lost.
static void throttling_loses_nothing(void **state)
{
    struct rig r = {.on_message = send_chunks};
    struct client c;
    (void)state;
    rig_open_tls(&r);
    dial(&r, &c, &r.address);
    rig_run_until(&r, &c.up);
    for (int round = 0; round < 5; round++) {
        int before = c.replies;
        for (int i = 0; i < 4; i++)
            ask(&c, 1000);
        rig_run_for(&r, 3);
        peer_throttle(r.server, 1);
        rig_run_for(&r, 20);
        peer_throttle(r.server, 0);
        while (c.replies < before + 4 && !c.down)
            uv_run(&r.loop, UV_RUN_ONCE);
        assert_false(c.down);
    }
    hang_up(&r, &c);
    rig_close(&r);
}

// A client that stops reading while it is sent a huge backlog: what waits for it at the server is bounded, then it is
// hung up on.
static void slow_readers_are_dropped(void **state)
{
    struct rig r = {0};
    struct client c;
    static uint8_t bytes[RPC_CHUNK_MAX];
    struct error e;
    size_t sent = 0, most = 0;
    (void)state;
    rig_open_tls(&r);
    dial(&r, &c, &r.address);
    rig_run_until(&r, &c.up);
    peer_throttle(link_peer(c.link), 1);
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    chunk.has_data = 1;
    chunk.data = (ProtobufCBinaryData){sizeof bytes, bytes};
    Islr__Envelope m = ENVELOPE(CHUNK, chunk, &chunk);
    while (r.server && !peer_send(r.server, &m, &e) && sent < (1u << 30)) {
        sent += sizeof bytes;
        most = peer_queued(r.server) > most ? peer_queued(r.server) : most;
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    rig_run_until(&r, &r.ended);
    assert_non_null(strstr(r.ended_why.text, "reads too slowly"));
    assert_true(most > RPC_QUEUE_HIGH && most <= RPC_QUEUE_MAX);
    assert_true(sent < (64u << 20)); // the rest is in the kernel's buffers
    hang_up(&r, &c);
    rig_close(&r);
}

// ---- trust ----------------------------------------------------------------------------------------------------------

static void another_certificate_is_refused(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open_tls(&r);
    struct address a = r.address;
    char known[FINGERPRINT_TEXT], shown[FINGERPRINT_TEXT];
    a.fingerprint.bytes[31] ^= 1;
    fingerprint_format(&a.fingerprint, known);
    fingerprint_format(&r.address.fingerprint, shown);
    expect_refused(&r, &a, ERR_DENIED, "IS NOT THE ONE THAT IS KNOWN");
    expect_refused(&r, &a, ERR_DENIED, known);
    expect_refused(&r, &a, ERR_DENIED, shown);
    a.pinned = 0;
    expect_refused(&r, &a, ERR_DENIED, "islrctl login");
    assert_int_equal(r.greeted, 0); // no token was ever sent
    rig_close(&r);
}

static void a_ca_file_vouches_for_hosts(void **state)
{
    struct rig r = {0};
    struct client c;
    char other[100];
    (void)state;
    rig_open_tls(&r);
    struct address a = r.address;
    a.pinned = 0;
    strcpy(a.ca_file, r.path); // its own certificate
    for (int i = 0; i < 2; i++) {
        dial(&r, &c, &a);
        rig_run_until(&r, &c.up);
        hang_up(&r, &c);
        strcpy(a.host, "localhost"); // both are in it
    }
    snprintf(other, sizeof other, "%s/other.pem", r.directory);
    assert_int_equal(tls_make_identity(other, NULL), 0);
    strcpy(a.ca_file, other);
    expect_refused(&r, &a, ERR_DENIED, "does not hold");
    unlink(other);
    expect_refused(&r, &a, ERR_INVALID, "other.pem");
    strcpy(a.ca_file, r.path);
    strcpy(a.host, "127.0.0.2"); // not in it
    listener_close(r.listener);
    rig_run_for(&r, 5);
    strcpy(r.address.host, "127.0.0.2");
    rig_listen(&r);
    expect_refused(&r, &a, ERR_DENIED, "does not hold");
    rig_close(&r);
}

static void a_new_certificate_is_for_new_connections(void **state)
{
    struct rig r = {.on_message = send_chunks};
    struct client c, fresh;
    struct hash shown;
    struct error e;
    (void)state;
    rig_open_tls(&r);
    dial(&r, &c, &r.address);
    rig_run_until(&r, &c.up);
    struct address a = r.address;
    assert_int_equal(tls_make_identity(r.path, &e), 0);
    struct tls_context *renewed = tls_context_server(r.path, &e);
    assert_non_null(renewed);
    shown = *tls_context_fingerprint(renewed);
    assert_false(hash_equal(&shown, &a.fingerprint));
    listener_set_tls(r.listener, renewed);
    tls_context_free(renewed);
    ask(&c, 10); // goes on
    rig_run_until(&r, &c.replies);
    expect_refused(&r, &a, ERR_DENIED, "IS NOT THE ONE");
    a.fingerprint = shown;
    dial(&r, &fresh, &a);
    rig_run_until(&r, &fresh.up);
    hang_up(&r, &fresh);
    hang_up(&r, &c);
    rig_close(&r);
}

static void keys_that_cannot_be_used(void **state)
{
    struct rig r = {0};
    struct error e;
    char file[100];
    (void)state;
    rig_open_tls(&r);
    chmod(r.path, 0604);
    assert_null(tls_context_server(r.path, &e));
    assert_int_equal(e.code, ERR_DENIED);
    snprintf(file, sizeof file, "%s/no.pem", r.directory);
    assert_null(tls_context_server(file, &e));
    assert_non_null(strstr(e.text, "no.pem"));
    FILE *f = fopen(file, "w");
    fputs("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    chmod(file, 0600);
    assert_null(tls_context_server(file, &e));
    assert_int_equal(e.code, ERR_INVALID);
    unlink(file);
    rig_close(&r);
}

static void fingerprints_are_read_in_any_form(void **state)
{
    struct hash h, back;
    char text[FINGERPRINT_TEXT], colons[200] = "";
    struct error e;
    (void)state;
    h = hash_memory("x", 1);
    fingerprint_format(&h, text);
    assert_int_equal(fingerprint_parse(text, &back, &e), 0);
    assert_true(hash_equal(&h, &back));
    for (int i = 0; i < 32; i++)
        sprintf(colons + 3 * i, "%02X%s", h.bytes[i], i < 31 ? ":" : "");
    assert_int_equal(fingerprint_parse(colons, &back, &e), 0);
    assert_true(hash_equal(&h, &back));
    text[20] = 'g';
    assert_int_equal(fingerprint_parse(text, &back, &e), -1);
    assert_int_equal(fingerprint_parse("SHA256:ab", &back, &e), -1);
    fingerprint_format(&h, text);
    char longer[100];
    snprintf(longer, sizeof longer, "%s0", text);
    assert_int_equal(fingerprint_parse(longer, &back, &e), -1);
}

// ---- lines and partners ---------------------------------------------------------------------------------------------

static void changed_bytes_are_noticed(void **state)
{
    (void)state;
    for (uint64_t at = 2; at < 1200; at += 97) { // in the handshake, and behind it
        struct rig r = {.on_message = send_chunks};
        struct relay line = {.spoil = at};
        struct client c;
        rig_open_tls(&r);
        relay_open(&line, &r.loop, &r.address);
        dial_for(&r, &c, &line.address, 1000); // some changes only make it wait for more
        while (!c.down && !c.up)
            uv_run(&r.loop, UV_RUN_ONCE);
        if (c.up) {
            peer_set_keepalive(link_peer(c.link), 0, 1000); // a longer record may have become of it
            ask(&c, 5000);
        }
        rig_run_until(&r, &c.down);
        assert_int_equal(c.bytes, 0);
        hang_up(&r, &c);
        relay_close(&line);
        rig_close(&r);
    }
}

static void a_cut_is_no_goodbye(void **state)
{
    struct rig r = {.on_message = send_chunks};
    struct relay line = {0};
    struct client c;
    (void)state;
    rig_open_tls(&r);
    relay_open(&line, &r.loop, &r.address);
    dial(&r, &c, &line.address);
    rig_run_until(&r, &c.up);
    relay_cut(&line);
    rig_run_until(&r, &c.down);
    assert_int_equal(c.why.code, ERR_UNREACHABLE);
    assert_non_null(strstr(c.why.text, "cut"));
    rig_run_until(&r, &r.ended);
    assert_int_equal(r.ended_why.code, ERR_UNREACHABLE);
    hang_up(&r, &c);
    relay_close(&line);
    rig_close(&r);
}

static void strangers_talk_nonsense(void **state)
{
    struct rig r = {0};
    static const char *const words[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff\x01", "",
                                        "SSH-2.0-x\r\n"};
    (void)state;
    rig_open_tls(&r);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        int fd = rig_connect_raw(&r), before = r.ended;
        assert_true(write(fd, words[i], strlen(words[i])) >= 0);
        shutdown(fd, SHUT_WR);
        while (r.ended == before)
            uv_run(&r.loop, UV_RUN_ONCE);
        close(fd);
    }
    assert_int_equal(r.greeted, 0);
    struct client c; // and it is as good as before
    dial(&r, &c, &r.address);
    rig_run_until(&r, &c.up);
    hang_up(&r, &c);
    rig_close(&r);
}

static void half_open_ones_are_dropped(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open_tls(&r);
    int fd = rig_connect_raw(&r);
    rig_run_until(&r, &r.opened);
    peer_set_patience(r.server, 100, 0, 0);
    assert_int_equal(write(fd, "\x16\x03\x01", 3), 3); // a record that is begun
    rig_run_until(&r, &r.ended);
    assert_int_equal(r.ended_why.code, ERR_TIMEOUT);
    close(fd);
    rig_close(&r);
}

static void step(struct rig *r, SSL *ssl, int (*what)(SSL *ssl))
{
    while (what(ssl) != 1 && !r->ended) {
        assert_true(SSL_want_read(ssl) || SSL_want_write(ssl));
        uv_run(&r->loop, UV_RUN_NOWAIT);
    }
}

// A stranger who asks for new keys over and over, each of which is to be answered, and never reads.
static void new_keys_without_end(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open_tls(&r);
    int fd = rig_connect_raw(&r);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    step(&r, ssl, SSL_connect);
    peer_set_patience(r.server, 600000, 600000, 600000); // it is not for being slow that it is to be dropped
    for (int i = 0; i < 100000 && !r.ended; i++) {
        ERR_clear_error();
        if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1)
            break;
        step(&r, ssl, SSL_do_handshake);
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    rig_run_until(&r, &r.ended);
    assert_non_null(strstr(r.ended_why.text, "new TLS keys"));
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    rig_close(&r);
}

static void a_plain_server_is_no_tls_server(void **state)
{
    struct rig r = {0};
    struct client c;
    struct hash shown;
    struct error e;
    (void)state;
    rig_open_tls(&r);
    struct address a = r.address;
    int fd = socket(AF_INET, SOCK_STREAM, 0); // listens and never answers: hangs up
    struct sockaddr_storage where = {0};
    socklen_t size = sizeof where;
    where.ss_family = AF_INET;
    assert_int_equal(bind(fd, (struct sockaddr *)&where, 16), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &size), 0);
    uint8_t *port = (uint8_t *)&where + 2;
    snprintf(a.port, sizeof a.port, "%d", port[0] << 8 | port[1]);
    dial(&r, &c, &a);
    rig_run_for(&r, 20);
    int from = accept(fd, NULL, NULL);
    assert_int_equal(write(from, "220 mail ready\r\n", 16), 16);
    rig_run_until(&r, &c.down);
    assert_int_equal(c.why.code, ERR_UNREACHABLE);
    assert_non_null(strstr(c.why.text, "islrd"));
    hang_up(&r, &c);
    close(from);
    close(fd);
    assert_int_equal(tls_look(&a, &shown, &e), -1); // nobody listens any more
    assert_int_equal(e.code, ERR_UNREACHABLE);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_everything),
        cmocka_unit_test(any_pieces_will_do),
        cmocka_unit_test(throttling_loses_nothing),
        cmocka_unit_test(slow_readers_are_dropped),
        cmocka_unit_test(another_certificate_is_refused),
        cmocka_unit_test(a_ca_file_vouches_for_hosts),
        cmocka_unit_test(a_new_certificate_is_for_new_connections),
        cmocka_unit_test(keys_that_cannot_be_used),
        cmocka_unit_test(fingerprints_are_read_in_any_form),
        cmocka_unit_test(changed_bytes_are_noticed),
        cmocka_unit_test(a_cut_is_no_goodbye),
        cmocka_unit_test(strangers_talk_nonsense),
        cmocka_unit_test(half_open_ones_are_dropped),
        cmocka_unit_test(new_keys_without_end),
        cmocka_unit_test(a_plain_server_is_no_tls_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
