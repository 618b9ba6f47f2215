// Atomic writes where the disk is full, and where the writer is killed: what was there stays whole, through a link too,
// and nothing is left beside it.
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "tests/base/small_disk.h"

enum { LARGE = 2 << 20 };

static const char before[] = "what was there before";

static void assert_holds_before(const char *path)
{
    struct error e = {0};
    char *text;
    size_t size;
    assert_int_equal(file_read(path, LARGE, &text, &size, &e), 0);
    assert_string_equal(text, before);
    free(text);
}

static int count_files(const char *directory)
{
    int count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

// ---- a full disk ----------------------------------------------------------------------------------------------------

static void assert_says_full(int rc, const struct error *e, const char *path)
{
    assert_int_equal(rc, -1);
    assert_int_equal(e->code, ERR_FAILED);
    if (!strstr(e->text, path) || !strstr(e->text, "No space left on device"))
        fail_msg("%s", e->text);
}

// The same at once, piece by piece, and in a stream whose user does not look at what fwrite() returns.
static void write_to_full_disk(const char *path, const char *target)
{
    struct error e = {0};
    char *data = xcalloc(1, LARGE);
    assert_says_full(file_write_atomic(path, data, LARGE, &e), &e, target);
    assert_says_full(file_write_secret(path, data, LARGE, &e), &e, target);
    struct file_writer *w = file_writer_open(path, &e);
    assert_non_null(w);
    for (int i = 0; i < 100; i++)
        fwrite(data, 1, LARGE / 100, file_writer_stream(w));
    assert_says_full(file_writer_commit(w, &e), &e, target);
    free(data);
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    (void)state;
    char disk[] = "/tmp/islr-test-full-XXXXXX", dir[] = "/tmp/islr-test-write-XXXXXX";
    struct error e = {0};
    if (small_disk_mount(disk, "1m"))
        skip();
    assert_non_null(mkdtemp(dir));
    char *file = file_join(disk, "file"), *fresh = file_join(disk, "fresh"), *ballast = file_join(disk, "ballast");
    char *link = file_join(dir, "link"); // on another disk, which has room
    assert_int_equal(symlink(file, link), 0);
    assert_int_equal(file_write_atomic(file, before, strlen(before), &e), 0);
    for (int full = 0; full < 2; full++) { // there is less room than is needed, or none at all
        if (full)
            small_disk_fill(ballast);
        write_to_full_disk(file, file);
        write_to_full_disk(link, file);
        write_to_full_disk(fresh, fresh);
        assert_holds_before(link);
        assert_int_equal(count_files(disk), 1 + full);
        assert_int_equal(count_files(dir), 1);
    }
    unlink(ballast);
    assert_int_equal(file_write_atomic(link, "new", 3, &e), 0);
    assert_int_equal(file_write_atomic(link, before, strlen(before), &e), 0);
    assert_holds_before(file);
    small_disk_unmount(disk);
    assert_int_equal(file_remove_tree(dir, &e), 0);
    free(file);
    free(fresh);
    free(ballast);
    free(link);
}

// ---- a writer that is killed ----------------------------------------------------------------------------------------

// Half of it is written to the disk when the writer is killed.
static void kill_writer(const char *path)
{
    int half[2];
    char byte = 0;
    assert_int_equal(pipe2(half, O_CLOEXEC), 0);
    pid_t child = fork();
    if (!child) {
        struct error e;
        char *data = xcalloc(1, LARGE / 2);
        struct file_writer *w = file_writer_open(path, &e);
        FILE *f = w ? file_writer_stream(w) : NULL;
        byte = f && fwrite(data, 1, LARGE / 2, f) == LARGE / 2 && !fflush(f) && !fsync(fileno(f));
        if (write(half[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(half[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(half[0]);
    close(half[1]);
}

static int has_nameless_files(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else
        print_message("this file system knows no files without a name: they are not tested\n");
    return fd >= 0;
}

static void a_killed_writer_leaves_what_was_there(void **state)
{
    (void)state;
    char dir[] = "/tmp/islr-test-write-XXXXXX";
    struct error e = {0};
    assert_non_null(mkdtemp(dir));
    char *real = file_join(dir, "real"), *file = file_join(real, "file"), *link = file_join(dir, "link");
    assert_int_equal(file_make_dirs(real, &e), 0);
    assert_int_equal(symlink("real/file", link), 0);
    kill_writer(link); // nothing is there yet
    assert_false(file_exists(file));
    assert_int_equal(file_write_atomic(link, before, strlen(before), &e), 0);
    for (int i = 0; i < 3; i++)
        kill_writer(i % 2 ? file : link);
    assert_holds_before(file);
    if (has_nameless_files(dir))
        assert_int_equal(count_files(real), 1);
    assert_int_equal(count_files(dir), 2);
    assert_int_equal(file_write_atomic(link, "new", 3, &e), 0); // nothing is in the way of the next one
    assert_int_equal(file_remove_tree(dir, &e), 0);
    free(real);
    free(file);
    free(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_disk_leaves_what_was_there),
                                       cmocka_unit_test(a_killed_writer_leaves_what_was_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
