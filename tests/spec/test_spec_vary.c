// Variations of a job: what one has that the other has not, and back; jobs by their values' names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/spec/sweep.h"
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

// ---- sweeps ---------------------------------------------------------------------------------------------------------

enum { VALUES = 4 };

// An axis of values, each what an argument changes in the base; the labels are the arguments.
struct values {
    Islr__Axis axis;
    Islr__JobSpec *differs[VALUES];
    char *labels[VALUES];
};

static Islr__Axis *values_of(struct values *v, const Islr__JobSpec *base, const char *const *arguments)
{
    islr__axis__init(&v->axis);
    v->axis.values = v->differs;
    v->axis.labels = v->labels;
    for (size_t i = 0; arguments[i]; i++) {
        struct faults faults = {0};
        struct error e;
        Islr__JobSpec *job = spec_with_argument(base, arguments[i], &faults);
        assert_non_null(job);
        v->differs[i] = spec_difference(base, job, &e);
        v->labels[i] = (char *)arguments[i];
        v->axis.n_values = v->axis.n_labels = i + 1;
        spec_free(job);
    }
    return &v->axis;
}

static void values_free(struct values *v)
{
    for (size_t i = 0; i < v->axis.n_values; i++)
        spec_free(v->differs[i]);
}

static Islr__Axis numbers(const char *key, uint64_t first, uint32_t count)
{
    Islr__Axis a = ISLR__AXIS__INIT;
    a.key = (char *)key;
    a.has_first = a.has_count = 1;
    a.first = first;
    a.count = count;
    return a;
}

// Every combination is the job that its arguments make of the file, in whatever order they are asked for; values that give
// different fields leave nothing behind, and the last axis wins.
static void test_sweep(void **state)
{
    static const char *const first[] = {"augment={flip: {p: 0.25}}", "augment={rotate: {p: 0.125}}",
                                        "train.betas=[0.5, 0.6]", NULL},
                             *const second[] = {"augment.flip.p=0.75", "model.transfo_dim=768", NULL};
    (void)state;
    struct error e;
    struct faults faults = {0};
    Islr__JobSpec *base = JOB(base_text, NULL);
    struct values a, b;
    Islr__Axis seeds = numbers("train.seed", 8, 3);
    Islr__Axis *axes[] = {values_of(&a, base, first), &seeds, values_of(&b, base, second)};
    struct spec_sweep s;
    assert_int_equal(spec_sweep_open(&s, base, axes, 3, 100, &e), 0);
    assert_int_equal(s.count, 18);
    assert_int_equal(spec_sweep_check(&s, &faults), 0);
    for (size_t k = 0; k < 2 * s.count; k++) {
        size_t i = k * 7 % s.count; // there and back
        char seed[32];
        snprintf(seed, sizeof seed, "train.seed=%zu", 8 + i / 2 % 3);
        Islr__JobSpec *job = JOB(base_text, first[i / 6], seed, second[i % 2]);
        char *wanted = spec_to_json(job), *found = spec_to_json(spec_sweep_job(&s, i)),
             *label = spec_sweep_label(&s, i);
        assert_string_equal(found, wanted);
        assert_int_equal(strncmp(label, first[i / 6], strlen(first[i / 6])), 0);
        assert_non_null(strstr(label, seed));
        assert_non_null(strstr(label, second[i % 2]));
        free(wanted);
        free(found);
        free(label);
        spec_free(job);
    }
    spec_sweep_close(&s);
    values_free(&a);
    values_free(&b);
    spec_free(base);
}

