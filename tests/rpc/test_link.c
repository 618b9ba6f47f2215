// Links: greeting, refusal, coming back with back-off, requests over a broken connection; and the listener's socket.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/rpc/protocol.h"
#include "tests/rpc/rig.h"

struct watcher {
    int up, down, closed, replies, failures;
    int again_ms;
    struct error why;
    char user[64];
    int close_when_up, close_when_down;
};

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct watcher *w = link_context(l);
    assert_ptr_equal(link_peer(l), p);
    w->up++;
    snprintf(w->user, sizeof w->user, "%s", welcome->user);
    if (w->close_when_up)
        link_close(l);
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m;
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct watcher *w = link_context(l);
    assert_null(link_peer(l));
    w->down++;
    w->why = *why;
    w->again_ms = again_ms;
    if (w->close_when_down)
        link_close(l);
}

static void on_closed(struct link *l)
{
    struct watcher *w = link_context(l);
    w->closed++;
}

static struct link *open_link_for(struct rig *r, struct watcher *w, int reconnect, uint64_t dial_ms)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    struct link_options options = {.address = r->address, .reconnect = reconnect, .dial_ms = dial_ms};
    return link_open(&r->loop, &options, &events, w);
}

static struct link *open_link(struct rig *r, struct watcher *w, int reconnect)
{
    return open_link_for(r, w, reconnect, 100000); // however slow this machine is
}

static void end_link(struct rig *r, struct link *l, struct watcher *w)
{
    link_close(l);
    rig_run_until(r, &w->closed);
    assert_int_equal(w->closed, 1);
}

