// When a step is queued, recorded, replayed (core/train/recorder.h), over a device that only counts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/train/recorder.h"

// A device that has recordings of nothing, and a step that is nothing.
struct device {
    struct backend_ops ops;
    struct backend backend;
    struct stream stream;
    int recording, recordings; // under way; not destroyed
    int queued, kept, replayed;
    int begin_fails, end_fails, step_fails;
};

struct recording {
    struct device *device;
    int kept; // steps in it
};

static struct device *device_of(struct stream *s)
{
    return (struct device *)((char *)s - offsetof(struct device, stream));
}

static int begin(struct stream *s, struct error *e)
{
    struct device *d = device_of(s);
    if (d->begin_fails)
        return error_set(e, ERR_FAILED, "no recordings today");
    assert_false(d->recording);
    d->recording = 1;
    d->kept = 0;
    return 0;
}

static struct recording *end(struct stream *s, struct error *e)
{
    struct device *d = device_of(s);
    assert_true(d->recording);
    d->recording = 0;
    if (d->end_fails) {
        error_set(e, ERR_FAILED, "memory was allocated");
        return NULL;
    }
    struct recording *r = xmalloc(sizeof *r);
    *r = (struct recording){d, d->kept};
    d->recordings++;
    return r;
}

static void replay(struct stream *s, struct recording *r)
{
    assert_false(device_of(s)->recording);
    device_of(s)->replayed += r->kept;
}

static void destroy(struct recording *r)
{
    r->device->recordings--;
    free(r);
}

static int queue_step(void *context, struct error *e)
{
    struct device *d = context;
    if (d->step_fails)
        return error_set(e, ERR_FAILED, "NCCL failed");
    *(d->recording ? &d->kept : &d->queued) += 1;
    return 0;
}

struct rig {
    struct device device;
    struct reducer reducer;
    struct recorder recorder;
};

static void make(struct rig *r)
{
    struct error e = {0};
    *r = (struct rig){
        .device.ops = {.record_begin = begin, .record_end = end, .replay = replay, .recording_destroy = destroy}};
    r->device.backend.op = r->device.stream.op = &r->device.ops;
    r->device.stream.backend = &r->device.backend;
    r->reducer =
        (struct reducer){.comm = comm_open_single(), .backend = &r->device.backend, .stream = &r->device.stream};
    unsetenv("ISLR_RECORD");
    assert_int_equal(recorder_create(&r->recorder, &r->reducer, &e), 0);
    assert_true(r->recorder.on && r->recorder.uniform);
}

static void unmake(struct rig *r)
{
    recorder_destroy(&r->recorder);
    comm_close(r->reducer.comm);
    assert_int_equal(r->device.recordings, 0);
}

static void run(struct rig *r, int rows)
{
    struct error e = {0};
    if (recorder_run(&r->recorder, (struct step_shape){.rows = rows}, queue_step, &r->device, &e))
        fail_msg("%s", e.text);
}

static void check_counts(const struct rig *r, int queued, int recorded, int replayed)
{
    assert_int_equal(r->device.queued, queued);
    assert_int_equal(r->recorder.recorded, recorded);
    assert_int_equal(r->recorder.replayed, replayed);
    assert_int_equal(r->device.replayed, replayed);
}

static void second_is_recorded_and_third_replayed(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    run(&r, 128);
    check_counts(&r, 1, 0, 0);
    run(&r, 128);
    check_counts(&r, 1, 1, 1);
    run(&r, 128);
    check_counts(&r, 1, 1, 2);
    run(&r, 256);
    check_counts(&r, 2, 1, 2);
    run(&r, 128);
    check_counts(&r, 2, 1, 3);
    unmake(&r);
}

static void every_part_of_a_shape_counts(void **state)
{
    (void)state;
    static const struct step_shape shapes[] = {{128, 0, 0}, {128, 1, 0}, {128, 0, 1}, {128, 1, 1}, {256, 0, 0}};
    struct rig r;
    struct error e = {0};
    make(&r);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5; i++)
            assert_int_equal(recorder_run(&r.recorder, shapes[i], queue_step, &r.device, &e), 0);
    check_counts(&r, 5, 5, 10);
    unmake(&r);
}

