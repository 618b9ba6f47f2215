// The CUDA backend's memory, streams, copies and failures (kernels/cuda/device.c, staging.c) over the host model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "kernels/backend.h"
#include "tests/cudahost/cudahost.h"

struct rig {
    struct backend *backend;
    const struct backend_ops *op;
    struct stream *a, *b;
};

static struct rig rig_make(void)
{
    struct error e = {0};
    struct rig r = {.backend = backend_cudahost_open(1, &e)};
    assert_non_null(r.backend);
    r.op = r.backend->op;
    r.a = r.op->stream_create(r.backend, &e);
    r.b = r.op->stream_create(r.backend, &e);
    assert_true(r.a && r.b);
    return r;
}

static void rig_free(struct rig *r)
{
    r->op->stream_destroy(r->a);
    r->op->stream_destroy(r->b);
    r->op->close(r->backend);
    assert_int_equal(cudahost_allocations(), 0);
}

static void *allocate(struct rig *r, size_t size)
{
    struct error e = {0};
    void *p = r->op->allocate(r->backend, size, &e);
    if (!p)
        fail_msg("%s", e.text);
    return p;
}

static void synchronize(struct stream *s)
{
    struct error e = {0};
    if (s->op->synchronize(s, &e))
        fail_msg("%s", e.text);
}

// ---- copies -------------------------------------------------------------------------------------------------------

// Of any size: the host's memory may be reused at once, and is written when the stream was waited for.
static void test_copies(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 63, 4096, (1 << 20) - 1, (4 << 20) + 5, 17 << 20};
    struct rig r = rig_make();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        unsigned char *from = xmalloc(n), *to = xcalloc(n, 1), *device = allocate(&r, n), *copy = allocate(&r, n);
        for (size_t k = 0; k < n; k++)
            from[k] = (unsigned char)(k * 7 + k / 251 + i);
        r.op->upload(r.a, device, from, n);
        memset(from, 0, n);
        r.op->copy(r.a, copy, device, n);
        r.op->zero(r.a, device, n / 2);
        r.op->download(r.a, to, copy, n);
        synchronize(r.a);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(to[k], (unsigned char)(k * 7 + k / 251 + i));
        r.op->download(r.a, to, device, n);
        synchronize(r.a);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(to[k], k < n / 2 ? 0 : (unsigned char)(k * 7 + k / 251 + i));
        r.op->release(r.backend, device);
        r.op->release(r.backend, copy);
        free(from);
        free(to);
    }
    rig_free(&r);
}

// More small copies than are kept in flight, both ways in turns, on two streams.
static void test_many_copies(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct rig r = rig_make();
    int32_t *device = allocate(&r, COUNT * sizeof *device), *to = xcalloc(COUNT, sizeof *to);
    for (int i = 0; i < COUNT; i++) {
        struct stream *s = i % 2 ? r.a : r.b;
        r.op->upload(s, device + i, &i, sizeof i);
        r.op->download(s, to + i, device + i, sizeof *to);
    }
    synchronize(r.a);
    synchronize(r.b);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(to[i], i);
    r.op->copy(r.a, device, device, 0); // nothing
    r.op->upload(r.a, device, NULL, 0);
    r.op->download(r.a, NULL, device, 0);
    synchronize(r.a);
    r.op->release(r.backend, device);
    free(to);
    rig_free(&r);
}

// ---- streams ------------------------------------------------------------------------------------------------------

static int priority_of(struct stream *s)
{
    return cudahost_stream_priority(s->op->native_stream(s));
}

static void test_urgent_streams(void **state)
{
    (void)state;
    struct error e = {0};
    struct rig r = rig_make();
    struct stream *urgent = r.op->stream_create_urgent(r.backend, &e);
    assert_non_null(urgent);
    assert_int_equal(priority_of(r.a), 0);
    assert_int_equal(priority_of(urgent), -5); // the lower, the earlier
    r.op->stream_destroy(urgent);
    rig_free(&r);
}

// What is queued runs only when it is waited for, so a missing order() shows; with order() the other stream's work
// comes first.
static void test_order(void **state)
{
    (void)state;
    struct rig r = rig_make();
    for (int ordered = 0; ordered < 2; ordered++) {
        int32_t seven = 7, got = -1, *x = allocate(&r, sizeof *x);
        r.op->upload(r.a, x, &seven, sizeof seven);
        if (ordered)
            r.op->order(r.a, r.b);
        r.op->download(r.b, &got, x, sizeof got);
        synchronize(r.b);
        assert_int_equal(got, ordered ? 7 : 0);
        synchronize(r.a);
        r.op->release(r.backend, x);
    }
    rig_free(&r);
}

// order() speaks of what is queued so far, and may be called again and again.
static void test_order_repeated(void **state)
{
    (void)state;
    struct rig r = rig_make();
    int32_t got[20], *x = allocate(&r, sizeof *x);
    for (int32_t i = 0; i < 20; i++) {
        r.op->upload(r.a, x, &i, sizeof i);
        r.op->order(r.a, r.b);
        r.op->download(r.b, &got[i], x, sizeof *got);
        r.op->order(r.b, r.a);
    }
    synchronize(r.b);
    for (int32_t i = 0; i < 20; i++)
        assert_int_equal(got[i], i);
    r.op->release(r.backend, x);
    rig_free(&r);
}

