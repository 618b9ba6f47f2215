// Jobs that are valid: presets against golden files, precedence, overrides, number forms, round trips, widths, paths.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/spec/describe.h"
#include "core/spec/preset.h"
#include "tests/spec/helpers.h"

static void test_presets(void **state)
{
    (void)state;
    const char *directory = getenv("ISLR_GOLDEN");
    assert_non_null(directory);
    for (const struct preset *p = presets; p->name; p++) {
        char path[1024], argument[64];
        snprintf(path, sizeof path, "%s/%s.yaml", directory, p->name);
        snprintf(argument, sizeof argument, "preset=%s", p->name);
        char *golden;
        size_t size;
        assert_int_equal(file_read(path, 1 << 20, &golden, &size, NULL), 0);
        Islr__JobSpec *job = JOB(NULL, argument, "data.path=/data/asl-signs");
        char *yaml = spec_to_yaml(job);
        assert_string_equal(yaml, golden);
        free(yaml);
        free(golden);
        spec_free(job);
    }
}

// The shipped job files say what their presets say, in so many words.
static void test_shipped_jobs(void **state)
{
    (void)state;
    const char *directory = getenv("ISLR_JOBS");
    assert_non_null(directory);
    for (const struct preset *p = presets; p->name; p++) {
        char path[1024], argument[64];
        snprintf(path, sizeof path, "%s/%s.yaml", directory, p->name);
        snprintf(argument, sizeof argument, "preset=%s", p->name);
        struct faults faults = {0};
        struct error e = {0};
        Islr__JobSpec *job;
        const char *path_argument = "data.path=/x";
        if (spec_load(path, &path_argument, 1, &job, &faults, &e))
            fail_msg("%s", e.text);
        Islr__JobSpec *preset = JOB(NULL, argument, "data.path=/x");
        char *a = spec_to_json(job), *b = spec_to_json(preset);
        assert_string_equal(a, b);
        free(a);
        free(b);
        spec_free(job);
        spec_free(preset);
    }
}

// The defaults of job.proto are preset l25: what a job without a preset trains.
static void test_default_is_l25(void **state)
{
    (void)state;
    Islr__JobSpec *a = JOB("data: {path: /x}\n", NULL), *b = JOB("data: {path: /x}\npreset: l25\n", NULL);
    assert_string_equal(b->name, "l25");
    assert_string_equal(a->name, "");
    free(b->name);
    free(b->preset);
    b->name = strdup("");
    b->preset = strdup("");
    char *x = spec_to_json(a), *y = spec_to_json(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
    spec_free(a);
    spec_free(b);
}

static void test_precedence(void **state)
{
    (void)state;
    const char *yaml = "preset: l80-code\nname: mine\ndata: {path: /x}\ntrain: {lr: 1e-4, epochs: 7}\n"
                       "model:\n  dropout_encoders: [0.3, 0.2, 0.1]\n";
    Islr__JobSpec *job = JOB(yaml, "train.epochs=9", "train.epochs=10");
    assert_string_equal(job->name, "mine");
    assert_true(job->train->lr == 1e-4);
    assert_int_equal(job->train->epochs, 10);
    assert_int_equal(job->model->max_len, 80);             // preset's base
    assert_int_equal(job->train->eval_steps, 250);         // preset's own
    assert_true(job->model->dropout_encoders[0] == 0.3);   // file over preset
    assert_true(job->distill->dropout_encoders[2] == 0.1); // preset
    assert_int_equal(job->model->n_dropout_encoders, 3);
    assert_int_equal(job->retry->max_attempts, 5); // default
    spec_free(job);
    // An argument's preset takes the place of the file's; the file's fields still win over it.
    job = JOB(yaml, "preset=tiny");
    assert_string_equal(job->preset, "tiny");
    assert_int_equal(job->model->n_widths, 4);
    assert_int_equal(job->train->epochs, 7);
    assert_int_equal(job->train->eval_steps, 0);
    spec_free(job);
}

static void test_arguments(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB("data:\n  path: /x\n", "model.dropout_encoders=[0,0,0]", "augment=none", "mixup.p=0",
                             "data.path=/a dir #2/x: y", "data.fold=all", "name='quoted text'",
                             "distill={enabled: false}", "augment.flip.p=.5");
    assert_true(job->model->dropout_encoders[1] == 0);
    assert_true(job->augment->rotate->p == 0 && job->augment->crop->p == 0 && job->augment->face_cutmix->p == 0);
    assert_true(job->augment->flip->p == 0.5); // given after `none`
    assert_string_equal(job->data->path, "/a dir #2/x: y");
    assert_string_equal(job->name, "quoted text");
    assert_int_equal(spec_fold(job), SPEC_FOLD_ALL);
    assert_false(job->distill->enabled);
    assert_int_equal(job->distill->transfo_dim, 768);
    spec_free(job);
    job = JOB("data: {path: /x, fold_file: /y}\nmodel: {widths: [64, 64, 64, 64]}\n",
              "data.fold_file=", "model.widths=[]", "train.seed=18446744073709551615", "data.fold=full", "data.k=1");
    assert_string_equal(job->data->fold_file, "");
    assert_int_equal(job->model->n_widths, 0);
    assert_true(job->train->seed == UINT64_MAX);
    assert_int_equal(spec_fold(job), SPEC_FOLD_FULL);
    spec_free(job);
    // Off also what a preset does after the first half.
    job = JOB("preset: l25-code\ndata: {path: /x}\naugment: none\n", NULL);
    assert_true(job->augment->crop->p == 0 && job->augment->crop->p_late < 0);
    assert_true(job->augment->rotate->degrees == 30);
    spec_free(job);
}

// A fold file says how many folds there are, unless the job does.
static void test_fold_count(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *argument;
        uint32_t k;
    } cases[] = {{"data: {path: /x}\n", NULL, 4},
                 {"data: {path: /x, fold_file: /f, fold: 7}\n", NULL, 0},
                 {"preset: l25\ndata: {path: /x}\n", "data.fold_file=/f", 0},
                 {"data: {path: /x, fold_file: /f, k: 4}\n", NULL, 4},
                 {"data: {path: /x, fold_file: /f}\n", "data.k=6", 6},
                 {"data: {path: /x, fold_file: /f}\n", "data.fold_file=", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct faults faults = {0};
        Islr__JobSpec *job = JOB(cases[i].yaml, cases[i].argument), *again;
        assert_int_equal(job->data->k, cases[i].k);
        char *text = spec_to_yaml(job);
        assert_int_equal(spec_read_resolved("job.yaml", text, strlen(text), 0, &again, &faults), 0);
        assert_int_equal(again->data->k, cases[i].k);
        spec_free(again);
        spec_free(job);
        free(text);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } forms[] = {{"3e-4", 3e-4}, {"1e-4", 1e-4}, {"1E-4", 1e-4}, {".5", 0.5}, {"1", 1},
                 {"0", 0},       {"5.", 5},      {"+2", 2},      {"2e0", 2},  {"0.1e+1", 1.0}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, "data: {path: /x}\ntrain:\n  lr: %s\n", forms[i].text);
        Islr__JobSpec *job = JOB(yaml, NULL);
        assert_true(job->train->lr == forms[i].value);
        spec_free(job);
    }
}

