// A reader that stops in the middle of long lists: it is waited for, and then has them whole.
#include "core/rpc/protocol.h"
#include "daemon/serve_server.h"
#include "tests/serve/scene.h"

enum { RUNS = 5000, LISTS = 30 }; // several times what a connection's queue takes

static void ask_lists(struct actor *a, uint64_t group, uint64_t ids[LISTS])
{
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    q.has_parent = q.has_limit = 1;
    q.parent = group;
    q.limit = 100000;
    for (int i = 0; i < LISTS; i++)
        ids[i] = actor_ask(a, &m);
}

// Reads the beginning of one list; `seen` is how many runs of it that is.
static void stop_reading(struct actor *slow, uint64_t group, uint64_t ids[LISTS], size_t seen[LISTS])
{
    ask_lists(slow, group, ids);
    Islr__Envelope *first = actor_next(slow, ISLR__ENVELOPE__BODY_RUN_LIST);
    for (int i = 0; i < LISTS; i++)
        seen[i] = ids[i] == first->id ? first->run_list->n_runs : 0;
    assert_int_equal(first->run_list->runs[0]->run, group + 1);
    assert_true(first->run_list->more);
    envelope_free(first);
    peer_throttle(link_peer(slow->link), 1);
    for (int ms = 0; !rig.server->listings.paused; ms++) {
        assert_true(ms < 60000);
        rig_for(&rig, 1);
    }
}

// The lists are mixed; each is in order, and without holes.
static void check_lists(struct actor *slow, uint64_t group, const uint64_t ids[LISTS], size_t seen[LISTS])
{
    for (int left = LISTS; left;) {
        int i = 0;
        Islr__Envelope *m = actor_next(slow, ISLR__ENVELOPE__BODY_RUN_LIST);
        while (ids[i] != m->id)
            assert_true(++i < LISTS);
        for (size_t k = 0; k < m->run_list->n_runs; k++)
            assert_int_equal(m->run_list->runs[k]->run, group + ++seen[i]);
        if (!m->run_list->more) {
            assert_int_equal(seen[i], RUNS);
            left--;
        }
        envelope_free(m);
    }
}

static void stop_and_go_on(unsigned ms)
{
    struct actor slow;
    size_t seen[LISTS];
    uint64_t ids[LISTS], group = client_sweep(&client, RUNS);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    stop_reading(&slow, group, ids, seen);
    client_submit(&client, job_tiny(1, 1));
    rig_for(&rig, ms);
    peer_throttle(link_peer(slow.link), 0);
    check_lists(&slow, group, ids, seen);
    actor_close(&slow);
}

static void test_short_break(void **state)
{
    (void)state;
    stop_and_go_on(0);
}

// Longer than the state of the database is held on to.
static void test_long_break(void **state)
{
    (void)state;
    stop_and_go_on(3 * SERVER_TICK_MS);
}

static void test_gone_in_the_break(void **state)
{
    (void)state;
    struct actor slow;
    size_t seen[LISTS];
    uint64_t ids[LISTS], group = client_sweep(&client, RUNS);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    stop_reading(&slow, group, ids, seen);
    actor_close(&slow);
    while (rig.server->sessions.first->next)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_null(rig.server->listings.paused);
    assert_int_equal(client_count_members(&client, group), RUNS);
}

static void note_stopped(void *context)
{
    *(int *)context = 1;
}

static void test_server_ends_in_the_break(void **state)
{
    (void)state;
    struct actor slow;
    size_t seen[LISTS];
    int stopped = 0;
    uint64_t ids[LISTS], group = client_sweep(&client, RUNS);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    stop_reading(&slow, group, ids, seen);
    server_stop(rig.server, note_stopped, &stopped);
    while (rig.server->listings.paused)
        uv_run(&rig.loop, UV_RUN_ONCE);
    peer_throttle(link_peer(slow.link), 0);
    rig_until(&rig, &stopped, "the server's end");
    rig.server = NULL;
    Islr__Envelope *m = actor_next(&slow, ISLR__ENVELOPE__BODY_FAULT);
    assert_int_equal(m->fault->code, ERR_UNREACHABLE);
    envelope_free(m);
    actor_close(&slow);
}

// Told once more, the server does not wait until the reader is given up.
static void test_server_is_told_twice(void **state)
{
    (void)state;
    struct actor slow;
    size_t seen[LISTS];
    int stopped = 0;
    uint64_t ids[LISTS], group = client_sweep(&client, RUNS);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    stop_reading(&slow, group, ids, seen);
    server_stop(rig.server, note_stopped, &stopped);
    while (!rig.server->hung_up)
        uv_run(&rig.loop, UV_RUN_ONCE);
    uint64_t before = uv_now(&rig.loop);
    server_stop(rig.server, note_stopped, &stopped);
    rig_until(&rig, &stopped, "the server's end");
    assert_true(uv_now(&rig.loop) - before < RPC_STALL_MS / 2); // or it was the reader's end that made it go on
    rig.server = NULL;
    actor_close(&slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_short_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone_in_the_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_ends_in_the_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_is_told_twice, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
