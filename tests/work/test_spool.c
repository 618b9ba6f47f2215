// The spool: what goes in comes out, in order, while more goes in; damage and full disks are said.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "daemon/work_spool.h"

enum { COUNT = 20000 };

static char path[64];

static int setup(void **state)
{
    (void)state;
    strcpy(path, "/tmp/islr-spool-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return fd < 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static int add(struct spool *s, uint64_t i, struct error *e)
{
    Islr__Record r = ISLR__RECORD__INIT;
    char text[600];
    snprintf(text, sizeof text, "%llu %*s", (unsigned long long)i, (int)(i * 7919 % 500), "");
    r.what_case = ISLR__RECORD__WHAT_LOG;
    r.log = text;
    return spool_add(s, &r, e);
}

static void check(const Islr__Record *r, uint64_t seq)
{
    assert_int_equal(r->seq, seq);
    assert_int_equal(strtoull(r->log, NULL, 10), seq);
}

static void *fill(void *context)
{
    for (uint64_t i = 1; i <= COUNT; i++)
        if (add(context, i, NULL))
            return context;
    return NULL;
}

static void two_threads(void **state)
{
    struct error e = {0};
    struct spool *s = spool_create(path, &e);
    struct spool_cursor at = {1, 0}, from = at;
    Islr__Record *list[100];
    pthread_t thread;
    (void)state;
    assert_non_null(s);
    pthread_create(&thread, NULL, fill, s);
    uint64_t seen = 0;
    while (seen < COUNT) {
        int n = spool_read(s, &at, list, 1 + seen % 100, 1000 + seen % 20000, &e);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++) {
            check(list[i], ++seen);
            islr__record__free_unpacked(list[i], NULL);
        }
    }
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(spool_count(s), COUNT);
    assert_int_equal(spool_read(s, &at, list, 100, 1000, &e), 0);
    assert_int_equal(spool_skip(s, &from, 777, &e), 0);
    assert_int_equal(spool_read(s, &from, list, 1, 1, &e), 1); // however small the bytes are
    check(list[0], 777);
    islr__record__free_unpacked(list[0], NULL);
    assert_int_equal(spool_skip(s, &from, COUNT + 1, &e), 0);
    assert_int_equal(from.seq, at.seq);
    assert_int_equal(from.offset, at.offset);
    assert_int_equal(spool_skip(s, &from, COUNT + 2, &e), -1);
    spool_destroy(s);
}

// What the server has needs no room on the disk, and what comes behind it is still there.
static void room_is_given_back(void **state)
{
    struct error e;
    (void)state;
    struct spool *s = spool_create(path, &e);
    struct spool_cursor at = {1, 0}, last;
    struct stat before, after;
    assert_null(fill(s));
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(spool_waiting(s), before.st_size);
    assert_int_equal(spool_skip(s, &at, COUNT, &e), 0);
    last = at;
    spool_forget(s, &at);
    assert_int_equal(spool_waiting(s), before.st_size - (off_t)at.offset);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_blocks <= before.st_blocks);
    assert_int_equal(add(s, COUNT + 1, &e), 0);
    Islr__Record *list[2];
    assert_int_equal(spool_read(s, &last, list, 2, 1 << 20, &e), 2);
    for (int i = 0; i < 2; i++) {
        check(list[i], COUNT + (uint64_t)i);
        islr__record__free_unpacked(list[i], NULL);
    }
    spool_destroy(s);
}

static void damage_is_said(void **state)
{
    struct error e = {0};
    Islr__Record *list[10];
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct spool *s = spool_create(path, &e);
        struct spool_cursor at = {1, 0};
        for (uint64_t i = 1; i <= 5; i++)
            assert_int_equal(add(s, i, &e), 0);
        int fd = open(path, O_RDWR);
        if (kind == 0)
            assert_int_equal(ftruncate(fd, 30), 0);
        else
            assert_int_equal(pwrite(fd, kind == 1 ? "\xff\xff\xff\xff" : "\0\0\0\0", 4, 0), 4);
        close(fd);
        assert_int_equal(spool_read(s, &at, list, 10, 1 << 20, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
        spool_destroy(s);
    }
}

static void full_disk_loses_nothing(void **state)
{
    struct error e = {0};
    struct spool *s = spool_create(path, &e);
    struct spool_cursor at = {1, 0};
    struct rlimit old, limit;
    Islr__Record *list[2000];
    uint64_t kept = 0;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 100001;
    setrlimit(RLIMIT_FSIZE, &limit);
    while (!add(s, kept + 1, &e))
        kept++;
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(e.code, ERR_FAILED);
    assert_true(kept > 100);
    assert_int_equal(spool_count(s), kept);
    assert_int_equal(add(s, kept + 1, &e), 0); // the same one again, when there is room
    int n = spool_read(s, &at, list, 2000, 1 << 20, &e);
    assert_int_equal(n, kept + 1);
    for (int i = 0; i < n; i++) {
        check(list[i], (uint64_t)i + 1);
        islr__record__free_unpacked(list[i], NULL);
    }
    spool_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads),
        cmocka_unit_test(room_is_given_back),
        cmocka_unit_test(damage_is_said),
        cmocka_unit_test(full_disk_loses_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
