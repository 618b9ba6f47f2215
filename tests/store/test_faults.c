// A disk that fails in the middle of the work: writes that are refused (a file system that went read-only), an fsync
// that reports an error, a disk without room. Each is put between SQLite and its files by a VFS of the test's own.
// Whatever was acknowledged is there when the disk is well again, and nothing was acknowledged while it was not.
#include "tests/store/rig.h"

#include <stdio.h>

#include <sqlite3.h>

#include "core/base/memory.h"

static struct {
    sqlite3_vfs vfs, *real;
    int write_code, sync_code; // what fails, and with what; 0: nothing
} disk;

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; // right behind
};

static sqlite3_file *real(sqlite3_file *f)
{
    return ((struct faulty_file *)f)->real;
}

static int f_close(sqlite3_file *f)
{
    return real(f)->pMethods->xClose(real(f));
}
static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real(f)->pMethods->xRead(real(f), p, n, at);
}
static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    return disk.write_code ? disk.write_code : real(f)->pMethods->xWrite(real(f), p, n, at);
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return disk.write_code ? disk.write_code : real(f)->pMethods->xTruncate(real(f), size);
}
static int f_sync(sqlite3_file *f, int flags)
{
    return disk.sync_code ? disk.sync_code : real(f)->pMethods->xSync(real(f), flags);
}
static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real(f)->pMethods->xFileSize(real(f), size);
}
static int f_lock(sqlite3_file *f, int how)
{
    return real(f)->pMethods->xLock(real(f), how);
}
static int f_unlock(sqlite3_file *f, int how)
{
    return real(f)->pMethods->xUnlock(real(f), how);
}
static int f_check(sqlite3_file *f, int *out)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}
static int f_control(sqlite3_file *f, int op, void *p)
{
    return real(f)->pMethods->xFileControl(real(f), op, p);
}
static int f_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}
static int f_device(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
}
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}
static void f_shm_barrier(sqlite3_file *f)
{
    real(f)->pMethods->xShmBarrier(real(f));
}
static int f_shm_unmap(sqlite3_file *f, int delete)
{
    return real(f)->pMethods->xShmUnmap(real(f), delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_check,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct faulty_file *file = (struct faulty_file *)f;
    (void)vfs;
    file->real = (sqlite3_file *)(file + 1);
    int rc = disk.real->xOpen(disk.real, name, file->real, flags, out);
    f->pMethods = rc == SQLITE_OK ? &methods : NULL;
    return rc;
}

static int setup(void **state)
{
    static struct rig rig;
    disk.write_code = disk.sync_code = 0;
    rig_open(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    disk.write_code = disk.sync_code = 0;
    rig_close(*state);
    return 0;
}

static enum store_status submit(struct rig *rig, struct error *e)
{
    struct run_submit r = {.user = "ann", .name = "n", .kind = "train", .spec = "", .max_attempts = 1};
    run_submit_prepare(&r);
    store_call(rig->store, &r.op);
    *e = r.op.error;
    return r.op.status;
}

// With the fault in place: refused with its reason, read all the same. Then the disk is well again.
static void check_fault(struct rig *rig, int *code, int value, const char *word)
{
    struct error e;
    struct pool pool = {0};
    uint64_t run = rig_submit(rig, "before");
    uint32_t attempt = rig_start(rig, run, 1);
    rig_add_records(rig, run, attempt, 1, 40);
    *code = value;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(submit(rig, &e), STORE_TROUBLE);
        if (!strstr(e.text, word))
            fail_msg("'%s' is not in: %s", word, e.text);
        assert_true(store_trouble(rig->store, NULL));
    }
    Islr__Records *records = rig_records(run, attempt, 41, 3000);
    struct record_add r = {.records = records};
    record_add_prepare(&r);
    rig_call(rig, &r.op, STORE_TROUBLE);
    assert_int_equal(rig_read(rig, run, 0, 1 << 20, &pool).count, 43);
    *code = 0;
    rig_call(rig, &r.op, STORE_DONE);
    assert_int_equal(r.acked, 3040);
    assert_int_equal(submit(rig, &e), STORE_DONE);
    assert_false(store_trouble(rig->store, &e));
    rig_reopen(rig);
    assert_int_equal(rig_read(rig, run, 0, 1 << 20, &pool).count, 3043);
    assert_int_equal(rig_submit(rig, "after"), run + 2); // the refused ones have used no number up
    rig_records_free(records);
    pool_free(&pool);
}

static void test_read_only(void **state)
{
    check_fault(*state, &disk.write_code, SQLITE_READONLY, "read-only");
}

static void test_no_room(void **state)
{
    check_fault(*state, &disk.write_code, SQLITE_FULL, "full");
}

static void test_write_error(void **state)
{
    check_fault(*state, &disk.write_code, SQLITE_IOERR_WRITE, "cannot be used now");
}

static void test_sync_error(void **state)
{
    check_fault(*state, &disk.sync_code, SQLITE_IOERR_FSYNC, "cannot be used now");
}

int main(void)
{
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "faulty";
    disk.vfs.szOsFile = (int)sizeof(struct faulty_file) + disk.real->szOsFile;
    disk.vfs.xOpen = f_open;
    disk.vfs.pNext = NULL;
    sqlite3_vfs_register(&disk.vfs, 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_write_error, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_sync_error, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
