// Tests of operations over any device: see harness.h. Here: devices, memory with guards, the run of a test.
#include "tests/kernels/harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sanitizer/asan_interface.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "tests/kernels/device.h"

enum { BORDER = 64, GUARD = 0xFF }; // bytes before and behind a block; 0xFFFF and 0xFFFFFFFF are NaN in every type

// Device memory of a matrix and what should stand in it. Host memory of a test is a buffer without device memory.
struct harness_buffer {
    struct harness_buffer *next;
    unsigned char *device; // `size` bytes, or NULL
    unsigned char *image;  // [size] as uploaded
    size_t size;
    size_t start, row_bytes, stride_bytes; // the matrix in it
    int rows;
    int writable;
};

// ---- guards -------------------------------------------------------------------------------------------------------
// Where AddressSanitizer watches memory, the devices that there are compute in the host's: it is told of the guards, so
// that reading one shows even where nothing comes of it.

static void close_guards(const struct harness_buffer *b)
{
    ASAN_POISON_MEMORY_REGION(b->device, b->start);
    for (int r = 0; r < b->rows; r++)
        ASAN_POISON_MEMORY_REGION(b->device + b->start + (size_t)r * b->stride_bytes + b->row_bytes,
                                  b->stride_bytes - b->row_bytes);
    ASAN_POISON_MEMORY_REGION(b->device + b->size - BORDER, BORDER);
}

static void open_guards(const struct harness_buffer *b)
{
    ASAN_UNPOISON_MEMORY_REGION(b->device, b->size);
}

// ---- devices ------------------------------------------------------------------------------------------------------

static struct harness *harness_open(int threads)
{
    struct error e = {0};
    struct harness *h = xcalloc(1, sizeof *h);
    h->threads = threads;
    h->backend = test_device_open(threads, &e);
    if (!h->backend)
        fail_msg("%s", e.text);
    h->stream = h->backend->op->stream_create(h->backend, &e);
    if (!h->stream)
        fail_msg("%s", e.text);
    h->digest = 0xcbf29ce484222325u;
    return h;
}

static void harness_close(struct harness *h)
{
    while (h->buffers) {
        struct harness_buffer *b = h->buffers;
        h->buffers = b->next;
        if (b->device) {
            open_guards(b);
            h->backend->op->release(h->backend, b->device);
        }
        free(b->image);
        free(b);
    }
    h->backend->op->stream_destroy(h->stream);
    h->backend->op->close(h->backend);
    free(h);
}

int harness_types(const struct harness *h, enum dtype types[3])
{
    int n = 0;
    types[n++] = DTYPE_F32;
    types[n++] = DTYPE_BF16;
    if (strcmp(h->backend->op->kind, "cpu"))
        types[n++] = DTYPE_F16;
    return n;
}

int harness_has_type(const struct harness *h, enum dtype type)
{
    enum dtype types[3];
    for (int n = harness_types(h, types); n > 0; n--)
        if (types[n - 1] == type)
            return 1;
    return 0;
}

const char *harness_type_name(enum dtype type)
{
    return type == DTYPE_F32 ? "fp32" : type == DTYPE_BF16 ? "bf16" : "fp16";
}

// ---- memory -------------------------------------------------------------------------------------------------------

static struct harness_buffer *add_buffer(struct harness *h, size_t size)
{
    struct harness_buffer *b = xcalloc(1, sizeof *b);
    b->size = size;
    b->image = xmalloc(size ? size : 1);
    b->next = h->buffers;
    h->buffers = b;
    return b;
}

void *harness_memory(struct harness *h, size_t count, size_t size)
{
    struct harness_buffer *b = add_buffer(h, count * size);
    memset(b->image, 0, b->size);
    return b->image;
}

static void wait_for_stream(struct harness *h)
{
    struct error e = {0};
    if (h->stream->op->synchronize(h->stream, &e))
        fail_msg("%s", e.text);
}

static void upload(struct harness *h, const struct harness_buffer *b)
{
    h->stream->op->upload(h->stream, b->device, b->image, b->size);
    wait_for_stream(h);
    close_guards(b);
}

static void download(struct harness *h, const struct harness_buffer *b, void *to)
{
    wait_for_stream(h); // what was queued must not read the guards
    open_guards(b);
    h->stream->op->download(h->stream, to, b->device, b->size);
    wait_for_stream(h);
    close_guards(b);
}

