// Blocking calls against a server in another thread.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/clock.h"
#include "core/rpc/call.h"
#include "core/rpc/protocol.h"
#include "tests/rpc/rig.h"

struct server {
    struct rig rig;
    uv_thread_t thread;
    uv_async_t stop;
};

static void answer(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    struct error why;
    (void)r;
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_GET_STATUS: {
        Islr__Status status = ISLR__STATUS__INIT;
        status.version = "test";
        Islr__Envelope a = ENVELOPE(STATUS, status, &status);
        peer_reply(p, m->id, &a, NULL);
        break;
    }
    case ISLR__ENVELOPE__BODY_GET_RUN:
        error_set(&why, ERR_NOT_FOUND, "there is no run %d\xff", (int)m->get_run->run);
        peer_reply_fault(p, m->id, &why);
        break;
    case ISLR__ENVELOPE__BODY_LIST_RUNS:
        for (int i = 0; i < 5; i++) {
            Islr__RunList list = ISLR__RUN_LIST__INIT;
            list.has_more = 1;
            list.more = i < 4;
            Islr__Envelope a = ENVELOPE(RUN_LIST, run_list, &list);
            peer_reply(p, m->id, &a, NULL);
        }
        break;
    case ISLR__ENVELOPE__BODY_LIST_WORKERS:
        break; // never answered
    case ISLR__ENVELOPE__BODY_CONTROL:
        peer_close(p, NULL);
        break;
    default:
        peer_reply_ok(p, m->id);
    }
}

static void stop(uv_async_t *async)
{
    struct server *s = async->data;
    uv_close((uv_handle_t *)async, NULL);
    rig_unlisten(&s->rig);
}

static void serve(void *context)
{
    struct server *s = context;
    uv_run(&s->rig.loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
    static struct server s;
    memset(&s, 0, sizeof s);
    s.rig.on_message = answer;
    rig_open(&s.rig);
    uv_async_init(&s.rig.loop, &s.stop, stop);
    s.stop.data = &s;
    *state = &s;
    return uv_thread_create(&s.thread, serve, &s);
}

static int teardown(void **state)
{
    struct server *s = *state;
    uv_async_send(&s->stop);
    uv_thread_join(&s->thread);
    rig_close(&s->rig);
    return 0;
}

static struct caller *open_caller(struct server *s)
{
    struct error e = {0};
    struct caller *c = caller_open(&s->rig.address, NULL, &e);
    if (!c)
        fail_msg("%s", e.text);
    return c;
}

static void answers_faults_and_mismatches(void **state)
{
    struct caller *c = open_caller(*state);
    struct error e = {0};
    assert_string_equal(caller_welcome(c)->version, "test");
    for (int i = 0; i < 100; i++) {
        Islr__GetStatus get = ISLR__GET_STATUS__INIT;
        Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
        Islr__Envelope *a = rpc_call(c, &m, ISLR__ENVELOPE__BODY_STATUS, 0, &e);
        assert_non_null(a);
        assert_string_equal(a->status->version, "test");
        envelope_free(a);
    }
    Islr__GetRun run = ISLR__GET_RUN__INIT;
    run.has_run = 1;
    run.run = 9;
    Islr__Envelope m = ENVELOPE(GET_RUN, get_run, &run);
    assert_null(rpc_call(c, &m, ISLR__ENVELOPE__BODY_RUN_DETAIL, 0, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.text, "there is no run 9?");
    Islr__Wait wait = ISLR__WAIT__INIT;
    Islr__Envelope w = ENVELOPE(WAIT, wait, &wait);
    assert_null(rpc_call(c, &w, ISLR__ENVELOPE__BODY_STATUS, 0, &e));
    assert_int_equal(e.code, ERR_DAMAGED);
    caller_close(c);
}

static int count(void *context, const Islr__Envelope *m, struct error *e)
{
    int *left = context;
    assert_int_equal(m->body_case, ISLR__ENVELOPE__BODY_RUN_LIST);
    if (--*left == -100)
        return error_set(e, ERR_INVALID, "enough");
    return *left == 0 ? 7 : 0;
}

static void streams(void **state)
{
    struct caller *c = open_caller(*state);
    struct error e = {0};
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    int left = 100;
    assert_int_equal(rpc_stream(c, &m, 0, count, &left, &e), 0);
    assert_int_equal(left, 95);
    left = 2; // leaves early; what still comes is dropped
    assert_int_equal(rpc_stream(c, &m, 0, count, &left, &e), 7);
    left = -99;
    assert_int_equal(rpc_stream(c, &m, 0, count, &left, &e), -1);
    assert_string_equal(e.text, "enough");
    left = 100;
    assert_int_equal(rpc_stream(c, &m, 0, count, &left, &e), 0);
    assert_int_equal(left, 95);
    caller_close(c);
}

static void waits_have_an_end(void **state)
{
    struct caller *c = open_caller(*state);
    struct error e = {0};
    Islr__ListWorkers list = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_WORKERS, list_workers, &list);
    double from = clock_seconds();
    assert_null(rpc_call(c, &m, ISLR__ENVELOPE__BODY_WORKER_LIST, 100, &e));
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_true(clock_seconds() - from < 0.9 * RPC_CALL_MS / 1e3); // not as long as without an end
    Islr__Control control = ISLR__CONTROL__INIT;
    Islr__Envelope x = ENVELOPE(CONTROL, control, &control);
    assert_null(rpc_call(c, &x, ISLR__ENVELOPE__BODY_OK, 0, &e));
    assert_int_equal(e.code, ERR_UNREACHABLE);
    assert_null(rpc_call(c, &m, ISLR__ENVELOPE__BODY_WORKER_LIST, 0, &e)); // and stays lost
    assert_int_equal(e.code, ERR_UNREACHABLE);
    caller_close(c);
}

static void interrupt(uv_timer_t *timer)
{
    struct error why;
    error_set(&why, ERR_INTERRUPTED, "enough waited");
    caller_interrupt(timer->data, &why);
}

static void interrupted(void **state)
{
    struct caller *c = open_caller(*state);
    struct error e = {0};
    uv_timer_t timer;
    uv_timer_init(caller_loop(c), &timer);
    timer.data = c;
    uv_timer_start(&timer, interrupt, 20, 0);
    Islr__ListWorkers list = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_WORKERS, list_workers, &list);
    assert_null(rpc_call(c, &m, ISLR__ENVELOPE__BODY_WORKER_LIST, 0, &e));
    assert_int_equal(e.code, ERR_INTERRUPTED);
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope g = ENVELOPE(GET_STATUS, get_status, &get);
    Islr__Envelope *a = rpc_call(c, &g, ISLR__ENVELOPE__BODY_STATUS, 0, &e); // the connection is as good as before
    assert_non_null(a);
    envelope_free(a);
    caller_close(c);
}

static void nobody_there(void **state)
{
    struct address a;
    struct error e = {0};
    (void)state;
    assert_int_equal(address_parse("unix:/tmp/islr-there-is-no-such-socket", &a, &e), 0);
    assert_null(caller_open(&a, NULL, &e));
    assert_int_equal(e.code, ERR_UNREACHABLE);
    assert_int_equal(address_parse("tls:localhost:7443", &a, &e), 0);
    assert_null(caller_open(&a, NULL, &e)); // nothing proves that it would be the right one
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, "islrctl login tls:localhost:7443"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_faults_and_mismatches),
        cmocka_unit_test(streams),
        cmocka_unit_test(waits_have_an_end),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