static void test_forms(void **state)
{
    (void)state;
    // Comments, blocks, empty sections, quoted names, CRLF, a BOM; `fold` as number and as text.
    Islr__JobSpec *job = JOB("\xEF\xBB\xBF# a job\r\n\"data\":\r\n  path: \"/x y\"\r\n  fold: 3\r\ntrain:\r\n"
                             "mixup: ~\r\nname: 2024-05-01\r\nmodel:\r\n  widths:\r\n    - 64\r\n    - 64\r\n"
                             "    - 64\r\n    - 64\r\n",
                             NULL);
    assert_string_equal(job->data->path, "/x y");
    assert_int_equal(spec_fold(job), 3);
    assert_string_equal(job->name, "2024-05-01");
    assert_int_equal(job->model->n_widths, 4);
    spec_free(job);
    struct faults faults = {0};
    const char *json = "{\"kind\": \"evaluate\", \"data\": {\"path\": \"/\\u00e4\", \"fold\": 2},\n"
                       "\t\"models\": [\"a.safetensors\", \"12:soup\"], \"train\": {\"shuffle\": false}}";
    assert_int_equal(spec_read("j", json, strlen(json), 1, NULL, 0, &job, &faults), 0);
    assert_string_equal(job->data->path, "/\xC3\xA4");
    assert_int_equal(job->n_models, 2);
    assert_int_equal(spec_fold(job), 2);
    assert_false(job->train->shuffle);
    spec_free(job);
}

// What is written reads back to the same bytes, and every float survives.
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const jobs[] = {
        "preset: l80-code\ndata: {path: \"/a b/\\\"c\\\"\\\\ä\", fold: full}\nname: 'no'\n",
        "kind: soup\nmodels: [1:soup, '@last:student', \"a: b\"]\nname: x\n",
        "data: {path: relative/dir}\nname: '0123'\ntrain: {lr: 0.1234567890123456789, warmup: 5e-300, betas: [0.9, "
        "0.8999999999999999], seed: 18446744073709551615, weight_decay: 0.30000000000000004}\n",
        "kind: soup\nmodels: ['true']\nmethod: greedy\ndata: {path: 'null', fold_file: '~'}\nlimits: {minutes: -0}\n"};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        Islr__JobSpec *job = JOB(jobs[i], NULL), *again, *third;
        char *json = spec_to_json(job), *yaml = spec_to_yaml(job);
        struct faults faults = {0};
        assert_int_equal(spec_read("j", json, strlen(json), 1, NULL, 0, &again, &faults), 0);
        assert_int_equal(spec_read("y", yaml, strlen(yaml), 0, NULL, 0, &third, &faults), 0);
        char *json2 = spec_to_json(again), *yaml3 = spec_to_yaml(third);
        assert_string_equal(json, json2);
        assert_string_equal(yaml, yaml3);
        assert_true(again->train->lr == job->train->lr && third->train->lr == job->train->lr);
        assert_true(third->train->betas[1] == job->train->betas[1]);
        struct hash a = spec_hash(job), b = spec_hash(third);
        assert_true(hash_equal(&a, &b));
        free(json);
        free(yaml);
        free(json2);
        free(yaml3);
        spec_free(job);
        spec_free(again);
        spec_free(third);
    }
}

