// Frames from bytes in every partition, lengths that are refused, buffers that do not run ahead of the bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/base/random.h"
#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"

// Frames of the given lengths, byte i of frame f being f * 31 + i.
static uint8_t *stream_of(const uint32_t *lengths, size_t count, size_t *size)
{
    *size = 0;
    for (size_t f = 0; f < count; f++)
        *size += FRAME_HEADER_SIZE + lengths[f];
    uint8_t *bytes = xmalloc(*size), *at = bytes;
    for (size_t f = 0; f < count; f++) {
        frame_put_header(at, lengths[f]);
        at += FRAME_HEADER_SIZE;
        for (uint32_t i = 0; i < lengths[f]; i++)
            *at++ = (uint8_t)(f * 31 + i);
    }
    return bytes;
}

struct expectation {
    const uint32_t *lengths;
    size_t count, seen;
};

static void feed(struct frame_reader *r, const uint8_t *data, size_t size, struct expectation *x)
{
    struct error e = {0};
    uint8_t *copy = xmalloc(size ? size : 1); // of exactly this size: a sanitizer sees a read beyond it
    memcpy(copy, data, size);
    const uint8_t *at = copy;
    int rc;
    while ((rc = frame_reader_take(r, &at, &size, &e)) > 0) {
        assert_true(x->seen < x->count);
        assert_int_equal(r->length, x->lengths[x->seen]);
        for (uint32_t i = 0; i < r->length; i++)
            assert_int_equal(r->body[i], (uint8_t)(x->seen * 31 + i));
        assert_false(frame_reader_partial(r));
        x->seen++;
    }
    if (rc < 0)
        fail_msg("%s", e.text);
    assert_int_equal(size, 0);
    free(copy);
}

static void every_split_in_three(void **state)
{
    static const uint32_t lengths[] = {1, 5, 2, 17};
    size_t size;
    uint8_t *bytes = stream_of(lengths, 4, &size);
    (void)state;
    for (size_t i = 0; i <= size; i++)
        for (size_t j = i; j <= size; j++) {
            struct frame_reader r = {.limit = 17};
            struct expectation x = {lengths, 4, 0};
            feed(&r, bytes, i, &x);
            feed(&r, bytes + i, j - i, &x);
            feed(&r, bytes + j, size - j, &x);
            assert_int_equal(x.seen, 4);
            assert_false(frame_reader_partial(&r));
            frame_reader_free(&r);
        }
    free(bytes);
}

static void random_splits_of_large_frames(void **state)
{
    static const uint32_t lengths[] = {RPC_FRAME_MAX, 3, 100000, 65536, 65537, 1, RPC_FRAME_MAX - 1};
    size_t size;
    uint8_t *bytes = stream_of(lengths, 7, &size);
    struct rng rng = rng_make(1, RNG_BENCH, 0, 0, 0);
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct frame_reader r = {.limit = RPC_FRAME_MAX};
        struct expectation x = {lengths, 7, 0};
        for (size_t at = 0; at < size;) {
            size_t n = 1 + rng_below(&rng, round % 2 ? 70000 : 3000);
            n = n < size - at ? n : size - at;
            feed(&r, bytes + at, n, &x);
            at += n;
            assert_true(r.capacity <= RPC_FRAME_MAX);
        }
        assert_int_equal(x.seen, 7);
        frame_reader_free(&r);
    }
    free(bytes);
}

static void refuses_lengths(void **state)
{
    static const uint32_t lengths[] = {0, 1001, 0x7fffffff, 0xffffffff, 0x47455420 /* "GET " */};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct frame_reader r = {.limit = 1000};
        uint8_t header[FRAME_HEADER_SIZE];
        struct error e = {0};
        frame_put_header(header, lengths[i]);
        const uint8_t *at = header;
        size_t size = sizeof header;
        assert_int_equal(frame_reader_take(&r, &at, &size, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
        assert_null(r.body); // nothing was allocated for it
        frame_reader_free(&r);
    }
}

static void buffer_stays_near_what_has_come(void **state)
{
    struct frame_reader r = {.limit = RPC_FRAME_MAX};
    uint8_t header[FRAME_HEADER_SIZE], byte = 7;
    (void)state;
    frame_put_header(header, RPC_FRAME_MAX);
    const uint8_t *at = header;
    size_t size = sizeof header;
    assert_int_equal(frame_reader_take(&r, &at, &size, NULL), 0);
    assert_true(frame_reader_partial(&r));
    assert_int_equal(r.capacity, 0);
    for (uint32_t i = 1; i < 100000; i++) {
        at = &byte;
        size = 1;
        assert_int_equal(frame_reader_take(&r, &at, &size, NULL), 0);
        assert_true(r.capacity <= (i < 2048 ? 4096 : 2 * i));
    }
    frame_reader_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_in_three),
        cmocka_unit_test(random_splits_of_large_frames),
        cmocka_unit_test(refuses_lengths),
        cmocka_unit_test(buffer_stays_near_what_has_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