// ---- memory -------------------------------------------------------------------------------------------------------

static void test_memory(void **state)
{
    (void)state;
    struct rig r = rig_make();
    unsigned char bytes[1000];
    void *p = allocate(&r, sizeof bytes), *nothing = allocate(&r, 0);
    assert_int_equal((uintptr_t)p % 64, 0);
    r.op->download(r.a, bytes, p, sizeof bytes);
    synchronize(r.a);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 0);
    assert_null(r.op->share(r.backend, bytes, sizeof bytes));
    assert_null(r.op->host_address(r.backend, p));
    r.op->release(r.backend, p);
    r.op->release(r.backend, nothing);
    struct device_info info;
    r.op->describe(r.backend, &info);
    assert_string_equal(info.name, "host model");
    assert_true(info.memory_total > 0 && info.memory_free <= info.memory_total && info.has_bf16);
    assert_string_equal(info.detail, "compute capability 9.0, CUDA 12.4 (driver: 12.4), plain matrix products");
    rig_free(&r);
}

// An operation that takes scratch memory: `sum` of `count` values x, and another result.
static void queue_with_scratch(struct stream *s, int count, float *x, float *other, float *sum)
{
    struct mat column = {x, DTYPE_F32, count, 1, 1};
    queue(s, layernorm_backward, .dy = column, .sum = column, .weight = x, .mean = x, .rstd = x, .dweight = other,
          .dbias = sum);
}

// Memory that runs out is told with figures, and does no harm to what there is.
static void test_out_of_memory(void **state)
{
    (void)state;
    struct rig r = rig_make();
    struct error e = {0};
    void *p = allocate(&r, 1 << 20);
    cudahost_limit_memory(8 << 20);
    assert_null(r.op->allocate(r.backend, 16 << 20, &e));
    assert_string_equal(e.text,
                        "out of memory on CUDA device 0 (host model): 17 MiB more are needed, 7 of its 8 MiB are free");
    float *q = allocate(&r, 1 << 20);
    // An operation whose scratch memory is not to be had: kept until the stream is waited for.
    struct mat m = {p, DTYPE_F32, 64, 2048, 2048};
    cudahost_limit_memory(2 << 20);
    queue_with_scratch(r.a, 16, p, q, q + 1);
    queue(r.a, mish_forward, .z = m, .y = m); // given up as well
    memset(&e, 0, sizeof e);
    assert_int_equal(r.op->synchronize(r.a, &e), -1);
    assert_non_null(strstr(e.text, "scratch memory of an operation: out of memory on CUDA device 0"));
    assert_int_equal(r.op->synchronize(r.a, &e), 0);
    cudahost_limit_memory((size_t)8 << 30);
    queue_with_scratch(r.a, 16, p, q, q + 1);
    synchronize(r.a);
    r.op->release(r.backend, p);
    r.op->release(r.backend, q);
    rig_free(&r);
}

// Scratch memory grows; what it outgrew stays until the stream ends, since queued work may use it.
static void test_scratch(void **state)
{
    (void)state;
    struct rig r = rig_make();
    float *x = allocate(&r, 64 << 20);
    float *sums = allocate(&r, 5 * sizeof *sums), got[4];
    size_t before = cudahost_allocations();
    for (int i = 0; i < 4; i++) {
        float one = 1;
        r.op->upload(r.a, x + i, &one, sizeof one);
        queue_with_scratch(r.a, 16 << i, x, sums + 4, sums + i);
    }
    struct mat z = {x, DTYPE_F32, 4096, 4096, 4096}; // partial sums of its columns: more than the least
    queue(r.a, linear_backward_weight, .dy = z, .x = {x, DTYPE_F32, 4096, 1, 1}, .dweight = x, .dbias = x);
    size_t after = cudahost_allocations();
    queue(r.a, linear_backward_weight, .dy = z, .x = {x, DTYPE_F32, 4096, 1, 1}, .dweight = x, .dbias = x);
    assert_int_equal(cudahost_allocations(), after); // not again
    assert_true(after - before >= 1);
    r.op->download(r.a, got, sums, sizeof got);
    synchronize(r.a);
    for (int i = 0; i < 4; i++)
        assert_true(got[i] == i + 1);
    r.op->release(r.backend, x);
    r.op->release(r.backend, sums);
    rig_free(&r);
}

// The model itself: memory written beyond a block stops the program when the block is freed.
static void test_guard(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rig r = rig_make();
        unsigned char *p = allocate(&r, 100);
        close(2); // it says so
        p[100] = 0;
        r.op->release(r.backend, p);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_many_copies),    cmocka_unit_test(test_order),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_order_repeated), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_scratch), cmocka_unit_test(test_guard),          cmocka_unit_test(test_urgent_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
