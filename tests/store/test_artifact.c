// Artifact files: uploads in any pieces, broken off and taken up again, wrong content, reading, sweeping.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/store/artifact.h"

enum { SIZE = 3000000 };

static char directory[64];
static struct artifact_store store;
static uint8_t *content;
static struct hash hash;

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/islr-artifact-XXXXXX");
    content = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 11);
    hash = hash_memory(content, SIZE);
    return !mkdtemp(directory) || artifact_store_open(&store, directory, NULL);
}

static int teardown(void **state)
{
    (void)state;
    artifact_store_close(&store);
    free(content);
    return file_remove_tree(directory, NULL);
}

static void test_upload_in_pieces(void **state)
{
    (void)state;
    struct error e;
    struct artifact_upload *u = artifact_upload_open(&store, &hash, 7, SIZE, &e);
    size_t at = 0;
    while (at < SIZE) {
        size_t size = 1 + at * 7919 % 300000;
        size = size < SIZE - at ? size : SIZE - at;
        size_t from = at < 1000 ? 0 : at - 1000; // overlaps what is there
        assert_int_equal(artifact_upload_write(u, from, content + from, at - from + size, &e), 0);
        at += size;
        assert_int_equal(artifact_upload_have(u), at);
        if (at % 3 == 0) { // broken off here
            artifact_upload_suspend(u);
            u = artifact_upload_open(&store, &hash, 7, SIZE, &e);
            assert_int_equal(artifact_upload_have(u), at);
        }
    }
    // beyond a gap: not taken; beyond the end: an error
    assert_int_equal(artifact_upload_write(u, SIZE, content, 1, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(artifact_upload_commit(u, &e), 0);
    char *path = artifact_path(&store, &hash);
    struct hash on_disk;
    assert_int_equal(hash_file(path, &on_disk, &e), 0);
    assert_true(hash_equal(&on_disk, &hash));
    free(path);
}

static void test_gap_and_short(void **state)
{
    (void)state;
    struct error e;
    struct artifact_upload *u = artifact_upload_open(&store, &hash, 7, SIZE, &e);
    assert_int_equal(artifact_upload_write(u, 100, content + 100, 50, &e), 0);
    assert_int_equal(artifact_upload_have(u), 0);
    assert_int_equal(artifact_upload_write(u, 0, content, 100, &e), 0);
    assert_int_equal(artifact_upload_commit(u, &e), -1); // not all there
    assert_int_equal(e.code, ERR_INVALID);
}

static void test_wrong_content(void **state)
{
    (void)state;
    struct error e;
    char part[200], hex[65];
    hash_to_hex(&hash, hex);
    snprintf(part, sizeof part, "%s/incoming/%s-7.part", directory, hex);
    // what a crash has left is damaged: found out at the end, and begun anew
    assert_int_equal(file_write_atomic(part, "not the beginning", 17, NULL), 0);
    struct artifact_upload *u = artifact_upload_open(&store, &hash, 7, SIZE, &e);
    assert_int_equal(artifact_upload_have(u), 17);
    assert_int_equal(artifact_upload_write(u, 17, content + 17, SIZE - 17, &e), 0);
    assert_int_equal(artifact_upload_commit(u, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_false(file_exists(part));
    u = artifact_upload_open(&store, &hash, 7, SIZE, &e);
    assert_int_equal(artifact_upload_have(u), 0);
    artifact_upload_suspend(u);
    // longer than the whole: no part of it
    assert_int_equal(file_write_atomic(part, content, SIZE, NULL), 0);
    u = artifact_upload_open(&store, &hash, 7, 100, &e);
    assert_int_equal(artifact_upload_have(u), 0);
    artifact_upload_suspend(u);
}

static void put(const void *data, size_t size, struct hash *h)
{
    *h = hash_memory(data, size);
    struct artifact_upload *u = artifact_upload_open(&store, h, 7, size, NULL);
    assert_int_equal(artifact_upload_write(u, 0, data, size, NULL), 0);
    assert_int_equal(artifact_upload_commit(u, NULL), 0);
}

static void test_read(void **state)
{
    (void)state;
    struct error e;
    struct hash h;
    uint8_t out[1000];
    size_t got;
    put(content, 1500, &h);
    assert_int_equal(artifact_read(&store, &h, 1500, 0, out, sizeof out, &got, &e), 0);
    assert_int_equal(got, 1000);
    assert_memory_equal(out, content, 1000);
    assert_int_equal(artifact_read(&store, &h, 1500, 1000, out, sizeof out, &got, &e), 0);
    assert_int_equal(got, 500);
    assert_memory_equal(out, content + 1000, 500);
    char *path = artifact_path(&store, &h);
    assert_int_equal(chmod(path, 0600) || truncate(path, 1400), 0); // behind its back
    assert_int_equal(artifact_read(&store, &h, 1500, 0, out, sizeof out, &got, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    unlink(path);
    assert_int_equal(artifact_read(&store, &h, 1500, 0, out, sizeof out, &got, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_non_null(strstr(e.text, "missing"));
    free(path);
    put("", 0, &h); // an empty one
    assert_int_equal(artifact_read(&store, &h, 0, 0, out, sizeof out, &got, &e), 0);
    assert_int_equal(got, 0);
}

static int only_known(void *context, const struct hash *h)
{
    return hash_equal(context, h);
}

static void test_sweep_and_discard(void **state)
{
    (void)state;
    struct hash keep, orphan;
    put("keep", 4, &keep);
    put("orphan", 6, &orphan);
    char *stranger = file_join(store.artifacts, "notes.txt");
    assert_int_equal(file_write_atomic(stranger, "hello", 5, NULL), 0);
    assert_int_equal(artifact_sweep(&store, only_known, &keep, NULL), 1);
    char *kept = artifact_path(&store, &keep), *gone = artifact_path(&store, &orphan);
    assert_true(file_exists(kept));
    assert_false(file_exists(gone));
    assert_true(file_exists(stranger)); // not ours
    assert_int_equal(artifact_discard(&store, &keep, NULL), 0);
    assert_int_equal(artifact_discard(&store, &keep, NULL), 0);
    assert_false(file_exists(kept));
    artifact_empty_trash(&store);
    free(stranger);
    free(kept);
    free(gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_upload_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap_and_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_content, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep_and_discard, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