static void test_hash_tells_apart(void **state)
{
    (void)state;
    Islr__JobSpec *a = JOB("data: {path: /x}\n", NULL), *b = JOB("data: {path: /x}\n", "train.seed=43");
    struct hash x = spec_hash(a), y = spec_hash(b);
    assert_false(hash_equal(&x, &y));
    spec_free(a);
    spec_free(b);
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/islr-spec-XXXXXX.json";
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs("{\"data\": {\"path\": \"/x\"}, \"preset\": \"tiny\"}", f);
    fclose(f);
    Islr__JobSpec *job;
    struct faults faults = {0};
    struct error e;
    const char *argument = "train.epochs=3";
    assert_int_equal(spec_load(path, &argument, 1, &job, &faults, &e), 0);
    assert_int_equal(job->train->epochs, 3);
    spec_free(job);
    remove(path);
    assert_int_equal(spec_load(path, NULL, 0, &job, &faults, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(faults.count, 0);
    assert_null(job);
    argument = "train.epochs=x";
    assert_int_equal(spec_load(NULL, &argument, 1, &job, &faults, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(faults.count, 2); // and no data.path
    assert_non_null(strstr(e.text, "train.epochs: 'x' is given"));
    faults_free(&faults);
}

static void test_widths(void **state)
{
    (void)state;
    static const struct {
        uint32_t t, w[4];
    } published[] = {{1536, {1024, 1280, 1536, 1536}},
                     {1024, {512, 768, 1024, 1024}},
                     {768, {512, 768, 768, 512}},
                     {576, {512, 576, 576, 512}},
                     {512, {512, 512, 512, 512}}};
    uint32_t out[4];
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        spec_widths(published[i].t, NULL, 0, out);
        assert_memory_equal(out, published[i].w, sizeof out);
    }
    const uint32_t given[4] = {64, 96, 96, 64};
    spec_widths(1536, given, 4, out);
    assert_memory_equal(out, given, sizeof out);
}

// What doctor prints: every leaf, with the default that a job gets and the bounds that it is held to.
static void find_field(void *context, const struct spec_field *f)
{
    int *found = context;
    found[0]++;
    if (!strcmp(f->name, "train.betas")) {
        assert_string_equal(f->default_value, "[0.9,0.999]");
        assert_string_equal(f->allowed, "a list, each a number from 0 to below 1");
    } else if (!strcmp(f->name, "augment.crop.p_late")) {
        assert_string_equal(f->default_value, "-1");
        assert_string_equal(f->allowed, "a number from -1 to 1");
    } else if (!strcmp(f->name, "kind")) {
        assert_string_equal(f->default_value, "\"train\"");
        assert_string_equal(f->allowed, "train | prepare | evaluate | soup | export");
    } else {
        return;
    }
    found[1]++;
}

static void test_described(void **state)
{
    (void)state;
    int found[2] = {0, 0};
    describe_fields(find_field, found);
    assert_int_equal(found[1], 3);
    assert_true(found[0] > 70);
    char *text = describe_presets();
    assert_non_null(strstr(text, "\n  l80-code   the L=80 pair as the published program trains it"));
    free(text);
}

static void test_absolute(void **state)
{
    (void)state;
    Islr__JobSpec *job = JOB("data: {path: sub/set, fold_file: /f.csv}\ninit: {student: '12:student', teacher: a:b/c, "
                             "distilled: x}\n",
                             NULL);
    spec_make_absolute(job, "/home/u");
    assert_string_equal(job->data->path, "/home/u/sub/set");
    assert_string_equal(job->data->fold_file, "/f.csv");
    assert_string_equal(job->init->student, "12:student");
    assert_string_equal(job->init->teacher, "/home/u/a:b/c");
    assert_string_equal(job->init->distilled, "/home/u/x");
    spec_free(job);
    job = JOB("kind: soup\nmodels: [m/a, '@last:soup', 'sha256:00ff', '/b', '3:epoch-4']\n", NULL);
    spec_make_absolute(job, "/home/u/");
    assert_string_equal(job->models[0], "/home/u/m/a");
    assert_string_equal(job->models[1], "@last:soup");
    assert_string_equal(job->models[2], "sha256:00ff");
    assert_string_equal(job->models[4], "3:epoch-4");
    spec_free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_presets),        cmocka_unit_test(test_shipped_jobs),
                                       cmocka_unit_test(test_default_is_l25), cmocka_unit_test(test_precedence),
                                       cmocka_unit_test(test_arguments),      cmocka_unit_test(test_fold_count),
                                       cmocka_unit_test(test_numbers),        cmocka_unit_test(test_forms),
                                       cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_hash_tells_apart),
                                       cmocka_unit_test(test_files),          cmocka_unit_test(test_widths),
                                       cmocka_unit_test(test_absolute),       cmocka_unit_test(test_described)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