// A block on the device with room for `rows` rows, all of it guards.
static struct harness_buffer *add_block(struct harness *h, int rows, size_t row_bytes, size_t stride_bytes,
                                        size_t start)
{
    struct harness_buffer *b = add_buffer(h, start + (size_t)rows * stride_bytes + BORDER);
    struct error e = {0};
    b->device = h->backend->op->allocate(h->backend, b->size, &e);
    if (!b->device)
        fail_msg("%s", e.text);
    memset(b->image, GUARD, b->size);
    b->start = start;
    b->rows = rows;
    b->row_bytes = row_bytes;
    b->stride_bytes = stride_bytes;
    return b;
}

static struct harness_buffer *block_of(struct harness *h, const void *data)
{
    for (struct harness_buffer *b = h->buffers; b; b = b->next)
        if (b->device && b->device + b->start == (const unsigned char *)data)
            return b;
    fail_msg("not a matrix of this test");
    return NULL;
}

// Everything but the values of writable matrices must be as it was uploaded.
static void check_block(struct harness *h, const struct harness_buffer *b)
{
    unsigned char *now = xmalloc(b->size);
    download(h, b, now);
    if (b->writable)
        for (int r = 0; r < b->rows; r++) {
            size_t at = b->start + (size_t)r * b->stride_bytes;
            memcpy(now + at, b->image + at, b->row_bytes);
        }
    for (size_t i = 0; i < b->size; i++)
        if (now[i] != b->image[i]) {
            long offset = (long)i - (long)b->start, row = b->stride_bytes ? offset / (long)b->stride_bytes : 0;
            fail_msg("byte %ld of row %ld of a %s matrix of %d rows of %zu bytes was overwritten",
                     offset - row * (long)b->stride_bytes, row, b->writable ? "writable" : "constant", b->rows,
                     b->row_bytes);
        }
    free(now);
}

// ---- matrices -----------------------------------------------------------------------------------------------------

