// A reader that stops in the middle of long lists: it is waited for, and then has them whole. Each list is more than a
// connection's queue takes.
#include "core/rpc/protocol.h"
#include "daemon/serve_server.h"
#include "tests/serve/scene.h"

enum { RUNS = 5000, LISTS = 30 }; // several times what a connection's queue takes
enum { EPOCHS = 400, RANKS = 15000 };

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

static void wait_paused(void)
{
    for (unsigned ms = 0; !rig.server->paused;)
        rig_wait(&rig, &ms, "a list that is paused");
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
    wait_paused();
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
    assert_null(rig.server->paused);
    assert_int_equal(client_count_members(&client, group), RUNS);
}

// ---- other lists ----------------------------------------------------------------------------------------------------

static void open_slow(struct actor *slow)
{
    actor_open(slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    peer_throttle(link_peer(slow->link), 1);
}

static uint32_t make_checkpoints(struct actor *rank, uint64_t run, struct hash points[2])
{
    world_open(rank, &rig, 1, "w");
    uint32_t attempt = world_take(rank, 1, run);
    struct hash file = rank_put(rank, "file", 4);
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++)
        rank_bulky_epoch(rank, run, attempt, epoch, &file);
    for (int i = 0; i < 2; i++) {
        points[i] = rank_put(rank, i ? "second" : "first", 5 + (size_t)i);
        rank_checkpoint(rank, run, attempt, "resume", (uint64_t)i, &points[i]);
    }
    return attempt;
}

static void ask_checkpoints(struct actor *a, uint64_t run)
{
    Islr__ListCheckpoints q = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &q);
    q.has_run = 1;
    q.run = run;
    actor_ask(a, &m);
}

static int is_point(const Islr__CheckpointInfo *c, const struct hash *point)
{
    return !strcmp(c->what, "resume") && !memcmp(c->sha256.data, point->bytes, sizeof point->bytes);
}

// All epochs, and the resume points that are there now: one was removed while the list was paused, one added.
static void check_checkpoints(struct actor *slow, const struct hash *second, const struct hash *third)
{
    uint32_t seen = 0;
    for (int more = 1; more;) {
        Islr__Envelope *m = actor_next(slow, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST);
        more = m->checkpoint_list->more;
        for (size_t i = 0; i < m->checkpoint_list->n_checkpoints; i++) {
            const Islr__CheckpointInfo *c = m->checkpoint_list->checkpoints[i];
            if (seen < EPOCHS)
                assert_int_equal(c->epoch, seen + 1);
            else
                assert_true(is_point(c, seen == EPOCHS ? second : third));
            seen++;
        }
        envelope_free(m);
    }
    assert_int_equal(seen, EPOCHS + 2);
}

static void test_checkpoints(void **state)
{
    (void)state;
    struct actor rank, slow;
    struct hash points[2];
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    uint32_t attempt = make_checkpoints(&rank, run, points);
    open_slow(&slow);
    ask_checkpoints(&slow, run);
    wait_paused();
    struct hash third = rank_put(&rank, "third", 5);
    rank_checkpoint(&rank, run, attempt, "resume", 3, &third);
    rig_for(&rig, 2 * SERVER_TICK_MS);
    peer_throttle(link_peer(slow.link), 0);
    check_checkpoints(&slow, &points[1], &third);
    actor_close(&slow);
    open_slow(&slow); // and who has gone is not waited for
    ask_checkpoints(&slow, run);
    wait_paused();
    actor_close(&slow);
    for (unsigned ms = 0; rig.server->paused;)
        rig_wait(&rig, &ms, "the paused list's end");
    world_close(&rank, 1);
}

// As if they had registered, on hosts and devices with long names.
static void make_ranks(struct server *s)
{
    char name[241];
    struct error e;
    Islr__Register facts = ISLR__REGISTER__INIT;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    facts.world = (char *)"large";
    facts.device = (char *)"cpu";
    facts.host = facts.device_name = name;
    facts.has_rank = facts.has_size = 1;
    facts.size = RANKS + 1; // one is missing
    for (facts.rank = 0; facts.rank < RANKS; facts.rank++) {
        struct worker *w = worker_add(s, &facts, &e);
        assert_non_null(w);
        w->deadline = uv_now(s->loop) + UINT32_MAX; // it is away for weeks
    }
}

static void test_workers(void **state)
{
    (void)state;
    struct actor slow, rank;
    Islr__ListWorkers q = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_WORKERS, list_workers, &q);
    uint32_t seen = 0;
    make_ranks(rig.server);
    open_slow(&slow);
    actor_ask(&slow, &m);
    wait_paused();
    rank_open(&rank, &rig, "newer", 0, 1); // while it is waited for: before those that have been told of
    peer_throttle(link_peer(slow.link), 0);
    for (int more = 1; more;) {
        Islr__Envelope *piece = actor_next(&slow, ISLR__ENVELOPE__BODY_WORKER_LIST);
        more = piece->worker_list->more;
        for (size_t i = 0; i < piece->worker_list->n_workers; i++)
            assert_int_equal(piece->worker_list->workers[i]->rank, seen++);
        assert_int_equal(piece->worker_list->n_notes > 0, !more);
        envelope_free(piece);
    }
    assert_int_equal(seen, RANKS);
    actor_close(&rank);
    actor_close(&slow);
}

// Of very many users the list of limits has everyone.
static void test_users(void **state)
{
    (void)state;
    enum { USERS = 60000 };
    struct actor slow;
    char name[64];
    Islr__GetLimits q = ISLR__GET_LIMITS__INIT;
    Islr__Envelope m = ENVELOPE(GET_LIMITS, get_limits, &q);
    int seen = -1; // everybody
    for (int i = 0; i < USERS; i++) {
        snprintf(name, sizeof name, "user %05d", i);
        users_take(&rig.server->users, name);
    }
    open_slow(&slow);
    actor_ask(&slow, &m);
    wait_paused();
    users_take(&rig.server->users, "a newer one, before all of them");
    peer_throttle(link_peer(slow.link), 0);
    for (int more = 1; more;) {
        Islr__Envelope *piece = actor_next(&slow, ISLR__ENVELOPE__BODY_LIMIT_LIST);
        more = piece->limit_list->more;
        for (size_t i = 0; i < piece->limit_list->n_users; i++, seen++) {
            snprintf(name, sizeof name, "user %05d", seen);
            assert_string_equal(piece->limit_list->users[i]->user, seen < 0 ? "" : name);
        }
        envelope_free(piece);
    }
    assert_int_equal(seen, USERS);
    actor_close(&slow);
}

// ---- the server's end -----------------------------------------------------------------------------------------------

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
    while (rig.server->paused)
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
        cmocka_unit_test_setup_teardown(test_checkpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_users, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_ends_in_the_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_is_told_twice, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
