// Files: what atomic writes leave in place of links, pipes and directories, and the modes of new files.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"

static char dir[] = "/tmp/islr-test-file-XXXXXX";

static char *path_of(const char *name)
{
    return file_join(dir, name);
}

static void assert_holds(const char *path, const char *want)
{
    struct error e = {0};
    char *text;
    size_t size;
    assert_int_equal(file_read(path, 100, &text, &size, &e), 0);
    assert_string_equal(text, want);
    free(text);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

static void links_stay(void **state)
{
    (void)state;
    struct error e = {0};
    char *file = path_of("file"), *link = path_of("link"), *second = path_of("second"), *nothing = path_of("nothing");
    char *dangling = path_of("dangling"), *round = path_of("round");
    assert_int_equal(file_write_atomic(file, "old", 3, &e), 0);
    assert_int_equal(symlink("file", link), 0); // relative to the link's own directory
    assert_int_equal(symlink(link, second), 0);
    assert_int_equal(symlink("nothing", dangling), 0);
    assert_int_equal(symlink("round", round), 0);
    assert_int_equal(file_write_atomic(second, "new", 3, &e), 0);
    assert_true(S_ISLNK(mode_of(second)) && S_ISLNK(mode_of(link)));
    assert_holds(file, "new");
    assert_int_equal(file_write_atomic(dangling, "made", 4, &e), 0);
    assert_true(S_ISLNK(mode_of(dangling)));
    assert_holds(nothing, "made");
    assert_int_equal(file_write_atomic(round, "x", 1, &e), -1);
    assert_true(S_ISLNK(mode_of(round)));
    free(file);
    free(link);
    free(second);
    free(nothing);
    free(dangling);
    free(round);
}

static void what_is_no_file_stays(void **state)
{
    (void)state;
    struct error e = {0};
    char *fifo = path_of("fifo"), text[8] = "";
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDWR | O_CLOEXEC);
    assert_int_equal(file_write_atomic(fifo, "through", 7, &e), 0);
    assert_int_equal(read(fd, text, 7), 7);
    assert_string_equal(text, "through");
    assert_true(S_ISFIFO(mode_of(fifo)));
    assert_null(file_writer_open(fifo, &e));
    assert_non_null(strstr(e.text, "is no regular file"));
    assert_int_equal(file_write_secret(fifo, "s", 1, &e), -1);
    assert_true(S_ISFIFO(mode_of(fifo)));
    assert_int_equal(file_make_dirs("", &e), -1);
    assert_int_equal(file_write_atomic(dir, "x", 1, &e), -1);
    assert_non_null(strstr(e.text, "is a directory"));
    close(fd);
    free(fifo);
}

// What a shell has put in place of the standard output is written to, wherever that leads.
static void descriptors_are_written_to(void **state)
{
    (void)state;
    struct error e = {0};
    char *file = path_of("behind");
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char *name = xprintf("/dev/fd/%d", fd);
    assert_int_equal(write(fd, "one ", 4), 4);
    assert_int_equal(file_write_atomic(name, "two", 3, &e), 0);
    assert_holds(file, "one two");
    close(fd);
    free(name);
    free(file);
}

static void modes_obey_the_umask(void **state)
{
    (void)state;
    struct error e = {0};
    char *file = path_of("mode"), *secret = path_of("secret");
    mode_t before = umask(027);
    assert_int_equal(file_write_atomic(file, "x", 1, &e), 0);
    assert_int_equal(mode_of(file) & 0777, 0640);
    umask(0);
    assert_int_equal(file_write_secret(secret, "x", 1, &e), 0);
    assert_int_equal(mode_of(secret) & 0777, 0600);
    umask(before);
    free(file);
    free(secret);
}

static void reads_are_bounded(void **state)
{
    (void)state;
    struct error e = {0};
    char *file = path_of("ten"), *text = NULL;
    size_t size = 0;
    assert_int_equal(file_write_atomic(file, "0123456789", 10, &e), 0);
    assert_int_equal(file_read(file, 10, &text, &size, &e), 0);
    assert_int_equal(size, 10);
    free(text);
    assert_int_equal(file_read(file, 9, &text, &size, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_true(strstr(e.text, file) && strstr(e.text, "larger than the 9 bytes"));
    free(file);
}

static void trees_are_removed_without_what_links_lead_to(void **state)
{
    (void)state;
    struct error e = {0};
    char *kept = path_of("kept"), *inside = path_of("kept/file"), *tree = path_of("tree"), *deep = path_of("tree/a/b");
    char *link = path_of("tree/a/link"), *outer = path_of("outer");
    assert_int_equal(file_make_dirs(kept, &e), 0);
    assert_int_equal(file_make_dirs(deep, &e), 0);
    assert_int_equal(file_write_atomic(inside, "x", 1, &e), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(symlink("kept", outer), 0);
    assert_int_equal(file_remove_tree(tree, &e), 0);
    assert_false(file_exists(tree));
    assert_int_equal(file_remove_tree(outer, &e), 0); // the link itself
    assert_int_equal(access(outer, F_OK), -1);
    assert_holds(inside, "x");
    assert_int_equal(file_remove_tree(tree, &e), 0); // nothing is there
    free(kept);
    free(inside);
    free(tree);
    free(deep);
    free(link);
    free(outer);
}

int main(void)
{
    struct error e;
    const struct CMUnitTest tests[] = {cmocka_unit_test(links_stay),
                                       cmocka_unit_test(what_is_no_file_stays),
                                       cmocka_unit_test(descriptors_are_written_to),
                                       cmocka_unit_test(modes_obey_the_umask),
                                       cmocka_unit_test(reads_are_bounded),
                                       cmocka_unit_test(trees_are_removed_without_what_links_lead_to)};
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return file_remove_tree(dir, &e) || failed;
}
