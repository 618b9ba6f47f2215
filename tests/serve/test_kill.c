// Processes that are killed: the server in the middle of submissions and records, a rank in the middle of a run.
#include "tests/serve/rig.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/spec/spec.h"
#include "core/store/fsck.h"
#include "core/store/run_read.h"

static const char *serve_main; // the program to run, from the command line

static struct rig rig; // without a server of its own
static pid_t server;

static void start_server(void)
{
    char *socket = file_join(rig.directory, "islr.sock");
    server = fork();
    if (server == 0) {
        if (!getenv("ISLR_TEST_LOG"))
            freopen("/dev/null", "w", stderr);
        execl(serve_main, serve_main, "--dir", rig.directory, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 10000 && !file_exists(socket); i++)
        clock_sleep(0.01);
    free(socket);
}

static void end_server(int signal)
{
    int status;
    kill(server, signal);
    waitpid(server, &status, 0);
    if (signal == SIGTERM)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    strcpy(rig.directory, "/tmp/islr-kill-XXXXXX");
    assert_non_null(mkdtemp(rig.directory));
    uv_loop_init(&rig.loop);
    start_server();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end_server(SIGTERM);
    rig_close(&rig);
    return 0;
}

// ---- the server -----------------------------------------------------------------------------------------------------

enum { TRIALS = 8, WINDOW = 16 };

struct submitting {
    struct actor client;
    uint64_t acknowledged; // the newest run that was
    int asked, answered, lost;
};

static void ask(struct submitting *s);

static void on_answer(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct submitting *s = context;
    (void)p;
    (void)why;
    s->answered++;
    if (!m) {
        s->lost++;
        return;
    }
    assert_int_equal(m->submitted->run, s->acknowledged + 1); // answered in order, numbers without holes
    s->acknowledged = m->submitted->run;
    ask(s);
}

static void ask(struct submitting *s)
{
    Islr__Submit submit = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &submit);
    if (!link_peer(s->client.link))
        return;
    submit.job = job_tiny(0, 1);
    s->asked += peer_request(link_peer(s->client.link), &m, 0, on_answer, s, NULL) != 0;
    spec_free(submit.job);
}

static uint64_t newest(struct actor *client)
{
    Islr__Envelope *m = client_show(client, 0);
    uint64_t run = m->run_detail->summary->run;
    envelope_free(m);
    return run;
}

