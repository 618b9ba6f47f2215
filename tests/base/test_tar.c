// Archives: what we write tar(1) reads, what tar(1) writes we read, and sizes beyond 8 GiB keep their header.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/tar.h"

static char directory[] = "/tmp/islr-tar-XXXXXX";

static void run(const char *command)
{
    char text[300];
    snprintf(text, sizeof text, "cd %s && %s", directory, command);
    assert_int_equal(system(text), 0);
}

static void add(FILE *f, const char *name, const char *content)
{
    struct error e;
    size_t n = strlen(content);
    if (tar_begin_entry(f, name, n, 1700000000, &e) || fwrite(content, 1, n, f) != n || tar_end_entry(f, n, &e))
        fail_msg("%s", e.text);
}

static void test_read_by_tar(void **state)
{
    (void)state;
    char *path = file_join(directory, "a.tar"), block[513];
    memset(block, 'x', 512);
    block[512] = 0;
    FILE *f = fopen(path, "wb");
    add(f, "plain", "some text\n");
    add(f, "artifacts/ab/empty", "");
    add(f, "artifacts/ab/block", block);
    assert_int_equal(tar_end(f, NULL), 0);
    fclose(f);
    run("mkdir out && tar -xf a.tar -C out");
    run("test \"$(cat out/plain)\" = 'some text'");
    run("test -f out/artifacts/ab/empty && test ! -s out/artifacts/ab/empty");
    run("test $(wc -c <out/artifacts/ab/block) = 512");
    run("test \"$(tar -tvf a.tar | wc -l)\" = 3");
    free(path);
}

static void test_reads_tar(void **state)
{
    (void)state;
    struct tar_entry entry;
    struct error e;
    char content[700], *path = file_join(directory, "b.tar");
    run("mkdir in && seq 200 >in/numbers && : >in/nothing && tar -cf b.tar --format=ustar -C in numbers nothing");
    FILE *f = fopen(path, "rb");
    assert_int_equal(tar_next(f, &entry, &e), 1);
    assert_string_equal(entry.name, "numbers");
    assert_int_equal(entry.size, 692);
    assert_int_equal(fread(content, 1, 692, f), 692);
    assert_int_equal(tar_skip_padding(f, entry.size, &e), 0);
    assert_int_equal(tar_next(f, &entry, &e), 1);
    assert_string_equal(entry.name, "nothing");
    assert_int_equal(tar_skip_padding(f, entry.size, &e), 0);
    assert_int_equal(tar_next(f, &entry, &e), 0);
    fclose(f);
    run("ln -s numbers in/link && tar -cf b.tar --format=ustar -C in link");
    f = fopen(path, "rb");
    assert_int_equal(tar_next(f, &entry, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    fclose(f);
    free(path);
}

static void test_large(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {(1ull << 33) - 1, 1ull << 33, 123456789012345ull};
    for (size_t i = 0; i < 3; i++) {
        struct tar_entry entry;
        char *path = file_join(directory, "c.tar");
        FILE *f = fopen(path, "w+b");
        assert_int_equal(tar_begin_entry(f, "large", sizes[i], 0, NULL), 0);
        rewind(f);
        assert_int_equal(tar_next(f, &entry, NULL), 1);
        assert_true(entry.size == sizes[i]);
        fclose(f);
        char command[100]; // tar says the size before it misses the content
        snprintf(command, sizeof command, "tar -tvf c.tar 2>/dev/null | grep -q ' %llu '",
                 (unsigned long long)sizes[i]);
        run(command);
        free(path);
    }
}

static void test_name(void **state)
{
    (void)state;
    char name[TAR_NAME_MAX + 2];
    struct error e;
    FILE *f = tmpfile();
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(tar_begin_entry(f, name, 0, 0, &e), -1);
    name[TAR_NAME_MAX] = 0;
    assert_int_equal(tar_begin_entry(f, name, 0, 0, &e), 0);
    fclose(f);
    // One byte more fills the field, without an end.
    struct tar_entry entry;
    char *path = file_join(directory, "d.tar");
    run("n=$(printf '%0100d' 0) && : >$n && tar -cf d.tar --format=ustar $n");
    f = fopen(path, "rb");
    assert_int_equal(tar_next(f, &entry, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    fclose(f);
    free(path);
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_tree(directory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_by_tar), cmocka_unit_test(test_reads_tar),
                                       cmocka_unit_test(test_large), cmocka_unit_test(test_name)};
    if (!mkdtemp(directory))
        return 1;
    return cmocka_run_group_tests(tests, NULL, teardown);
}
