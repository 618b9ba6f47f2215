// Jobs from a peer: whatever unpacks is either made complete and valid or refused; and the descriptors' part of the
// bargain, that every number has its bounds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/spec/bounds.h"
#include "core/spec/field.h"
#include "tests/spec/helpers.h"

#define DATA "data: {path: /x}\n"

static void check_bounds_of(const ProtobufCMessageDescriptor *d, const char *prefix, int *numbers)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        char *path = field_path(prefix, f->name);
        switch (f->type) {
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_DOUBLE:
            ++*numbers;
            if (!bound_find(path))
                fail_msg("%s has no bounds in bounds.c", path);
            if (f->label != PROTOBUF_C_LABEL_REPEATED && f->type == PROTOBUF_C_TYPE_DOUBLE)
                assert_true(bound_allows(bound_find(path), f->default_value ? *(const double *)f->default_value : 0));
            break;
        case PROTOBUF_C_TYPE_MESSAGE:
            assert_int_equal(f->label, PROTOBUF_C_LABEL_OPTIONAL);
            check_bounds_of(f->descriptor, path, numbers);
            break;
        default: // the only other types that field.c handles
            assert_true(f->type == PROTOBUF_C_TYPE_BOOL || f->type == PROTOBUF_C_TYPE_ENUM ||
                        f->type == PROTOBUF_C_TYPE_STRING);
            assert_true(f->label != PROTOBUF_C_LABEL_REPEATED || f->type == PROTOBUF_C_TYPE_STRING);
        }
        free(path);
    }
}

static void test_every_number_is_bounded(void **state)
{
    (void)state;
    int numbers = 0, rows = 0;
    check_bounds_of(&islr__job_spec__descriptor, "", &numbers);
    for (const struct bound *b = bounds; b->field; b++)
        rows++;
    assert_int_equal(numbers, rows); // no row of a field that is gone
}

static uint8_t *pack(const Islr__JobSpec *job, size_t *size)
{
    *size = islr__job_spec__get_packed_size(job);
    uint8_t *bytes = xmalloc(*size + 1);
    islr__job_spec__pack(job, bytes);
    return bytes;
}

static void test_complete_on_the_wire(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB("data: {path: /x}\npreset: l80-code\n", NULL);
    size_t size;
    uint8_t *bytes = pack(job, &size);
    Islr__JobSpec *peer = islr__job_spec__unpack(NULL, size, bytes);
    // Everything has travelled: nothing is left to defaults.
    assert_true(peer->has_kind && peer->train->has_seed && peer->augment->crop->has_p_late);
    assert_true(peer->data->fold_file != islr__data__descriptor.fields[3].default_value);
    struct faults faults = {0};
    assert_int_equal(spec_check_wire(peer, &faults), 0);
    char *a = spec_to_json(job), *b = spec_to_json(peer);
    assert_string_equal(a, b);
    free(a);
    free(b);
    Islr__JobSpec *copy = spec_copy(job);
    struct hash x = spec_hash(job), y = spec_hash(copy);
    assert_true(hash_equal(&x, &y));
    spec_free(copy);
    spec_free(peer);
    spec_free(job);
    free(bytes);
}

static void test_absent_gets_defaults(void **state)
{
    (void)state;
    Islr__JobSpec *job = islr__job_spec__unpack(NULL, 0, NULL);
    struct faults faults = {0};
    assert_int_equal(spec_check_wire(job, &faults), -1);
    char *text = faults_text(&faults);
    assert_string_equal(text, "job: data.path: a train job needs data; allowed: a directory in the competition's "
                              "layout, or a prepared set\n");
    free(text);
    faults_free(&faults);
    assert_int_equal(job->train->n_betas, 2);
    assert_int_equal(job->train->epochs, 100);
    spec_free(job);
}