// Submissions in a row, many under way: the server is killed at a random moment, and every acknowledged run is there.
static void test_server(void **state)
{
    (void)state;
    struct submitting s = {.acknowledged = 0};
    struct rng rng = rng_make((uint64_t)getpid(), RNG_BENCH, 0, 0, 0);
    actor_open(&s.client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    for (int trial = 0; trial < TRIALS; trial++) {
        uint64_t before = s.acknowledged;
        s.asked = s.answered = 0;
        for (int i = 0; i < WINDOW; i++)
            ask(&s);
        for (unsigned ms = 0; s.acknowledged == before;)
            rig_wait(&rig, &ms, "a first answer");
        rig_for(&rig, rng_below(&rng, 150));
        end_server(SIGKILL);
        while (s.answered < s.asked || s.client.up)
            rig_for(&rig, 5);
        start_server();
        actor_wait_up(&s.client);
        uint64_t now = newest(&s.client);
        assert_true(s.acknowledged > before);
        assert_in_range(now, s.acknowledged, s.acknowledged + WINDOW); // some were durable, but not told yet
        s.acknowledged = now;
    }
    actor_close(&s.client);
}

// Groups in the dead server's database that have not all their runs.
static size_t count_unmade(void)
{
    struct store_options options = {.directory = rig.directory};
    struct pool pool = {0};
    struct run_expansion *rows;
    size_t count;
    struct store *store = store_open(&options, NULL);
    struct store_reader *reader = store_reader_take(store, NULL);
    assert_int_equal(run_read_expansions(reader, &pool, &rows, &count, NULL), 0);
    store_reader_give(store, reader);
    store_close(store);
    pool_free(&pool);
    return count;
}

// The server is killed right after it has acknowledged a sweep and a little later: all runs are there, and once.
static void test_sweep(void **state)
{
    (void)state;
    enum { RUNS = 1000 };
    static const unsigned moments_ms[] = {0, 3, 10, 25, 60};
    struct actor client;
    uint64_t next = 1;
    size_t unmade = 0;
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    enum { MOMENTS = sizeof moments_ms / sizeof *moments_ms };
    for (size_t i = 0; i < MOMENTS || (!unmade && i < 10 * MOMENTS); i++) {
        unsigned moment_ms = moments_ms[i % MOMENTS];
        size_t runs = RUNS << (i < 3 * MOMENTS ? i / MOMENTS : 3); // more, where they are made faster than it is killed
        uint64_t group = client_sweep(&client, (uint32_t)runs);
        assert_int_equal(group, next);
        if (moment_ms)
            rig_for(&rig, moment_ms);
        end_server(SIGKILL);
        unmade += count_unmade();
        while (client.up)
            rig_for(&rig, 1);
        start_server();
        actor_wait_up(&client);
        assert_int_equal(client_count_members(&client, group), runs);
        next = group + runs + 1;
    }
    assert_true(unmade > 0); // it was tried
    assert_int_equal(client_submit(&client, job_tiny(0, 1)), next);
    actor_close(&client);
}

static int take_port(char *address, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    snprintf(address, size, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

// With a sweep half made, a server that cannot listen says so and ends; the one after it makes the rest.
static void test_start_that_fails(void **state)
{
    (void)state;
    enum { RUNS = 9000 };
    struct actor client;
    struct error e;
    char address[32];
    uint64_t group;
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    for (;;) {
        group = client_sweep(&client, RUNS);
        end_server(SIGKILL);
        while (client.up)
            rig_for(&rig, 1);
        if (count_unmade())
            break;
        start_server();
        actor_wait_up(&client);
    }
    int fd = take_port(address, sizeof address);
    actor_close(&client);
    struct server_options options = {.directory = rig.directory, .log = &rig.log, .listen = address};
    assert_null(server_open(&rig.loop, &options, &e));
    assert_non_null(strstr(e.text, address));
    assert_true(count_unmade() > 0);
    close(fd);
    start_server();
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    assert_int_equal(client_count_members(&client, group), RUNS);
    actor_close(&client);
}

// ---- a rank ---------------------------------------------------------------------------------------------------------

// A process that registers as the only rank of a world and takes what it is given.
static pid_t start_rank(const char *world)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    struct rig own = {0};
    struct actor rank;
    memcpy(own.directory, rig.directory, sizeof own.directory);
    uv_loop_init(&own.loop);
    rank_open(&rank, &own, world, 0, 1);
    for (;;)
        envelope_free(rank_take(&rank, 1));
}

static void test_rank(void **state)
{
    (void)state;
    struct actor client;
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    uint64_t run = client_submit(&client, job_tiny(0, 1));
    pid_t first = start_rank("w1");
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    kill(first, SIGKILL);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_QUEUED); // its lease would last longer than this waits
    waitpid(first, NULL, 0);
    pid_t second = start_rank("w2");
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(d->run_detail->n_attempts, 2);
    envelope_free(d);
    // a stopped rank is no dead one
    kill(second, SIGSTOP);
    rig_for(&rig, 300);
    client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
    kill(second, SIGKILL);
    waitpid(second, NULL, 0);
    actor_close(&client);
}

// ---- a k-fold -------------------------------------------------------------------------------------------------------

static void kill_server(struct actor *client, struct actor *rank)
{
    end_server(SIGKILL);
    while (client->up || rank->up)
        rig_for(&rig, 5);
    start_server();
    actor_wait_up(client);
    actor_wait_up(rank);
}

// The server is killed while every fold is under way and again right after its end was acknowledged.
static void test_folds(void **state)
{
    (void)state;
    enum { K = 3 };
    struct actor client, rank;
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    rank_open(&rank, &rig, "w", 0, 1);
    Islr__JobSpec *job = job_tiny(1, 1);
    free(job->data->fold);
    job->data->fold = xstrdup("all");
    job->data->k = K;
    uint64_t group = client_submit(&client, job);
    for (uint32_t i = 0; i <= K; i++) { // the last one is the join
        Islr__Envelope *m = rank_take(&rank, 1);
        uint64_t run = m->assign->run;
        uint32_t attempt = m->assign->attempt;
        assert_int_equal(run, i < K ? group + 1 + i : group);
        assert_int_equal(m->assign->n_folds, i < K ? 0 : K);
        envelope_free(m);
        client_wait_state(&client, run, ISLR__RUN_STATE__RUN_RUNNING);
        kill_server(&client, &rank);
        envelope_free(rank_register(&rank, run, attempt));
        client_wait_state(&client, group, ISLR__RUN_STATE__RUN_RUNNING);
        rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
        kill_server(&client, &rank);
        client_wait_state(&client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
        Islr__Envelope *d = client_show(&client, group);
        assert_int_equal(d->run_detail->summary->children_ended, i < K ? i + 1 : K);
        envelope_free(d);
        envelope_free(rank_register(&rank, 0, 0));
    }
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_SUCCEEDED);
    actor_close(&rank);
    actor_close(&client);
}

// ---- collection -----------------------------------------------------------------------------------------------------

static void say(void *context, enum fsck_kind kind, const char *sentence)
{
    (void)context;
    if (kind == FSCK_DAMAGE)
        print_message("%s\n", sentence);
}

static struct fsck_result look(void)
{
    struct fsck_result result;
    struct error e;
    struct fsck_options options = {.directory = rig.directory, .found = say};
    if (fsck(&options, &result, &e))
        fail_msg("%s", e.text);
    assert_int_equal(result.damaged, 0);
    return result;
}

// A run that has ended with `epochs` checkpoints, of which collection leaves the last.
static void leave_epochs(struct actor *client, struct actor *rank, uint32_t epochs)
{
    char content[64];
    uint64_t run = client_submit(client, job_tiny(1, 1));
    Islr__Envelope *m = rank_take(rank, 1);
    uint32_t attempt = m->assign->attempt;
    envelope_free(m);
    client_wait_state(client, run, ISLR__RUN_STATE__RUN_RUNNING);
    for (uint32_t i = 1; i <= epochs; i++) {
        snprintf(content, sizeof content, "epoch %u of run %d", i, (int)run);
        rank_epoch(rank, run, attempt, i, content, strlen(content));
    }
    rank_finish(rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    client_wait_state(client, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
}

// The server is killed while it removes what nobody needs: nothing is missing afterwards that is needed, and in the end
// the disk holds that and nothing else.
static void test_collection(void **state)
{
    (void)state;
    enum { ROUNDS = 5, EPOCHS = 30 };
    struct actor client, rank;
    char world[8];
    struct rng rng = rng_make((uint64_t)getpid(), RNG_BENCH, 1, 0, 0);
    Islr__Collect c = ISLR__COLLECT__INIT;
    Islr__Envelope q = ENVELOPE(COLLECT, collect, &c);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        snprintf(world, sizeof world, "w%u", round);
        actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
        rank_open(&rank, &rig, world, 0, 1);
        leave_epochs(&client, &rank, EPOCHS);
        actor_ask(&client, &q);
        rig_for(&rig, rng_below(&rng, 12));
        end_server(SIGKILL);
        actor_close(&rank);
        actor_close(&client);
        look();
        start_server();
    }
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    envelope_free(actor_call(&client, &q, ISLR__ENVELOPE__BODY_COLLECTED));
    actor_close(&client);
    end_server(SIGTERM);
    start_server(); // clears away what it did not get to
    end_server(SIGTERM);
    struct fsck_result result = look();
    assert_int_equal(result.checkpoints, ROUNDS);
    assert_int_equal(result.artifacts, ROUNDS);
    assert_int_equal(result.notes, 0); // no file is left over
    start_server();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_server, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_start_that_fails, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_rank, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_folds, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_collection, setup, teardown)};
    if (argc != 2)
        return 2;
    serve_main = argv[1];
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
