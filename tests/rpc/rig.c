// A scripted server's end: see rig.h.
#include "tests/rpc/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/rpc/protocol.h"

void rig_welcome(struct peer *p, uint64_t id)
{
    Islr__Welcome welcome = ISLR__WELCOME__INIT;
    welcome.has_protocol = 1;
    welcome.protocol = RPC_PROTOCOL;
    welcome.version = "test";
    welcome.user = (char *)peer_identity(p)->user;
    Islr__Envelope m = ENVELOPE(WELCOME, welcome, &welcome);
    peer_recognise(p);
    assert_int_equal(peer_reply(p, id, &m, NULL), 0);
}

static void message(struct peer *p, Islr__Envelope *m)
{
    struct rig *r = peer_context(p);
    r->greeted += m->body_case == ISLR__ENVELOPE__BODY_HELLO;
    if (m->body_case == ISLR__ENVELOPE__BODY_HELLO && r->on_hello)
        r->on_hello(r, p, m);
    else if (m->body_case == ISLR__ENVELOPE__BODY_HELLO)
        rig_welcome(p, m->id);
    else if (r->on_message)
        r->on_message(r, p, m);
}

static void drained(struct peer *p)
{
    struct rig *r = peer_context(p);
    if (r->on_drained)
        r->on_drained(r, p);
}

static void closed(struct peer *p, const struct error *why)
{
    struct rig *r = peer_context(p);
    r->ended++;
    r->ended_why = *why;
    if (r->server == p)
        r->server = NULL;
    if (r->on_closed)
        r->on_closed(r, p);
}

static void accepted(struct listener *l, struct peer *p)
{
    static const struct peer_events events = {message, drained, closed};
    struct rig *r = listener_context(l);
    r->opened++;
    r->server = p;
    peer_start(p, &events, r);
}

void rig_listen(struct rig *r)
{
    struct error e = {0};
    if (r->tls)
        r->listener = listener_open_tls(&r->loop, &r->address, r->tls, accepted, r, &e);
    else
        r->listener = listener_open_unix(&r->loop, r->path, 0600, LISTENER_NO_GROUP, accepted, r, &e);
    if (!r->listener)
        fail_msg("%s", e.text);
}

static void make_place(struct rig *r)
{
    signal(SIGPIPE, SIG_IGN);
    strcpy(r->directory, "/tmp/islr-rpc-XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    assert_int_equal(uv_loop_init(&r->loop), 0);
}

void rig_open(struct rig *r)
{
    make_place(r);
    snprintf(r->path, sizeof r->path, "%s/sock", r->directory);
    assert_int_equal(address_parse(r->path, &r->address, NULL), 0);
    rig_listen(r);
}

void rig_open_tls(struct rig *r)
{
    struct error e = {0};
    make_place(r);
    snprintf(r->path, sizeof r->path, "%s/tls.pem", r->directory);
    if (tls_make_identity(r->path, &e) || !(r->tls = tls_context_server(r->path, &e)))
        fail_msg("%s", e.text);
    assert_int_equal(address_parse_listen("127.0.0.1:0", &r->address, &e), 0);
    rig_listen(r);
    assert_int_equal(address_parse(listener_address(r->listener), &r->address, &e), 0);
    r->address.pinned = 1;
    r->address.fingerprint = *tls_context_fingerprint(r->tls);
}

void rig_unlisten(struct rig *r)
{
    if (r->listener)
        listener_close(r->listener);
    r->listener = NULL;
    if (r->server)
        peer_close(r->server, NULL);
}

void rig_close(struct rig *r)
{
    rig_unlisten(r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0); // nobody left a handle behind
    if (r->tls)
        unlink(r->path);
    tls_context_free(r->tls);
    assert_int_equal(access(r->path, F_OK), -1);
    rmdir(r->directory);
}

struct alarm {
    uv_timer_t timer;
    int rung;
};

static void ring(uv_timer_t *timer)
{
    struct alarm *a = timer->data;
    a->rung = 1;
    uv_stop(timer->loop); // or uv_run() would wait for something more
}

static void run_until(struct rig *r, const int *flag, unsigned ms)
{
    struct alarm a = {.rung = 0};
    uv_timer_init(&r->loop, &a.timer);
    a.timer.data = &a;
    uv_update_time(&r->loop);
    uv_timer_start(&a.timer, ring, ms, 0);
    while (!a.rung && !(flag && *flag))
        uv_run(&r->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&a.timer, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    if (flag && !*flag)
        fail_msg("what was waited for did not come");
}

void rig_run_until(struct rig *r, const int *flag)
{
    run_until(r, flag, 100000);
}

void rig_run_for(struct rig *r, unsigned ms)
{
    run_until(r, NULL, ms);
}

int rig_connect_raw(const struct rig *r)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(r->tls ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (r->tls) {
        remote.sin_port = htons((uint16_t)atoi(r->address.port));
        assert_int_equal(connect(fd, (struct sockaddr *)&remote, sizeof remote), 0);
    } else {
        strcpy(local.sun_path, r->path);
        assert_int_equal(connect(fd, (struct sockaddr *)&local, sizeof local), 0);
    }
    return fd;
}
