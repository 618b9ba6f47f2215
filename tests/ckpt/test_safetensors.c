// safetensors: round trips, the same bytes every time, every way in which a header can be wrong, and altered files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/ckpt/half.h"
#include "core/ckpt/safetensors.h"

static char directory[] = "/tmp/islr-safetensors-XXXXXX";
static char path[128];

static int make_directory(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.safetensors", mkdtemp(directory));
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return file_remove_tree(directory, NULL);
}

static float values[12] = {0, 1, -2, 3.5f, 1e-40f, INFINITY, -0.0f, 7, 8, 9, 10, 11};
static const struct tensor known[] = {{"b", TENSOR_F32, 2, {3, 4}, 12, values},
                                      {"a", TENSOR_F32, 1, {2}, 2, values + 1},
                                      {"none", TENSOR_F32, 1, {0}, 0, NULL},
                                      {"scalar", TENSOR_F32, 0, {0}, 1, values + 3}};
static const struct metadata_pair pairs[] = {{"z", "1"}, {"heads", "16"}};

static void test_round_trip(void **state)
{
    (void)state;
    struct error e;
    struct safetensors file;
    assert_int_equal(safetensors_write(path, known, 4, pairs, 2, &e), 0);
    assert_int_equal(safetensors_open(path, &file, &e), 0);
    assert_int_equal(file.count, 4);
    assert_string_equal(file.tensors[0].name, "a"); // sorted
    assert_string_equal(file.tensors[3].name, "scalar");
    const struct tensor *b = safetensors_find(&file, "b");
    assert_int_equal(b->dims, 2);
    assert_int_equal(b->shape[1], 4);
    assert_int_equal((uintptr_t)b->data % 8, 0);
    float out[12];
    tensor_to_f32(b, out);
    assert_memory_equal(out, values, sizeof out);
    char text[128];
    assert_string_equal(tensor_shape_text(b, text), "[3,4]");
    assert_int_equal(safetensors_find(&file, "scalar")->dims, 0);
    assert_int_equal(safetensors_find(&file, "scalar")->count, 1);
    assert_int_equal(safetensors_find(&file, "none")->count, 0);
    assert_null(safetensors_find(&file, "c"));
    assert_string_equal(safetensors_metadata(&file, "heads"), "16");
    assert_string_equal(file.metadata[0].key, "heads");
    assert_null(safetensors_metadata(&file, "c"));
    assert_int_equal(file.data_size, 60);
    safetensors_close(&file);
}

static void test_same_bytes(void **state)
{
    (void)state;
    char *first, *second;
    size_t n, m;
    assert_int_equal(safetensors_write(path, known, 4, pairs, 2, NULL), 0);
    assert_int_equal(file_read(path, 1 << 20, &first, &n, NULL), 0);
    assert_int_equal(safetensors_write(path, known, 4, pairs, 2, NULL), 0);
    assert_int_equal(file_read(path, 1 << 20, &second, &m, NULL), 0);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    static const char header[] = "{\"__metadata__\":{\"z\":\"1\",\"heads\":\"16\"},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[3,4],\"data_offsets\":[0,48]},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[48,56]},"
                                 "\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[56,56]},"
                                 "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[56,60]}}";
    uint64_t length;
    memcpy(&length, first, 8);
    assert_int_equal(length % 8, 0);
    assert_int_equal(length, (sizeof header - 1 + 7) / 8 * 8);
    assert_memory_equal(first + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < length; i++)
        assert_int_equal(first[8 + i], ' ');
    free(first);
    free(second);
}