static void expect_fault(Islr__JobSpec *job, const char *expected)
{
    struct faults faults = {0};
    assert_int_equal(spec_check_wire(job, &faults), -1);
    char *text = faults_text(&faults);
    assert_string_equal(text, expected);
    free(text);
    faults_free(&faults);
    spec_free(job);
}

static void test_what_protobuf_lets_through(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB(DATA, NULL);
    job->kind = (Islr__JobSpec__Kind)77;
    job->train->precision = (Islr__Train__Precision)-1;
    expect_fault(job, "job: kind: 77 is given; allowed: train | prepare | evaluate | soup | export\n"
                      "job: train.precision: -1 is given; allowed: auto | fp32 | bf16 | fp16\n"
                      "job: models: a unknown job needs models; allowed: a list of checkpoints\n");
    job = JOB(DATA, NULL);
    job->train->lr = NAN;
    job->train->eps = INFINITY;
    strcpy(job->data->path, "\xC3");
    expect_fault(job, "job: data.path: the text is not UTF-8; allowed: UTF-8 text\n"
                      "job: train.lr: nan is given; allowed: a number from 0 to 10\n"
                      "job: train.eps: inf is given; allowed: a number above 0, up to 1\n");
    // A field of a newer version, number 900 in Train: varint key, value 1.
    job = JOB(DATA, NULL);
    size_t size;
    uint8_t *bytes = pack(job, &size), *longer = xmalloc(size + 8);
    static const uint8_t addition[] = {9 << 3 | 2, 3, 0xA0, 0x38, 1}; // field 9 (train), 3 bytes: key 900 << 3, 1
    memcpy(longer, bytes, size);
    memcpy(longer + size, addition, sizeof addition);
    spec_free(job);
    job = islr__job_spec__unpack(NULL, size + sizeof addition, longer);
    assert_non_null(job);
    expect_fault(job, "job: train: the field of number 900 is unknown here: the job was made by a newer version of the "
                      "program\n");
    free(bytes);
    free(longer);
}

static void test_long_lists(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB(DATA, NULL);
    free(job->train->betas);
    job->train->n_betas = 100000;
    job->train->betas = calloc(job->train->n_betas, sizeof(double));
    expect_fault(job, "job: train.betas: a list of 100000 is given; allowed: at most 1000 values\n"
                      "job: train.betas: a list of 100000 is given; allowed: two\n");
}

// Bit flips in a packed job: what still unpacks is checked without a crash, and what passes is really complete.
static void test_flips(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB("preset: tiny\ndata: {path: /x, fold: all}\n", NULL);
    size_t size;
    uint8_t *bytes = pack(job, &size);
    struct rng r = rng_make(11, RNG_BENCH, 0, 0, 0);
    int unpacked = 0, passed = 0;
    for (int round = 0; round < 5000; round++) {
        uint8_t *changed = xmalloc(size);
        memcpy(changed, bytes, size);
        for (uint32_t k = 1 + rng_below(&r, 3); k > 0; k--)
            changed[rng_below(&r, (uint32_t)size)] ^= (uint8_t)(1u << rng_below(&r, 8));
        Islr__JobSpec *peer = islr__job_spec__unpack(NULL, size, changed);
        free(changed);
        if (!peer)
            continue;
        unpacked++;
        struct faults faults = {0};
        if (spec_check_wire(peer, &faults) == 0) {
            passed++;
            char *json = spec_to_json(peer);
            Islr__JobSpec *again;
            if (spec_read_resolved("j", json, strlen(json), 1, &again, &faults))
                fail_msg("%s does not read back", json);
            spec_free(again);
            free(json);
        }
        faults_free(&faults);
        spec_free(peer);
    }
    assert_true(unpacked > 500 && passed > 50);
    spec_free(job);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_number_is_bounded),
                                       cmocka_unit_test(test_complete_on_the_wire),
                                       cmocka_unit_test(test_absent_gets_defaults),
                                       cmocka_unit_test(test_what_protobuf_lets_through),
                                       cmocka_unit_test(test_long_lists),
                                       cmocka_unit_test(test_flips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
