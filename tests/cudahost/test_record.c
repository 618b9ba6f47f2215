// Recordings of the CUDA backend (kernels/cuda/record.c) over the host model's captures: what is recorded is carried out by
// replays alone, with what memory holds then; what cannot be recorded is said, and does no harm.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "tests/cudahost/cudahost.h"

enum { COUNT = 4 };

struct rig {
    struct backend *backend;
    const struct backend_ops *op;
    struct stream *a, *b;
    float *x, *y;
    float *sum; // [2]
};

static void synchronize(struct stream *s)
{
    struct error e = {0};
    if (s->op->synchronize(s, &e))
        fail_msg("%s", e.text);
}

static void put(struct rig *r, float *device, float value)
{
    float values[COUNT] = {value, value, value, value};
    r->op->upload(r->a, device, values, sizeof values);
    synchronize(r->a);
}

static float get(struct rig *r, const float *device)
{
    float value;
    r->op->download(r->a, &value, device, sizeof value);
    synchronize(r->a);
    return value;
}

static void make(struct rig *r)
{
    struct error e = {0};
    r->backend = backend_cudahost_open(1, &e);
    assert_non_null(r->backend);
    r->op = r->backend->op;
    assert_true((r->a = r->op->stream_create(r->backend, &e)) && (r->b = r->op->stream_create(r->backend, &e)));
    assert_true((r->x = r->op->allocate(r->backend, COUNT * sizeof *r->x, &e)) &&
                (r->y = r->op->allocate(r->backend, COUNT * sizeof *r->y, &e)) &&
                (r->sum = r->op->allocate(r->backend, 2 * sizeof *r->sum, &e)));
    put(r, r->x, 1);
}

static void unmake(struct rig *r)
{
    r->op->release(r->backend, r->x);
    r->op->release(r->backend, r->y);
    r->op->release(r->backend, r->sum);
    r->op->stream_destroy(r->a);
    r->op->stream_destroy(r->b);
    r->op->close(r->backend);
    assert_int_equal(cudahost_allocations(), 0);
}

static void begin(struct rig *r)
{
    struct error e = {0};
    if (r->op->record_begin(r->a, &e))
        fail_msg("%s", e.text);
}

static struct recording *end(struct rig *r)
{
    struct error e = {0};
    struct recording *recording = r->op->record_end(r->a, &e);
    if (!recording)
        fail_msg("%s", e.text);
    return recording;
}

static void copy_to_y(struct rig *r, struct stream *s)
{
    r->op->copy(s, r->y, r->x, COUNT * sizeof *r->x);
}

static void replays_read_what_is_there(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    size_t replays = cudahost_replays();
    begin(&r);
    struct mat x = {r.x, DTYPE_F32, 1, COUNT, COUNT}, y = {r.y, DTYPE_F32, 1, COUNT, COUNT};
    queue(r.a, maximum_forward, .a = x, .b = x, .y = y);
    x.data = NULL; // arguments are kept
    struct recording *recording = end(&r);
    assert_true(get(&r, r.y) == 0); // not carried out
    for (int i = 2; i < 5; i++) {
        put(&r, r.x, (float)i);
        r.op->replay(r.a, recording);
        assert_true(get(&r, r.y) == (float)i);
    }
    assert_int_equal(cudahost_replays() - replays, 3);
    r.op->recording_destroy(recording);
    r.op->recording_destroy(NULL);
    unmake(&r);
}

// x goes to y on the other stream, between two operations of the first; a replay runs what is not ordered in another order.
static void other_streams_come_in(void **state)
{
    (void)state;
    struct rig r;
    make(&r);
    begin(&r);
    r.op->zero(r.a, r.y, COUNT * sizeof *r.y);
    r.op->order(r.a, r.b);
    copy_to_y(&r, r.b);
    r.op->order(r.b, r.a);
    r.op->zero(r.a, r.x, sizeof *r.x);
    struct recording *recording = end(&r);
    for (int i = 5; i < 7; i++) {
        put(&r, r.x, (float)i);
        r.op->replay(r.a, recording);
        assert_true(get(&r, r.y) == (float)i && get(&r, r.x) == 0);
    }
    // The streams are themselves again.
    put(&r, r.x, 9);
    copy_to_y(&r, r.b);
    synchronize(r.b);
    assert_true(get(&r, r.y) == 9);
    r.op->recording_destroy(recording);
    unmake(&r);
}

static void upload(struct rig *r)
{
    float value = 3;
    r->op->upload(r->a, r->x, &value, sizeof value);
}

static void download(struct rig *r)
{
    static float value;
    r->op->download(r->a, &value, r->x, sizeof value);
}

static void wait(struct rig *r)
{
    r->op->synchronize(r->a, NULL);
}

static void ask(struct rig *r)
{
    struct error ignored;
    r->op->poll(r->a, &ignored);
}

static void allocate_memory(struct rig *r)
{
    struct error ignored;
    assert_null(r->op->allocate(r->backend, 64, &ignored));
}

static void allocate_scratch(struct rig *r)
{
    struct mat column = {r->x, DTYPE_F32, COUNT, 1, 1};
    queue(r->a, layernorm_backward, .dy = column, .sum = column, .weight = r->x, .mean = r->x, .rstd = r->x,
          .dweight = r->sum, .dbias = r->sum + 1);
}

static void leave_stream_behind(struct rig *r)
{
    r->op->order(r->a, r->b);
    copy_to_y(r, r->b);
}

static void wait_for_stream_outside(struct rig *r)
{
    r->op->order(r->b, r->a);
}

static void what_cannot_be_recorded_is_said(void **state)
{
    (void)state;
    static const struct {
        void (*fault)(struct rig *r);
        const char *text;
    } cases[] = {
        {upload, "an upload cannot be recorded"},
        {download, "a download cannot be recorded"},
        {wait, "operation not permitted when stream is capturing"},
        {ask, "operation not permitted when stream is capturing"},
        {allocate_memory, "operation failed due to a previous error during capture"},
        {allocate_scratch, "scratch memory of an operation: "},
        {leave_stream_behind, "end a recording: capturing stream has unjoined work"},
        {wait_for_stream_outside, "let a stream wait: dependency created on uncaptured work"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        struct error e = {0};
        make(&r);
        begin(&r);
        copy_to_y(&r, r.a);
        cases[i].fault(&r);
        assert_null(r.op->record_end(r.a, &e));
        if (!strstr(e.text, cases[i].text))
            fail_msg("case %zu: %s", i, e.text);
        assert_true(get(&r, r.y) == 0 && get(&r, r.x) == 1); // nothing was carried out
        copy_to_y(&r, r.a);                                  // and all goes on
        copy_to_y(&r, r.b);
        synchronize(r.b);
        assert_true(get(&r, r.y) == 1);
        begin(&r);
        struct recording *recording = end(&r);
        r.op->replay(r.a, recording);
        synchronize(r.a);
        r.op->recording_destroy(recording);
        unmake(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_read_what_is_there),
        cmocka_unit_test(other_streams_come_in),
        cmocka_unit_test(what_cannot_be_recorded_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
