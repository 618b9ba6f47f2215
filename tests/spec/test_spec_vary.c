// Variations of a job: what one has that the other has not, and back; jobs by their values' names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/spec/helpers.h"

static const char base_text[] = "preset: l25\ndata: {path: /data}\ntrain: {seed: 5}\n";

static void test_there_and_back(void **state)
{
    static const char *const texts[] = {
        "preset: l25\ndata: {path: /data}\ntrain: {seed: 5}\n",
        "preset: l80\ndata: {path: /other, fold: all}\n",
        "preset: l25\ndata: {path: /data}\ntrain: {betas: [0.8, 0.9], shuffle: false, precision: fp32}\naugment: "
        "none\n",
        "kind: soup\nname: mine\nmodels: [a.safetensors, '3:soup']\nmethod: greedy\ndata: {path: /d}\n",
    };
    (void)state;
    Islr__JobSpec *base = JOB(base_text, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error e;
        Islr__JobSpec *other = JOB(texts[i], NULL), *differs = spec_difference(base, other, &e);
        assert_non_null(differs);
        Islr__JobSpec *back = spec_vary(base, differs, &e);
        char *wanted = spec_to_json(other), *found = spec_to_json(back);
        assert_string_equal(found, wanted);
        if (i == 0)
            assert_int_equal(differs->train->has_seed, 0); // nothing but what differs
        free(wanted);
        free(found);
        spec_free(back);
        spec_free(differs);
        spec_free(other);
    }
    spec_free(base);
}

static void test_what_cannot_be_said(void **state)
{
    struct error e;
    (void)state;
    Islr__JobSpec *tiny = JOB("preset: tiny\ndata: {path: /data}\n", NULL), *base = JOB(base_text, NULL);
    assert_null(spec_difference(tiny, base, &e)); // tiny gives widths, l25 does not
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "model.widths"));
    static const uint8_t strange[] = {0x4a, 0x03, 0xf8, 0x3f, 0x01}; // train { field 1023: 1 }
    Islr__JobSpec *newer = islr__job_spec__unpack(NULL, sizeof strange, strange);
    assert_null(spec_vary(base, newer, &e));
    assert_non_null(strstr(e.text, "newer version"));
    spec_free(newer);
    spec_free(tiny);
    spec_free(base);
}

static const char *value_of(const struct spec_settings *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->items[i].name, name))
            return s->items[i].value;
    return "";
}

static void test_settings(void **state)
{
    (void)state;
    Islr__JobSpec *base = JOB(base_text, NULL), *tiny = JOB("preset: tiny\ndata: {path: /data}\n", NULL);
    struct spec_settings a = spec_settings(base), b = spec_settings(tiny);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_string_equal(a.items[i].name, b.items[i].name);
    assert_string_equal(value_of(&a, "train.seed"), "5");
    assert_string_equal(value_of(&a, "train.lr"), "0.0003");
    assert_string_equal(value_of(&a, "model.widths"), "[]");
    assert_string_equal(value_of(&b, "preset"), "\"tiny\"");
    assert_string_equal(value_of(&b, "augment.face_cutmix.p"), value_of(&a, "augment.face_cutmix.p"));
    spec_settings_free(&a);
    spec_settings_free(&b);
    spec_free(base);
    spec_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_what_cannot_be_said), cmocka_unit_test(test_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
