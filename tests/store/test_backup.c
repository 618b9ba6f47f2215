// Backups: whole, of one moment although the store is being written to, readable by tar(1), and never there under their
// name unless they are verified. What is damaged is found, wherever it is.
#include "tests/store/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/store/backup.h"
#include "core/store/fsck.h"

static void on_found(void *context, enum fsck_kind kind, const char *sentence)
{
    (void)context;
    print_message("%d: %s\n", (int)kind, sentence);
}

static void check_sound(const char *directory, uint64_t at_least_runs)
{
    struct fsck_options o = {.directory = directory, .found = on_found};
    struct fsck_result r;
    struct error e;
    if (fsck(&o, &r, &e))
        fail_msg("%s", e.text);
    assert_int_equal(r.damaged + r.notes, 0);
    assert_true(r.runs >= at_least_runs);
}

static int take(struct rig *rig, const char *out, struct backup_facts *facts, struct error *e)
{
    struct backup_options o = {.directory = rig->directory, .out = out};
    return backup_write(&o, facts, e);
}

static int files_in(const char *directory)
{
    int n = 0;
    DIR *d = opendir(directory);
    for (struct dirent *entry; (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

struct writing {
    struct rig *rig;
    uint32_t attempt;
    uint64_t run, next_seq;
    atomic_int stop;
};

// Goes on submitting and recording until it is told to stop.
static void *keep_writing(void *context)
{
    struct writing *w = context;
    while (!atomic_load(&w->stop)) {
        rig_submit(w->rig, "more");
        rig_add_records(w->rig, w->run, w->attempt, w->next_seq, 20);
        w->next_seq += 20;
    }
    return NULL;
}

static void test_beside_writes(void **state)
{
    (void)state;
    struct rig rig, restored = {0};
    struct backup_facts facts, again;
    struct error e;
    char out[100], command[300];
    pthread_t thread;
    rig_open(&rig);
    struct writing w = {.rig = &rig, .run = rig_submit(&rig, "first"), .next_seq = 1};
    w.attempt = rig_start(&rig, w.run, 2);
    struct hash point = rig_file(&rig, "a resume point"), soup = rig_file(&rig, "a soup");
    rig_checkpoint(&rig, w.run, w.attempt, "resume", 10, &point);
    rig_checkpoint(&rig, w.run, w.attempt, "soup", 10, &soup);
    pthread_create(&thread, NULL, keep_writing, &w);
    strcpy(restored.directory, "/tmp/islr-restored-XXXXXX");
    assert_non_null(mkdtemp(restored.directory));
    snprintf(out, sizeof out, "%s.tar", rig.directory);
    for (int i = 0; i < 3; i++)
        if (take(&rig, out, &facts, &e))
            fail_msg("%s", e.text);
    atomic_store(&w.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(facts.artifacts, 2);
    struct backup_options o = {.out = out};
    assert_int_equal(backup_verify(&o, &again, &e), 0);
    assert_int_equal(again.runs, facts.runs);
    snprintf(command, sizeof command, "tar -xf %s -C %s", out, restored.directory);
    assert_int_equal(system(command), 0);
    check_sound(restored.directory, facts.runs);
    rig_reopen(&restored);
    struct pool pool = {0};
    struct record_page page = rig_read(&restored, w.run, 0, 1 << 20, &pool); // sequence without holes
    assert_true(page.count >= 3 + 20);
    assert_true(rig_submit(&restored, "goes on") > facts.runs);
    pool_free(&pool);
    rig_close(&restored);
    unlink(out);
    rig_close(&rig);
}

static int stop_at(void *context, const char *doing, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return !strcmp(doing, context);
}

// Interrupted at any stage: no file of that name, nothing left beside it, and the one from before untouched.
static void test_interrupted(void **state)
{
    (void)state;
    struct rig rig;
    struct backup_facts facts;
    struct error e;
    char directory[] = "/tmp/islr-backup-XXXXXX", *out;
    assert_non_null(mkdtemp(directory));
    out = file_join(directory, "b.tar");
    rig_open(&rig);
    rig_file(&rig, "content");
    static char *const stages[] = {"copying", "verifying"};
    for (int i = 0; i < 2; i++) {
        struct backup_options o = {rig.directory, out, stop_at, stages[i]};
        assert_int_equal(backup_write(&o, &facts, &e), -1);
        assert_int_equal(e.code, ERR_INTERRUPTED);
        assert_int_equal(files_in(directory), 0);
    }
    assert_int_equal(take(&rig, out, &facts, &e), 0);
    struct backup_options o = {rig.directory, out, stop_at, stages[1]};
    assert_int_equal(backup_write(&o, &facts, &e), -1);
    assert_int_equal(files_in(directory), 1);
    assert_int_equal(backup_verify(&(struct backup_options){.out = out}, &facts, &e), 0);
    rig_close(&rig);
    free(out);
    file_remove_tree(directory, NULL);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x10, f);
    fclose(f);
}

// Every byte counts: one that is flipped is found, wherever it lies, and so is a missing end.
static void test_damaged_archive(void **state)
{
    (void)state;
    struct rig rig;
    struct backup_facts facts;
    struct error e;
    struct stat st;
    char out[100];
    struct backup_options o = {.out = out};
    struct rng rng = rng_make(7, RNG_BENCH, 0, 0, 0);
    rig_open(&rig);
    rig_submit(&rig, "first");
    rig_file(&rig, "content");
    snprintf(out, sizeof out, "%s.tar", rig.directory);
    assert_int_equal(take(&rig, out, &facts, &e), 0);
    assert_int_equal(stat(out, &st), 0);
    assert_int_equal((uint64_t)st.st_size, facts.bytes);
    for (int i = 0; i < 300; i++) {
        long at = i < 100 ? i * 5 : (long)rng_below(&rng, (uint32_t)(st.st_size - 1024));
        flip(out, at);
        if (!backup_verify(&o, &facts, &e))
            fail_msg("byte %ld is not missed", at);
        assert_int_equal(e.code, ERR_DAMAGED);
        flip(out, at);
    }
    assert_int_equal(backup_verify(&o, &facts, &e), 0);
    for (long cut = st.st_size - 1024; cut > 0; cut -= st.st_size / 20) {
        assert_int_equal(truncate(out, cut), 0);
        assert_int_equal(backup_verify(&o, &facts, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
    }
    unlink(out);
    assert_int_equal(backup_verify(&o, &facts, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    rig_close(&rig);
}

// What is damaged on the server does not get into a backup unnoticed; what is known to be lost does not prevent one.
static void test_damaged_source(void **state)
{
    (void)state;
    struct rig rig, nothing = {0};
    struct backup_facts facts;
    struct error e;
    char out[100];
    rig_open(&rig);
    snprintf(out, sizeof out, "%s.tar", rig.directory);
    struct hash hash = rig_file(&rig, "content");
    char *path = rig_file_path(&rig, &hash);
    chmod(path, 0640);
    flip(path, 2);
    assert_int_equal(take(&rig, out, &facts, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    unlink(path);
    assert_int_equal(take(&rig, out, &facts, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
    assert_false(file_exists(out));
    struct artifact_lost lost = {.hash = hash, .time_ms = 1};
    artifact_lost_prepare(&lost);
    rig_call(&rig, &lost.op, STORE_DONE);
    assert_int_equal(take(&rig, out, &facts, &e), 0);
    assert_int_equal(facts.artifacts, 0);
    unlink(out);
    strcpy(nothing.directory, "/tmp/islr-nothing");
    assert_int_equal(take(&nothing, out, &facts, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    free(path);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside_writes), cmocka_unit_test(test_interrupted),
                                       cmocka_unit_test(test_damaged_archive), cmocka_unit_test(test_damaged_source)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
