// Cores: who gets how many of those that several may run on, and what control groups leave.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cores.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/parallel.h"

static struct cores cores_of(size_t first, size_t count)
{
    struct cores c = {.quota = 0};
    for (size_t i = first; i < first + count; i++)
        c.mask[i / 64] |= (uint64_t)1 << i % 64;
    return c;
}

static void masks_are_shared_out(void **state)
{
    (void)state;
    struct cores whole[4], bound[2], mixed[3];
    for (size_t i = 0; i < 4; i++)
        whole[i] = cores_of(3000, 16); // a part of a machine with more than 1,024 cores, all of it for each
    assert_int_equal(cores_count(&whole[0]), 16);
    assert_int_equal(cores_share(&whole[0], whole, 4), 4);
    assert_int_equal(cores_share(&whole[0], whole, 3), 5);
    for (size_t i = 0; i < 2; i++)
        bound[i] = cores_of(8 * i, 8); // as launchers do
    assert_int_equal(cores_share(&bound[1], bound, 2), 8);
    mixed[0] = cores_of(0, 4);
    mixed[1] = cores_of(0, 2);
    mixed[2] = cores_of(4, 1);
    assert_int_equal(cores_share(&mixed[0], mixed, 3), 3);
    assert_int_equal(cores_share(&mixed[1], mixed, 3), 1);
    assert_int_equal(cores_share(&mixed[2], mixed, 3), 1);
}

static void quotas_are_shared_out(void **state)
{
    (void)state;
    struct cores c[2] = {cores_of(0, 64), cores_of(0, 64)};
    c[0].quota = c[1].quota = 6.5;
    c[0].group = 1;
    c[1].group = 2;
    assert_int_equal(cores_count(&c[0]), 6);
    assert_int_equal(cores_share(&c[0], c, 2), 6);
    c[1].group = 1;
    assert_int_equal(cores_share(&c[0], c, 2), 3);
    c[0].quota = 0.2;
    assert_int_equal(cores_count(&c[0]), 1);
}

static void put(const char *mounts, const char *directory, const char *name, const char *text)
{
    struct error e = {0};
    char *at = file_join(mounts, directory), *path = file_join(at, name);
    assert_int_equal(file_make_dirs(at, &e), 0);
    assert_int_equal(file_write_atomic(path, text, strlen(text), &e), 0);
    free(at);
    free(path);
}

static void groups_have_quotas(void **state)
{
    (void)state;
    struct error e;
    uint64_t outer, inner;
    char two[] = "/tmp/islr-test-cores-XXXXXX", one[] = "/tmp/islr-test-cores-XXXXXX";
    assert_non_null(mkdtemp(two));
    put(two, "job/task", "cpu.max", "max 100000\n");
    assert_true(cores_quota("0::/job/task\n", two, &outer) == 0);
    put(two, "job", "cpu.max", "250000 100000\n");
    assert_true(cores_quota("0::/job/task\n", two, &outer) == 2.5);
    put(two, "job/task", "cpu.max", "50000 100000\n");
    assert_true(cores_quota("0::/job/task\n", two, &inner) == 0.5);
    assert_true(inner != outer);
    put(two, ".", "cpu.max", "200000 100000\n"); // a container, which is told the host's name of its group
    assert_true(cores_quota("0::/docker/abc\n", two, &inner) == 2);
    assert_non_null(mkdtemp(one));
    put(one, "cpu,cpuacct/job", "cpu.cfs_quota_us", "-1\n");
    put(one, "cpu,cpuacct/job", "cpu.cfs_period_us", "100000\n");
    put(one, "cpuset/job", "cpu.cfs_quota_us", "100000\n"); // not of that controller
    assert_true(cores_quota("4:cpuset:/job\n2:cpu,cpuacct:/job\n0::/\n", one, &inner) == 0);
    put(one, "cpu,cpuacct/job", "cpu.cfs_quota_us", "300000\n");
    assert_true(cores_quota("4:cpuset:/job\n2:cpu,cpuacct:/job\n0::/\n", one, &inner) == 3);
    assert_int_equal(file_remove_tree(one, &e) || file_remove_tree(two, &e), 0);
}

static void this_process_has_some(void **state)
{
    (void)state;
    struct cores mine;
    cores_get(&mine);
    assert_in_range(cores_count(&mine), 1, sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(parallel_cores(), cores_count(&mine));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_are_shared_out), cmocka_unit_test(quotas_are_shared_out),
                                       cmocka_unit_test(groups_have_quotas), cmocka_unit_test(this_process_has_some)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
