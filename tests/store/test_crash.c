// kill -9 while requests are being committed: whatever was acknowledged is there afterwards, once, and the numbers go
// on.
//
// A child process opens the store, makes runs and records, and writes down on a pipe what was acknowledged; the parent
// kills it at a random moment, opens the store and compares. The pipe keeps what was written to it before the kill.
#include "tests/store/rig.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/philox.h"

enum { TRIALS = 25, BATCH = 7 };

// What the child says: a run exists, or records of run 1 up to `seq` are taken.
struct word {
    uint64_t run, seq;
};

static void say(int fd, uint64_t run, uint64_t seq)
{
    struct word w = {run, seq};
    if (write(fd, &w, sizeof w) != sizeof w)
        _exit(1);
}

static void child(const char *directory, int fd, uint64_t next_seq, uint32_t attempt)
{
    struct store_options options = {.directory = directory};
    struct store *store = store_open(&options, NULL);
    if (!store)
        _exit(2);
    for (;;) {
        struct run_submit s = {.user = "ann", .name = "n", .kind = "train", .spec = "", .max_attempts = 1};
        run_submit_prepare(&s);
        if (store_call(store, &s.op))
            _exit(3);
        say(fd, s.now.run, 0);
        Islr__Records *records = rig_records(1, attempt, next_seq, BATCH);
        struct record_add r = {.records = records};
        record_add_prepare(&r);
        if (store_call(store, &r.op))
            _exit(4);
        next_seq += BATCH;
        say(fd, 1, next_seq - 1);
        rig_records_free(records);
    }
}

static void hear(struct word *last, const struct word *w)
{
    if (w->seq)
        last->seq = w->seq;
    else
        last->run = w->run;
}

// Lets a child work, for so long behind its first run and records, until it is killed; what it had acknowledged.
static struct word work_and_kill(const char *directory, uint64_t next_seq, double seconds)
{
    struct word last = {0, next_seq - 1}, w;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(directory, pipe_fds[1], next_seq, 1);
    close(pipe_fds[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read(pipe_fds[0], &w, sizeof w), sizeof w);
        hear(&last, &w);
    }
    clock_sleep(seconds);
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(pipe_fds[0], &w, sizeof w) == sizeof w)
        hear(&last, &w);
    close(pipe_fds[0]);
    return last;
}

static uint64_t newest_run(struct rig *rig)
{
    uint64_t run;
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    assert_int_equal(run_read_newest(reader, "ann", &run, NULL), 0);
    store_reader_give(rig->store, reader);
    return run;
}

static void test_kill(void **state)
{
    (void)state;
    struct rig rig;
    struct rng rng = rng_make((uint64_t)time(NULL), RNG_BENCH, 0, 0, 0);
    uint64_t next_seq = 1, runs = 1;
    rig_open(&rig);
    assert_int_equal(rig_start(&rig, rig_submit(&rig, "records"), 1), 1);
    for (int trial = 0; trial < TRIALS; trial++) {
        struct pool pool = {0};
        store_close(rig.store);
        rig.store = NULL;
        struct word last = work_and_kill(rig.directory, next_seq, 0.06 * rng_uniform_double(&rng));
        rig_reopen(&rig);
        // all acknowledged runs, and at most the one that was about to be
        uint64_t newest = newest_run(&rig);
        assert_in_range(newest, last.run > runs ? last.run : runs, (last.run > runs ? last.run : runs) + 1);
        runs = newest;
        struct record_acked acked = {.run = 1, .attempt = 1};
        record_acked_prepare(&acked);
        rig_call(&rig, &acked.op, STORE_DONE);
        assert_in_range(acked.acked, last.seq, last.seq + BATCH);
        struct record_page page = rig_read(&rig, 1, 0, 1 << 20, &pool); // checks that the sequence has no holes
        assert_int_equal(page.count, acked.acked + 3);
        next_seq = acked.acked + 1;
        pool_free(&pool);
    }
    assert_true(runs > TRIALS && next_seq > BATCH * TRIALS);
    char command[200];
    snprintf(command, sizeof command,
             "sqlite3 %s/islr.db 'pragma integrity_check; pragma foreign_key_check' | grep -qx ok", rig.directory);
    if (!system("sqlite3 --version >/dev/null 2>&1"))
        assert_int_equal(system(command), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