static void oldest_makes_room(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    for (int i = 0; i < 2 * (RECORDER_ROOM + 1); i++)
        run(&r, 32 * (1 + i / 2)); // each once queued, once recorded
    assert_int_equal(r.device.recordings, RECORDER_ROOM);
    check_counts(&r, RECORDER_ROOM + 1, RECORDER_ROOM + 1, RECORDER_ROOM + 1);
    run(&r, 64); // still there
    check_counts(&r, RECORDER_ROOM + 1, RECORDER_ROOM + 1, RECORDER_ROOM + 2);
    run(&r, 32); // gone: it takes the place of 96
    check_counts(&r, RECORDER_ROOM + 2, RECORDER_ROOM + 1, RECORDER_ROOM + 2);
    run(&r, 96);
    check_counts(&r, RECORDER_ROOM + 3, RECORDER_ROOM + 1, RECORDER_ROOM + 2);
    unmake(&r);
}

static void what_cannot_be_recorded_is_queued(void **state)
{
    (void)state;
    for (int at_end = 0; at_end < 2; at_end++) {
        struct rig r;
        make(&r);
        run(&r, 32);
        run(&r, 32);
        r.device.begin_fails = !at_end;
        r.device.end_fails = at_end;
        run(&r, 64);
        run(&r, 64);
        assert_non_null(strstr(r.recorder.trouble.text, at_end ? "memory was allocated" : "no recordings today"));
        check_counts(&r, 3, 1, 1);
        assert_int_equal(r.device.recordings, 0);
        r.device.begin_fails = r.device.end_fails = 0;
        for (int i = 0; i < 3; i++)
            run(&r, 32); // no more of it
        check_counts(&r, 6, 1, 1);
        unmake(&r);
    }
}

static void step_that_fails_ends_the_run(void **state)
{
    (void)state;
    struct rig r;
    struct error e = {0};
    make(&r);
    run(&r, 32);
    r.device.step_fails = 1;
    assert_int_equal(recorder_run(&r.recorder, (struct step_shape){.rows = 32}, queue_step, &r.device, &e), -1);
    assert_string_equal(e.text, "NCCL failed");
    assert_false(r.device.recording);
    unmake(&r);
}

// Where the stream's operations are watched (core/nn/profile.h), they must be called.
static void watched_steps_are_queued(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    for (int i = 0; i < 3; i++)
        run(&r, 32);
    struct backend_ops watched = r.device.ops;
    watched.record_begin = NULL;
    r.device.stream.op = &watched;
    run(&r, 32);
    check_counts(&r, 2, 1, 2);
    r.device.stream.op = &r.device.ops;
    run(&r, 32);
    check_counts(&r, 2, 1, 3);
    unmake(&r);
}

static void shapes_are_few(void **state)
{
    (void)state;
    struct rig r;
    struct error e = {0};
    make(&r);
    static const int rows[][3] = {{32, 6400, 128}, {128, 6400, 128}, {160, 6400, 256}, {32, 96, 96}, {160, 224, 224}};
    for (int i = 0; i < 5; i++) {
        struct step_shape shape = {.rows = rows[i][0], .mixed = 1};
        assert_int_equal(recorder_agree(&r.recorder, &shape, rows[i][1], &e), 0);
        assert_true(shape.rows == rows[i][2] && shape.mixed && !shape.frozen);
    }
    unmake(&r);
}

static void environment_decides(void **state)
{
    (void)state;
    struct rig r;
    struct error e = {0};
    make(&r);
    setenv("ISLR_RECORD", "off", 1);
    assert_int_equal(recorder_create(&r.recorder, &r.reducer, &e), 0);
    assert_true(!r.recorder.on && r.recorder.uniform);
    for (int i = 0; i < 3; i++)
        run(&r, 32);
    check_counts(&r, 3, 0, 0);
    setenv("ISLR_RECORD", "sometimes", 1);
    assert_int_equal(recorder_create(&r.recorder, &r.reducer, &e), -1);
    assert_string_equal(e.text, "ISLR_RECORD is 'sometimes': it must be on or off");
    unsetenv("ISLR_RECORD");
    r.device.ops.record_begin = NULL; // a device without
    assert_int_equal(recorder_create(&r.recorder, &r.reducer, &e), 0);
    assert_true(!r.recorder.on && !r.recorder.uniform);
    struct step_shape shape = {.rows = 33};
    assert_int_equal(recorder_agree(&r.recorder, &shape, 640, &e), 0);
    assert_int_equal(shape.rows, 33);
    unmake(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_is_recorded_and_third_replayed),
        cmocka_unit_test(every_part_of_a_shape_counts),
        cmocka_unit_test(oldest_makes_room),
        cmocka_unit_test(what_cannot_be_recorded_is_queued),
        cmocka_unit_test(step_that_fails_ends_the_run),
        cmocka_unit_test(watched_steps_are_queued),
        cmocka_unit_test(shapes_are_few),
        cmocka_unit_test(environment_decides),
    };
    return cmocka_run_group_tests_name("recorder", tests, NULL, NULL);
}
