// One connection that asks for more than its share: it is not read from for a while, others are answered meanwhile, and
// in the end it has all its answers.
#include <semaphore.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "daemon/serve_server.h"
#include "tests/serve/scene.h"

enum { MANY = 300 };

// ---- libuv's pool, held up ------------------------------------------------------------------------------------------

enum { THREADS = 64 }; // as many as it has, or more

static sem_t gate;
static uv_work_t held[THREADS];
static int is_held;

static void hold(uv_work_t *w)
{
    (void)w;
    while (sem_wait(&gate))
        ;
}

static void hold_pool(void)
{
    sem_init(&gate, 0, 0);
    is_held = 1;
    for (int i = 0; i < THREADS; i++)
        uv_queue_work(&rig.loop, &held[i], hold, NULL);
}

static void release_pool(void)
{
    for (int i = 0; i < THREADS; i++)
        sem_post(&gate);
    is_held = 0;
}

static int teardown_flood(void **state)
{
    if (is_held) // by a test that has failed
        release_pool();
    return teardown(state);
}

// ---- floods ---------------------------------------------------------------------------------------------------------

static void ask_status(struct actor *a, int times)
{
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    for (int i = 0; i < times; i++)
        actor_ask(a, &m);
}

static int take_all(struct actor *a, Islr__Envelope__BodyCase kind)
{
    int count = 0;
    while (actor_has(a, kind)) {
        envelope_free(actor_next(a, kind));
        count++;
    }
    return count;
}

static void take(struct actor *a, Islr__Envelope__BodyCase kind, int count)
{
    while (count--)
        envelope_free(actor_next(a, kind));
}

// The busiest one.
static const struct session *busiest(void)
{
    const struct session *most = rig.server->sessions.first;
    for (const struct session *i = most; i; i = i->next)
        if (i->refs > most->refs)
            most = i;
    return most;
}

// Requests that the server has read and not answered.
static unsigned under_way(void)
{
    unsigned count = 0;
    for (const struct session *i = rig.server->sessions.first; i; i = i->next)
        count += i->refs - 1;
    return count;
}

static void wait_under_way(unsigned count)
{
    while (under_way() < count)
        uv_run(&rig.loop, UV_RUN_ONCE);
}