// What spec_validate() says of each combination is what the check of all says, under its label.
static void test_sweep_faults(void **state)
{
    (void)state;
    struct error e;
    struct faults faults = {0}, wanted = {0};
    Islr__JobSpec *base = JOB("preset: tiny\ndata: {path: /d, k: 5}\nresources: {device: cpu}\n", NULL);
    Islr__Axis groups = numbers("train.group", 3, 2), sizes = numbers("train.batch", 6, 3),
               folds = numbers("data.k", 998, 4);
    Islr__Axis *axes[] = {&groups, &sizes};
    struct spec_sweep s;
    base->train->ousm = 3;
    assert_int_equal(spec_sweep_open(&s, base, axes, 2, 100, &e), 0);
    assert_int_equal(spec_sweep_check(&s, &faults), -1);
    for (size_t i = 0; i < s.count; i++) {
        char *label = spec_sweep_label(&s, i);
        spec_validate(spec_sweep_job(&s, i), label, &wanted);
        free(label);
    }
    assert_int_equal(faults.count, 7); // three times too small a group, and 3 of 7, 8; 4 of 6, 7
    char *found_text = faults_text(&faults), *wanted_text = faults_text(&wanted);
    assert_string_equal(found_text, wanted_text);
    free(found_text);
    free(wanted_text);
    faults_free(&faults);
    faults_free(&wanted);
    spec_sweep_close(&s);
    axes[0] = &folds;
    assert_int_equal(spec_sweep_open(&s, base, axes, 1, 100, &e), 0);
    assert_int_equal(spec_sweep_check(&s, &faults), -1);
    assert_int_equal(faults.count, 1); // once, not for every combination
    assert_string_equal(faults.items[0].source, "data.k=1001");
    assert_string_equal(faults.items[0].field, "data.k");
    faults_free(&faults);
    spec_sweep_close(&s);
    spec_free(base);
}

static void refuse_axis(const Islr__JobSpec *base, Islr__Axis axis, const char *word)
{
    struct spec_sweep s;
    struct error e;
    Islr__Axis *axes[] = {&axis, &axis};
    assert_int_equal(spec_sweep_open(&s, base, axes, axis.n_labels == 2 ? 2 : 1, 100, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.text, word))
        fail_msg("'%s' is not in: %s", word, e.text);
}

// Whatever comes over the wire as an axis is refused or works.
static void test_strange_axes(void **state)
{
    (void)state;
    Islr__JobSpec *base = JOB(base_text, NULL);
    static const char *const keys[] = {
        "", ".", "train", "train.", "train.seeds", "train.lr", "model.widths", "name", "train.seed.x"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        refuse_axis(base, numbers(keys[i], 1, 2), "no field of a whole number");
    refuse_axis(base, numbers("train.seed", UINT64_MAX - 1, 3), "train.seed");
    refuse_axis(base, numbers("data.k", UINT32_MAX, 2), "data.k");
    refuse_axis(base, numbers("train.seed", 1, 0), "no values");
    refuse_axis(base, numbers("train.seed", 1, 101), "at most 100");
    refuse_axis(base, (Islr__Axis)ISLR__AXIS__INIT, "no values");
    static const char *const two[] = {"train.lr=1e-4", "train.lr=2e-4", NULL};
    struct values v;
    values_of(&v, base, two);
    v.axis.n_labels = 1;
    refuse_axis(base, v.axis, "names");
    v.axis.n_labels = 2;
    v.labels[1] = (char *)"";
    refuse_axis(base, v.axis, "no name");
    v.labels[1] = (char *)"\xff";
    refuse_axis(base, v.axis, "no text");
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    v.labels[1] = name; // twice
    refuse_axis(base, v.axis, "too long");
    static const uint8_t strange[] = {0x4a, 0x03, 0xf8, 0x3f, 0x01}; // train { field 1023: 1 }
    spec_free(v.differs[1]);
    v.differs[1] = islr__job_spec__unpack(NULL, sizeof strange, strange);
    v.labels[1] = (char *)two[1];
    refuse_axis(base, v.axis, "newer version");
    values_free(&v);
    spec_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_what_cannot_be_said),
        cmocka_unit_test(test_sweep),          cmocka_unit_test(test_sweep_faults),
        cmocka_unit_test(test_strange_axes),   cmocka_unit_test(test_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