static void test_nothing_in_it(void **state)
{
    (void)state;
    struct safetensors file;
    assert_int_equal(safetensors_write(path, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(safetensors_open(path, &file, NULL), 0);
    assert_int_equal(file.count + file.metadata_count, 0);
    assert_null(safetensors_find(&file, "a"));
    safetensors_close(&file);
}

static void expect_refusal(const struct tensor *t, size_t n, const struct metadata_pair *m, size_t mn, const char *text)
{
    struct error e;
    unlink(path);
    assert_int_equal(safetensors_write(path, t, n, m, mn, &e), -1);
    if (!strstr(e.text, text))
        fail_msg("expected '%s', found '%s'", text, e.text);
    assert_false(file_exists(path));
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct tensor t[2] = {known[0], known[0]};
    expect_refusal(t, 2, NULL, 0, "two tensors are called 'b'");
    t[1].name = "__metadata__";
    expect_refusal(t, 2, NULL, 0, "reserved");
    t[1].name = "\xFF";
    expect_refusal(t, 2, NULL, 0, "the name of tensor 1 is not UTF-8");
    t[1] = known[1];
    t[1].count = 3;
    expect_refusal(t, 2, NULL, 0, "'a' has 3 elements, but its shape has 2");
    t[1].type = TENSOR_F16;
    expect_refusal(t, 2, NULL, 0, "not F32");
    const struct metadata_pair twice[] = {{"k", "1"}, {"k", "2"}}, bad[] = {{"k", "\xC3"}};
    expect_refusal(t, 1, twice, 2, "metadata 'k' is given twice");
    expect_refusal(t, 1, bad, 1, "metadata 'k' is not UTF-8");
    struct error e;
    assert_int_equal(safetensors_write("/nonexistent/dir/x", t, 1, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

// Headers as text (with 8 bytes of data behind them) and what is said about them.
static void test_wrong_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *says;
    } cases[] = {
        {"", "does not begin with '{'"},
        {" {}", "does not begin with '{'"},
        {"{\"a\":", "not JSON"},
        {"{} x", "not JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "duplicate"},
        {"{\"a\":5}", "tensor 'a' has no dtype"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "tensor 'a' has no dtype"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", "type F64; F32, F16 and BF16 are read"},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", "type I64"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", "dimension 0 of tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "dimension 0 of tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", "9 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,8],\"data_offsets\":[0,8]}}", "larger than memory"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,8]}}", "has 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]}}", "not JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "no valid data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", "no valid data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "no valid data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", "no valid data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "ends at byte 12 of the data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", "shape [1] has 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "4 bytes follow the last tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "hole before tensor 'a', at byte 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "overlap before tensor 'b', at byte 4"},
        {"{\"__metadata__\":[]}", "__metadata__ is not a map"},
        {"{\"__metadata__\":{\"a\":1}}", "entry 'a' is not a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strbuf b = {0};
        uint64_t length = strlen(cases[i].header);
        strbuf_add(&b, &length, 8);
        strbuf_add(&b, cases[i].header, length);
        strbuf_add(&b, "\0\0\0\0\0\0\0", 8);
        struct safetensors file;
        struct error e = {0};
        assert_int_equal(safetensors_parse("f", b.text, b.length, &file, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
        if (strncmp(e.text, "f: ", 3) || !strstr(e.text, cases[i].says))
            fail_msg("%s: expected '%s', found '%s'", cases[i].header, cases[i].says, e.text);
        free(b.text);
    }
}

static void test_counters_and_spare_fields(void **state)
{
    (void)state;
    static const char header[] = "{\"bn.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[8,10],\"more\":[1]}}   ";
    struct strbuf b = {0};
    uint64_t length = sizeof header - 1;
    strbuf_add(&b, &length, 8);
    strbuf_add(&b, header, length);
    strbuf_add(&b, "\7\0\0\0\0\0\0\0\0\x3E", 10);
    struct safetensors file;
    struct error e;
    assert_int_equal(safetensors_parse("f", b.text, b.length, &file, &e), 0);
    assert_int_equal(file.count, 1);
    float f;
    tensor_to_f32(&file.tensors[0], &f);
    assert_true(f == 1.5f);
    safetensors_close(&file);
    free(b.text);
}

static void test_lengths(void **state)
{
    (void)state;
    struct safetensors file;
    struct error e;
    uint64_t huge[2] = {UINT64_MAX, 0}, over[2] = {SAFETENSORS_HEADER_MAX + 1, 0}, past[2] = {9, 0};
    assert_int_equal(safetensors_parse("f", huge, 16, &file, &e), -1);
    assert_int_equal(safetensors_parse("f", over, 16, &file, &e), -1);
    assert_non_null(strstr(e.text, "at most 100000000 are allowed"));
    assert_int_equal(safetensors_parse("f", past, 16, &file, &e), -1);
    assert_non_null(strstr(e.text, "truncated"));
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(safetensors_parse("f", past, n, &file, &e), -1);
    assert_int_equal(safetensors_open("/nonexistent", &file, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(safetensors_open(directory, &file, &e), -1);
    assert_int_equal(file_write_atomic(path, "", 0, NULL), 0);
    assert_int_equal(safetensors_open(path, &file, &e), -1);
    assert_int_equal(e.code, ERR_DAMAGED);
}

// Every truncation is noticed; flipped bits never crash (in the header they are noticed or harmless).
static void test_altered(void **state)
{
    (void)state;
    char *bytes;
    size_t size;
    struct safetensors file;
    struct error e;
    assert_int_equal(safetensors_write(path, known, 4, pairs, 2, NULL), 0);
    assert_int_equal(file_read(path, 1 << 20, &bytes, &size, NULL), 0);
    for (size_t n = 0; n < size; n++) {
        char *cut = xmalloc(n + 1); // its own block, so that the sanitizer sees a byte too far
        memcpy(cut, bytes, n);
        assert_int_equal(safetensors_parse("f", cut, n, &file, &e), -1);
        assert_int_equal(e.code, ERR_DAMAGED);
        free(cut);
    }
    struct rng r = rng_make(3, RNG_BENCH, 0, 0, 0);
    int refused = 0;
    for (int round = 0; round < 20000; round++) {
        char *changed = xmalloc(size);
        memcpy(changed, bytes, size);
        for (uint32_t k = 1 + rng_below(&r, 3); k > 0; k--)
            changed[rng_below(&r, (uint32_t)size)] ^= (char)(1u << rng_below(&r, 8));
        if (safetensors_parse("f", changed, size, &file, &e)) {
            refused++;
        } else {
            for (size_t i = 0; i < file.count; i++) {
                float *out = xcalloc(file.tensors[i].count + 1, sizeof *out);
                tensor_to_f32(&file.tensors[i], out);
                free(out);
            }
            safetensors_close(&file);
        }
        free(changed);
    }
    assert_true(refused > 5000);
    free(bytes);
}

// All 65536 halves against the definition.
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
        double magnitude = exponent == 0   ? ldexp(fraction, -24)
                           : exponent < 31 ? ldexp(1024 + fraction, exponent - 25)
                           : fraction == 0 ? INFINITY
                                           : NAN;
        float expected = (float)(bits >> 15 ? -magnitude : magnitude), found = half_from_f16((uint16_t)bits);
        assert_true(isnan(expected) ? isnan(found) : found == expected && signbit(found) == signbit(expected));
    }
    assert_true(half_from_bf16(0x3FC0) == 1.5f && half_from_bf16(0xFF80) == -INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_nothing_in_it), cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_wrong_headers), cmocka_unit_test(test_counters_and_spare_fields),
        cmocka_unit_test(test_lengths),       cmocka_unit_test(test_altered),
        cmocka_unit_test(test_halves)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