static void test_others_are_answered(void **state)
{
    (void)state;
    struct actor greedy;
    actor_open(&greedy, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    hold_pool();
    ask_status(&greedy, MANY);
    wait_under_way(RPC_UNDER_WAY_MAX);
    ask_status(&client, 1);
    wait_under_way(RPC_UNDER_WAY_MAX + 1);
    release_pool();
    take(&client, ISLR__ENVELOPE__BODY_STATUS, 1);
    int before = take_all(&greedy, ISLR__ENVELOPE__BODY_STATUS);
    assert_true(before < MANY / 2);
    take(&greedy, ISLR__ENVELOPE__BODY_STATUS, MANY - before);
    actor_close(&greedy);
}

static void test_requests_under_way(void **state)
{
    (void)state;
    hold_pool();
    ask_status(&client, MANY);
    wait_under_way(RPC_UNDER_WAY_MAX);
    rig_for(&rig, 50); // for more, if it were read
    unsigned most = under_way();
    release_pool();
    assert_int_equal(most, RPC_UNDER_WAY_MAX);
    take(&client, ISLR__ENVELOPE__BODY_STATUS, MANY);
    assert_int_equal(busiest()->refs, 1);
}

// Few requests, but large ones.
static void test_memory_under_way(void **state)
{
    (void)state;
    enum { LARGE = 20, BYTES = 1000000 };
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    q.where = xmalloc(BYTES + 1);
    memset(q.where, '(', BYTES);
    q.where[BYTES] = 0;
    hold_pool();
    for (int asked = 0; busiest()->kept < RPC_KEPT_MAX;) { // each when the one before is out
        assert_true(asked++ < LARGE);
        actor_ask(&client, &m);
        for (unsigned ms = 0; peer_queued(link_peer(client.link)) && busiest()->kept < RPC_KEPT_MAX;)
            rig_wait(&rig, &ms, "a request to be read");
    }
    for (int i = 0; i < 3; i++)
        actor_ask(&client, &m);
    rig_for(&rig, 50); // for more, if it were read
    const struct session *session = busiest();
    size_t kept = session->kept;
    release_pool();
    assert_true(kept <= RPC_KEPT_MAX + BYTES + 1000);
    while (session->kept)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_true(take_all(&client, ISLR__ENVELOPE__BODY_FAULT) > 0);
    free(q.where);
}

// What it has asked for is left, and nothing of it stays.
static void test_gone_meanwhile(void **state)
{
    (void)state;
    struct actor greedy;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    actor_open(&greedy, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    hold_pool();
    ask_status(&greedy, 20);
    client_follow(&greedy, run, 0);
    rig_for(&rig, 50);
    actor_close(&greedy);
    rig_for(&rig, 50);
    release_pool();
    while (rig.server->sessions.first->next)
        uv_run(&rig.loop, UV_RUN_ONCE);
    ask_status(&client, 1);
    take(&client, ISLR__ENVELOPE__BODY_STATUS, 1);
}

// ---- waits ----------------------------------------------------------------------------------------------------------

static void wait_for(struct actor *a, uint64_t *runs, size_t count)
{
    Islr__Wait wait = ISLR__WAIT__INIT;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    wait.runs = runs;
    wait.n_runs = count;
    actor_ask(a, &m);
}

static void test_waits(void **state)
{
    (void)state;
    struct actor greedy;
    uint64_t run = client_submit(&client, job_tiny(1, 1)), other = client_submit(&client, job_tiny(1, 1));
    actor_open(&greedy, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    for (int i = 0; i < RPC_WAITS_MAX + 10; i++)
        wait_for(&greedy, &run, 1);
    for (int i = 0; i < 10; i++) {
        Islr__Envelope *m = actor_next(&greedy, ISLR__ENVELOPE__BODY_FAULT);
        assert_int_equal(m->fault->code, ERR_INVALID);
        envelope_free(m);
    }
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, other);
    wait_for(&client, (uint64_t[]){other, run, run, other}, 4);
    Islr__Envelope *ended = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED);
    assert_int_equal(ended->run_ended->run, other);
    envelope_free(ended);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    ended = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED);
    assert_int_equal(ended->run_ended->run, run);
    envelope_free(ended);
    take(&client, ISLR__ENVELOPE__BODY_OK, 1);
    assert_false(actor_has(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
    take(&greedy, ISLR__ENVELOPE__BODY_OK, RPC_WAITS_MAX);
    wait_for(&greedy, &run, 1); // there is room again
    take(&greedy, ISLR__ENVELOPE__BODY_OK, 1);
    assert_false(actor_has(&greedy, ISLR__ENVELOPE__BODY_FAULT));
    actor_close(&greedy);
}

// A run that ends while the database is asked which have ended is told of once, and the others are waited for.
static void test_ended_while_looked_for(void **state)
{
    (void)state;
    uint64_t first = client_submit(&client, job_tiny(1, 1)), second = client_submit(&client, job_tiny(1, 1));
    hold_pool();
    wait_for(&client, (uint64_t[]){first, second}, 2);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, first);
    Islr__Envelope *ended = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED);
    assert_int_equal(ended->run_ended->run, first);
    envelope_free(ended);
    release_pool();
    ask_status(&client, 1); // behind that in the pool
    take(&client, ISLR__ENVELOPE__BODY_STATUS, 1);
    assert_false(actor_has(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
    assert_false(actor_has(&client, ISLR__ENVELOPE__BODY_OK));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, second);
    ended = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED);
    assert_int_equal(ended->run_ended->run, second);
    envelope_free(ended);
    take(&client, ISLR__ENVELOPE__BODY_OK, 1);
}

// ---- connections ----------------------------------------------------------------------------------------------------

static int connect_raw(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/islr.sock", rig.directory);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

// A server that may have few files open: connections leave it some, and those that are there go on.
static void test_few_files(void **state)
{
    (void)state;
    enum { FILES = 150, STRANGERS = 120 };
    int fds[STRANGERS];
    struct rlimit before, few;
    struct actor late;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){FILES, before.rlim_max};
    rig_stop_server(&rig);
    client.up = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    rig_start_server(&rig);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0); // for this end of the connections
    actor_wait_up(&client);
    unsigned most = rig.server->sessions.most;
    assert_in_range(most, 1, FILES - 64);
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = connect_raw();
        rig_for(&rig, 1);
    }
    assert_in_range(rig.server->sessions.connected, 2, most);
    envelope_free(client_show(&client, client_submit(&client, job_tiny(1, 1))));
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    actor_open(&late, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT); // there is room again
    actor_close(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_others_are_answered, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_requests_under_way, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_memory_under_way, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_gone_meanwhile, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_ended_while_looked_for, setup, teardown_flood),
        cmocka_unit_test_setup_teardown(test_few_files, setup, teardown_flood),
    };
    // One thread answers in order. With more, the one that has a request may stand still while the others go on.
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
