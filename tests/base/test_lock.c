// Locks between processes: one has it at a time, though its file comes and goes, and it goes with its holder.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/lock.h"

enum { PROCESSES = 4 };

static char dir[] = "/tmp/islr-test-lock-XXXXXX";

static void one_has_it(void **state)
{
    (void)state;
    struct error e;
    struct file_lock lock, second;
    char *path = file_join(dir, "one");
    assert_int_equal(file_lock_try(&lock, path, &e), 0);
    assert_int_equal(file_lock_try(&second, path, &e), 1);
    file_lock_release(&second); // not held
    assert_true(file_exists(path));
    file_lock_release(&lock);
    assert_false(file_exists(path));
    assert_int_equal(file_lock_try(&second, path, &e), 0);
    file_lock_release(&second);
    assert_int_equal(file_lock_try(&lock, "/nonexistent/lock", &e), -1);
    free(path);
}

static void it_goes_with_its_holder(void **state)
{
    (void)state;
    struct error e;
    struct file_lock lock;
    char *path = file_join(dir, "holder");
    int taken[2];
    char byte;
    assert_int_equal(pipe2(taken, O_CLOEXEC), 0);
    pid_t child = fork();
    if (!child) {
        byte = file_lock_try(&lock, path, &e) == 0;
        if (write(taken[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(taken[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(file_lock_try(&lock, path, &e), 1);
    close(taken[0]);
    close(taken[1]);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(file_lock_try(&lock, path, &e), 0);
    file_lock_release(&lock);
    free(path);
}

// Takes it again and again, and looks that nobody else is in there. The exit status: whether that was so.
static int work(const char *path, const char *inside, double until)
{
    struct error e;
    struct file_lock lock;
    while (clock_seconds() < until) {
        int rc = file_lock_try(&lock, path, &e);
        if (rc < 0)
            return 1;
        if (rc)
            continue;
        int fd = open(inside, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return 2;
        close(fd);
        unlink(inside);
        file_lock_release(&lock);
    }
    return 0;
}

// Who opened the file before its holder removed it must not think that it has what the next one makes under that name.
static void many_take_turns(void **state)
{
    (void)state;
    char *path = file_join(dir, "turns"), *inside = file_join(dir, "inside");
    double until = clock_seconds() + 0.5;
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (!children[i])
            _exit(work(path, inside, until));
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    free(path);
    free(inside);
}

int main(void)
{
    struct error e;
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_has_it), cmocka_unit_test(it_goes_with_its_holder),
                                       cmocka_unit_test(many_take_turns)};
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return file_remove_tree(dir, &e) || failed;
}
