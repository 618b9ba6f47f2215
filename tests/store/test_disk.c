// A full disk: requests fail with a sentence that says so, reads go on, and once there is room so do the writes. Needs
// a small file system of its own, which takes root.
#include "tests/store/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/base/small_disk.h"

static enum store_status submit(struct rig *rig, struct error *e)
{
    struct run_submit r = {.user = "ann", .name = "n", .kind = "train", .spec = "", .max_attempts = 1};
    run_submit_prepare(&r);
    store_call(rig->store, &r.op);
    *e = r.op.error;
    return r.op.status;
}

static void test_full_disk(void **state)
{
    (void)state;
    struct rig rig;
    struct error e;
    struct pool pool = {0};
    char ballast[100];
    strcpy(rig.directory, "/tmp/islr-full-XXXXXX");
    if (small_disk_mount(rig.directory, "8m"))
        skip();
    rig.store = NULL;
    rig_reopen(&rig);
    uint64_t run = rig_submit(&rig, "before");
    uint32_t attempt = rig_start(&rig, run, 1);
    rig_add_records(&rig, run, attempt, 1, 100);
    snprintf(ballast, sizeof ballast, "%s/ballast", rig.directory);
    small_disk_fill(ballast);
    enum store_status status = STORE_DONE;
    for (int i = 0; i < 100 && status == STORE_DONE; i++) // the log may have some room left
        status = submit(&rig, &e);
    assert_int_equal(status, STORE_TROUBLE);
    assert_non_null(strstr(e.text, "full"));
    assert_true(store_trouble(rig.store, &e));
    Islr__Records *records = rig_records(run, attempt, 101, 3000);
    struct record_add r = {.records = records};
    record_add_prepare(&r);
    rig_call(&rig, &r.op, STORE_TROUBLE);
    struct record_page page = rig_read(&rig, run, 0, 1 << 20, &pool); // reads go on
    assert_int_equal(page.count, 103);
    unlink(ballast);
    rig_call(&rig, &r.op, STORE_DONE); // and so do writes
    assert_int_equal(submit(&rig, &e), STORE_DONE);
    assert_false(store_trouble(rig.store, &e));
    page = rig_read(&rig, run, 0, 1 << 20, &pool);
    assert_int_equal(page.count, 3103);
    rig_records_free(records);
    pool_free(&pool);
    store_close(rig.store);
    small_disk_unmount(rig.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