static void greets_and_comes_back(void **state)
{
    struct rig r = {0};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link(&r, &w, 1);
    rig_run_until(&r, &w.up);
    assert_true(strlen(w.user) > 0);
    rig_unlisten(&r); // the server dies
    rig_run_until(&r, &w.down);
    assert_true(w.again_ms >= RPC_BACKOFF_FIRST_MS / 2 && w.again_ms <= 2 * RPC_BACKOFF_FIRST_MS);
    while (w.down < 4)
        uv_run(&r.loop, UV_RUN_ONCE); // nobody there: it backs off
    assert_int_equal(w.why.code, ERR_UNREACHABLE);
    assert_true(w.again_ms > 2 * RPC_BACKOFF_FIRST_MS);
    w.up = 0;
    rig_listen(&r); // and is back
    rig_run_until(&r, &w.up);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void single_try_says_what_is_wrong(void **state)
{
    struct rig r = {0};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    rig_unlisten(&r);
    struct link *l = open_link(&r, &w, 0);
    rig_run_until(&r, &w.down);
    assert_int_equal(w.again_ms, -1);
    assert_int_equal(w.why.code, ERR_UNREACHABLE);
    assert_non_null(strstr(w.why.text, r.path));
    end_link(&r, l, &w);
    rig_close(&r);
}

static void refuse(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct error why;
    (void)m;
    error_set(&why, r->context ? ERR_UNREACHABLE : ERR_DENIED, "not you");
    peer_end(p, &why);
}

static void refusal_is_final(void **state)
{
    struct rig r = {.on_hello = refuse};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link(&r, &w, 1);
    rig_run_until(&r, &w.down);
    assert_int_equal(w.again_ms, -1);
    assert_int_equal(w.why.code, ERR_DENIED);
    assert_string_equal(w.why.text, "not you");
    rig_run_for(&r, 200);
    assert_int_equal(r.opened, 1);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void passing_refusal_is_tried_again(void **state)
{
    struct rig r = {.on_hello = refuse};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    r.context = &r;
    struct link *l = open_link(&r, &w, 1);
    while (r.opened < 3)
        uv_run(&r.loop, UV_RUN_ONCE);
    r.on_hello = NULL;
    rig_run_until(&r, &w.up);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void other_protocol(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    Islr__Welcome welcome = ISLR__WELCOME__INIT;
    welcome.has_protocol = 1;
    welcome.protocol = RPC_PROTOCOL + 1;
    welcome.version = "9.9";
    (void)r;
    Islr__Envelope answer = ENVELOPE(WELCOME, welcome, &welcome);
    peer_reply(p, m->id, &answer, NULL);
}

static void another_protocol_is_refused(void **state)
{
    struct rig r = {.on_hello = other_protocol};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link(&r, &w, 1);
    rig_run_until(&r, &w.down);
    assert_int_equal(w.again_ms, -1);
    assert_int_equal(w.why.code, ERR_INVALID);
    assert_non_null(strstr(w.why.text, "9.9"));
    end_link(&r, l, &w);
    rig_close(&r);
}

static void say_nothing(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    (void)r;
    (void)p;
    (void)m;
}

static void mute_server_times_out(void **state)
{
    struct rig r = {.on_hello = say_nothing};
    struct watcher w = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link_for(&r, &w, 0, 300);
    rig_run_until(&r, &w.down);
    assert_int_equal(w.why.code, ERR_TIMEOUT);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void closing_from_callbacks(void **state)
{
    struct rig r = {0};
    struct watcher up = {.close_when_up = 1}, down = {.close_when_down = 1}, at_once = {0};
    (void)state;
    rig_open(&r);
    open_link(&r, &up, 1);
    rig_run_until(&r, &up.closed);
    assert_int_equal(up.down, 0);
    struct link *l = open_link(&r, &at_once, 1);
    link_close(l); // before the first try
    rig_run_until(&r, &at_once.closed);
    rig_unlisten(&r);
    open_link(&r, &down, 1);
    rig_run_until(&r, &down.closed);
    rig_close(&r);
}

// ---- requests -------------------------------------------------------------------------------------------------------

static void note_reply(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct watcher *w = context;
    (void)p;
    if (m) {
        w->replies++;
    } else {
        w->failures++;
        w->why = *why;
    }
}

static uint64_t ask(struct link *l, struct watcher *w, uint64_t timeout_ms)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    uint64_t id = peer_request(link_peer(l), &m, timeout_ms, note_reply, w, NULL);
    assert_int_not_equal(id, 0);
    return id;
}

static void answer_in_parts(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    Islr__RunList list = ISLR__RUN_LIST__INIT;
    list.has_more = 1;
    (void)r;
    for (int i = 0; i < 3; i++) {
        list.more = i < 2;
        Islr__Envelope answer = ENVELOPE(RUN_LIST, run_list, &list);
        peer_reply(p, m->id, &answer, NULL);
    }
    peer_reply_ok(p, m->id); // one too many
    Islr__Ok ok = ISLR__OK__INIT;
    Islr__Envelope stray = ENVELOPE(OK, ok, &ok);
    peer_reply(p, 4711, &stray, NULL);
}

static void replies_find_their_request(void **state)
{
    struct rig r = {.on_message = answer_in_parts};
    struct watcher w = {0}, other = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link(&r, &w, 1);
    rig_run_until(&r, &w.up);
    ask(l, &w, 0);
    ask(l, &other, 100000);
    while (w.replies < 3 || other.replies < 3)
        uv_run(&r.loop, UV_RUN_ONCE);
    rig_run_for(&r, 50); // for one too many
    assert_int_equal(w.replies, 3);
    assert_int_equal(other.replies, 3);
    assert_int_equal(w.failures + other.failures, 0);
    peer_forget(link_peer(l), ask(l, &w, 0));
    rig_run_for(&r, 50);
    assert_int_equal(w.replies, 3);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void unanswered_requests_fail_once(void **state)
{
    struct rig r = {.on_message = say_nothing};
    struct watcher w = {0}, late = {0}, lost = {0}, forgotten = {0};
    (void)state;
    rig_open(&r);
    struct link *l = open_link(&r, &w, 1);
    rig_run_until(&r, &w.up);
    ask(l, &lost, 0);
    ask(l, &late, 50);
    peer_forget(link_peer(l), ask(l, &forgotten, 50));
    rig_run_until(&r, &late.failures);
    assert_int_equal(late.why.code, ERR_TIMEOUT);
    assert_int_equal(lost.failures, 0);
    peer_close(r.server, NULL);
    rig_run_until(&r, &lost.failures);
    assert_int_equal(lost.why.code, ERR_UNREACHABLE);
    rig_run_for(&r, 50);
    assert_int_equal(late.failures + lost.failures + forgotten.failures, 2);
    end_link(&r, l, &w);
    rig_close(&r);
}

enum { QUIET_MS = 40, IDLE_MS = 300 };

// Runs the loop for so long, and whether it turned all the time: a machine that stands still is silent, too.
static int runs_smoothly(struct rig *r, unsigned ms)
{
    uint64_t longest = 0, begun = uv_hrtime(), last = begun;
    while (last - begun < ms * UINT64_C(1000000)) {
        rig_run_for(r, 5);
        uint64_t now = uv_hrtime();
        longest = now - last > longest ? now - last : longest;
        last = now;
    }
    return longest < (IDLE_MS - 2 * QUIET_MS) * UINT64_C(1000000) / 2;
}

// A link on which nothing but pings is said stays up for longer than it may be silent. 0: there is nothing to be said of
// it, since this machine stood still.
static int stays_up(struct rig *r)
{
    struct watcher w = {0};
    struct link *l = open_link(r, &w, 0);
    rig_run_until(r, &w.up);
    peer_set_keepalive(link_peer(l), QUIET_MS, IDLE_MS);
    peer_set_keepalive(r->server, 0, IDLE_MS);
    int smooth = runs_smoothly(r, 3 * IDLE_MS);
    if (smooth)
        assert_int_equal(w.down, 0);
    if (!w.down) {
        peer_throttle(r->server, 1); // it hangs: no answers to pings
        rig_run_until(r, &w.down);
        assert_int_equal(w.why.code, ERR_TIMEOUT);
    }
    end_link(r, l, &w);
    if (r->server)
        peer_close(r->server, NULL);
    return smooth;
}

static void quiet_link_stays_up(void **state)
{
    struct rig r = {0};
    int tries = 0;
    (void)state;
    rig_open(&r);
    while (!stays_up(&r) && tries < 20)
        tries++;
    rig_close(&r);
}

// ---- the listener's socket ------------------------------------------------------------------------------------------

static void no_peer(struct listener *l, struct peer *p)
{
    (void)l;
    peer_close(p, NULL);
}

static void socket_is_private_and_single(void **state)
{
    struct rig r = {0};
    struct stat st;
    struct error e = {0};
    (void)state;
    rig_open(&r);
    assert_int_equal(stat(r.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_null(
        listener_open_unix(&r.loop, r.path, 0600, LISTENER_NO_GROUP, no_peer, NULL, &e)); // one is there already
    assert_non_null(strstr(e.text, "already"));
    rig_run_for(&r, 20);
    rig_close(&r);
}

static void stale_socket_is_replaced(void **state)
{
    struct rig r = {0};
    struct watcher w = {0};
    char kept[100];
    (void)state;
    rig_open(&r);
    // What kill -9 leaves: the file without a listener.
    snprintf(kept, sizeof kept, "%s.kept", r.path);
    assert_int_equal(link(r.path, kept), 0);
    rig_unlisten(&r);
    rig_run_for(&r, 10);
    assert_int_equal(rename(kept, r.path), 0);
    rig_listen(&r);
    struct link *l = open_link(&r, &w, 0);
    rig_run_until(&r, &w.up);
    end_link(&r, l, &w);
    rig_close(&r);
}

static void other_files_are_left_alone(void **state)
{
    struct rig r = {0};
    struct error e = {0};
    char path[200];
    (void)state;
    rig_open(&r);
    snprintf(path, sizeof path, "%s/file", r.directory);
    FILE *f = fopen(path, "w");
    fclose(f);
    assert_null(listener_open_unix(&r.loop, path, 0600, LISTENER_NO_GROUP, no_peer, NULL, &e));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = 0;
    assert_null(listener_open_unix(&r.loop, path, 0600, LISTENER_NO_GROUP, no_peer, NULL, &e));
    assert_non_null(strstr(e.text, "too long"));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greets_and_comes_back),
        cmocka_unit_test(single_try_says_what_is_wrong),
        cmocka_unit_test(refusal_is_final),
        cmocka_unit_test(passing_refusal_is_tried_again),
        cmocka_unit_test(another_protocol_is_refused),
        cmocka_unit_test(mute_server_times_out),
        cmocka_unit_test(closing_from_callbacks),
        cmocka_unit_test(replies_find_their_request),
        cmocka_unit_test(unanswered_requests_fail_once),
        cmocka_unit_test(quiet_link_stays_up),
        cmocka_unit_test(socket_is_private_and_single),
        cmocka_unit_test(stale_socket_is_replaced),
        cmocka_unit_test(other_files_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