static float bf16_value(uint16_t bits)
{
    uint32_t u = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint16_t bf16_bits(double x)
{
    float f = (float)x;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (isnan(f))
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void element_write(unsigned char *p, enum dtype type, double x)
{
    if (type == DTYPE_F32) {
        float f = (float)x;
        memcpy(p, &f, sizeof f);
    } else if (type == DTYPE_BF16) {
        uint16_t bits = bf16_bits(x);
        memcpy(p, &bits, sizeof bits);
    } else {
        _Float16 f = (_Float16)x;
        memcpy(p, &f, sizeof f);
    }
}

static double element_read(const unsigned char *p, enum dtype type)
{
    if (type == DTYPE_F32) {
        float f;
        memcpy(&f, p, sizeof f);
        return f;
    }
    if (type == DTYPE_BF16) {
        uint16_t bits;
        memcpy(&bits, p, sizeof bits);
        return bf16_value(bits);
    }
    _Float16 f;
    memcpy(&f, p, sizeof f);
    return (double)f;
}

double type_round(enum dtype type, double x)
{
    unsigned char bytes[4];
    element_write(bytes, type, x);
    return element_read(bytes, type);
}

double type_tolerance(enum dtype type)
{
    return type == DTYPE_F32 ? 2e-6 : type == DTYPE_BF16 ? 4e-3 : 6e-4;
}

// Usual matrices lie as the model lays them out: rows at multiples of 16 bytes, with a gap behind each.
static struct tensor make_tensor(struct harness *h, enum dtype type, int rows, int columns,
                                 struct harness_buffer **block)
{
    size_t size = dtype_size(type);
    int stride = h->odd ? columns + 1 + columns % 2 * 2 : (columns + 7) / 8 * 8 + 8;
    size_t start = BORDER + (h->odd ? size : 0);
    *block = add_block(h, rows, (size_t)columns * size, (size_t)stride * size, start);
    struct tensor t = {.mat = {(*block)->device + start, type, rows, columns, stride}};
    t.value = harness_doubles(h, (size_t)rows * (size_t)columns);
    return t;
}

static size_t element_at(const struct harness_buffer *b, const struct mat *m, int row, int column)
{
    return b->start + ((size_t)row * (size_t)m->stride + (size_t)column) * dtype_size(m->type);
}

struct tensor tensor_from(struct harness *h, enum dtype type, int rows, int columns, const double *value)
{
    struct harness_buffer *b;
    struct tensor t = make_tensor(h, type, rows, columns, &b);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            unsigned char *p = b->image + element_at(b, &t.mat, r, c);
            element_write(p, type, value[(size_t)r * (size_t)columns + (size_t)c]);
            t.value[(size_t)r * (size_t)columns + (size_t)c] = element_read(p, type);
        }
    upload(h, b);
    return t;
}

struct tensor tensor_normal(struct harness *h, enum dtype type, int rows, int columns, uint32_t seed, double scale)
{
    size_t count = (size_t)rows * (size_t)columns;
    double *value = xcalloc(count, sizeof *value);
    struct rng rng = rng_make(0x1517, RNG_BENCH, 1, seed, 0);
    for (size_t i = 0; i < count; i++)
        value[i] = scale * rng_normal(&rng);
    struct tensor t = tensor_from(h, type, rows, columns, value);
    free(value);
    return t;
}

struct tensor tensor_output(struct harness *h, enum dtype type, int rows, int columns)
{
    struct harness_buffer *b;
    struct tensor t = make_tensor(h, type, rows, columns, &b);
    b->writable = 1;
    upload(h, b);
    return t;
}

void tensor_writable(struct harness *h, const struct tensor *t)
{
    block_of(h, t->mat.data)->writable = 1;
}

void tensor_read(struct harness *h, struct tensor *t)
{
    const struct harness_buffer *b = block_of(h, t->mat.data);
    unsigned char *now = xmalloc(b->size);
    download(h, b, now);
    for (int r = 0; r < t->mat.rows; r++) {
        for (int c = 0; c < t->mat.columns; c++)
            t->value[(size_t)r * (size_t)t->mat.columns + (size_t)c] =
                element_read(now + element_at(b, &t->mat, r, c), t->mat.type);
        for (size_t i = 0; i < b->row_bytes; i++)
            h->digest = (h->digest ^ now[element_at(b, &t->mat, r, 0) + i]) * 0x100000001b3u;
    }
    free(now);
}

struct mat tensor_columns(const struct tensor *t, int first, int columns)
{
    struct mat m = t->mat;
    m.data = (char *)m.data + (size_t)first * dtype_size(m.type);
    m.columns = columns;
    return m;
}

void *device_bytes(struct harness *h, const void *bytes, size_t count)
{
    struct harness_buffer *b = add_block(h, 1, count, count, BORDER);
    memcpy(b->image + b->start, bytes, count);
    upload(h, b);
    return b->device + b->start;
}

int32_t *device_ints(struct harness *h, const int32_t *value, size_t count)
{
    return device_bytes(h, value, count * sizeof *value);
}

struct step_scalars *device_scalars(struct harness *h, const struct step_scalars *scalars)
{
    return device_bytes(h, scalars, sizeof *scalars);
}

// ---- the run of a test --------------------------------------------------------------------------------------------

static uint64_t run_once(const struct kernel_test *test, int threads)
{
    struct harness *h = harness_open(threads);
    test->body(h);
    for (const struct harness_buffer *b = h->buffers; b; b = b->next)
        if (b->device)
            check_block(h, b);
    uint64_t digest = h->digest;
    harness_close(h);
    return digest;
}

static void run_twice(void **state)
{
    const struct kernel_test *test = *state;
    uint64_t one = run_once(test, 1), three = run_once(test, 3);
    if (one != three)
        fail_msg("%s: results differ between 1 and 3 threads", test->name);
}

int harness_main(const char *group, const struct kernel_test *tests, size_t count)
{
    struct error e = {0};
    struct backend *b = test_device_open(1, &e);
    if (!b) {
        fprintf(stderr, "skipped: %s\n", e.text);
        return 77;
    }
    b->op->close(b);
    const char *only = getenv("ISLR_TEST_ONLY");
    struct CMUnitTest *list = xcalloc(count, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!only || !*only || !strcmp(only, tests[i].name))
            list[n++] = (struct CMUnitTest){tests[i].name, run_twice, NULL, NULL, (void *)&tests[i]};
    if (!n)
        fprintf(stderr, "ISLR_TEST_ONLY=%s: there is no such test of %s\n", only, group);
    int rc = n ? _cmocka_run_group_tests(group, list, n, NULL, NULL) : 1;
    free(list);
    return rc;
}
