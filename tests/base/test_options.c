// Command lines by table: what is understood, what is refused and how, and the help printed from the same table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/nearest.h"
#include "core/base/options.h"

// Everything a table can hold, and the table.
struct values {
    bool json, follow;
    const char *directory, *device, *job;
    int64_t ranks, seed;
    double fill;
    struct option_list models, inputs;
    struct option_row options[9];
    struct option_operand operands[3];
    struct usage usage;
};

static void values_init(struct values *v)
{
    *v = (struct values){.directory = "/var/lib", .device = "auto", .ranks = 1, .fill = 0.5};
    const struct option_row options[] = {
        {0, "json", NULL, "one document", OPTION_FLAG, &v->json},
        {'f', NULL, NULL, "go on", OPTION_FLAG, &v->follow},
        {0, "dir", "DIR", "where", OPTION_STRING, &v->directory, .path = true},
        {0, "device", "auto|cpu|cuda", "on what", OPTION_CHOICE, &v->device},
        {'n', "ranks", "N", "how many", OPTION_INT, &v->ranks, .min = 1, .max = 64},
        {0, "seed", "S", "of the draws", OPTION_INT, &v->seed, .default_shown = "by the clock"},
        {0, "fill", "F", "share", OPTION_FLOAT, &v->fill, .min = 0, .max = 1},
        {0, "model", "FILE", "a model", OPTION_LIST, &v->models},
        {0}};
    memcpy(v->options, options, sizeof options);
    const struct option_operand operands[] = {
        {"JOB.yaml", "the job", .value = &v->job}, {"KEY=VALUE", "changes", .optional = true, .list = &v->inputs}, {0}};
    memcpy(v->operands, operands, sizeof operands);
    v->usage = (struct usage){"islrd try", "an attempt", v->options, v->operands, "islrd try a\nislrd try b", NULL};
}

static void values_free(struct values *v)
{
    option_list_free(&v->models);
    option_list_free(&v->inputs);
}

// Splits `line` at blanks into argv ("try" before them) and reads it.
static int read_line(struct values *v, const char *line, struct error *e)
{
    static char copy[256];
    char *argv[32] = {(char *)"try"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    values_init(v);
    e->text[0] = 0;
    e->code = ERR_NONE;
    return options_read(&v->usage, argc, argv, e);
}

static void test_values(void **state)
{
    (void)state;
    struct values v;
    struct error e;
    assert_int_equal(read_line(&v, "job.yaml", &e), 0);
    assert_string_equal(v.directory, "/var/lib");
    assert_int_equal(v.ranks, 1);
    assert_false(v.json);
    assert_int_equal(read_line(&v, "--dir=/x --ranks 64 job.yaml --json --fill=1e-1 a=1 --device cuda b=2", &e), 0);
    assert_string_equal(v.directory, "/x");
    assert_int_equal(v.ranks, 64);
    assert_true(v.json);
    assert_true(v.fill == 0.1);
    assert_string_equal(v.device, "cuda");
    assert_string_equal(v.job, "job.yaml");
    assert_int_equal(v.inputs.count, 2);
    assert_string_equal(v.inputs.items[1], "b=2");
    values_free(&v);
    assert_int_equal(read_line(&v, "-n4 -f --seed -5 --model a --model=b --dir=--odd job", &e), 0);
    assert_int_equal(v.ranks, 4);
    assert_int_equal(v.seed, -5);
    assert_true(v.follow);
    assert_int_equal(v.models.count, 2);
    assert_string_equal(v.models.items[0], "a");
    assert_string_equal(v.directory, "--odd");
    values_free(&v);
    assert_int_equal(read_line(&v, "-fn 3 -- --job-named-so --json", &e), 0);
    assert_int_equal(v.ranks, 3);
    assert_string_equal(v.job, "--job-named-so");
    assert_string_equal(v.inputs.items[0], "--json");
    assert_false(v.json);
    values_free(&v);
    assert_int_equal(read_line(&v, "-", &e), 0);
    assert_string_equal(v.job, "-");
    assert_int_equal(read_line(&v, "--ranks 3 -h --nonsense", &e), 1);
    assert_int_equal(read_line(&v, "--help", &e), 1);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"", "JOB.yaml is missing: the job"},
        {"j --rank 3", "there is no option '--rank'; did you mean '--ranks'?"},
        {"j --modle=x", "there is no option '--modle'; did you mean '--model'?"},
        {"j --elephant", "there is no option '--elephant'"},
        {"j -q", "there is no option '-q'"},
        {"j --dir", "--dir needs a value: DIR"},
        {"j --dir=", "--dir: the value is empty: DIR is expected"},
        {"j --model=", "--model: the value is empty: FILE is expected"},
        {"j --dir --json", "--dir needs a value, DIR, but '--json' follows (a value that begins so: --dir=--...)"},
        {"j --json=yes", "--json takes no value, but 'yes' was given"},
        {"j --device gpu", "--device: 'gpu' is not one of auto|cpu|cuda"},
        {"j --device=auto|cpu", "--device: 'auto|cpu' is not one of auto|cpu|cuda"},
        {"j --device=", "--device: '' is not one of auto|cpu|cuda"},
        {"j --ranks 0", "--ranks: '0' is not a whole number from 1 to 64"},
        {"j --ranks 65", "--ranks: '65' is not a whole number from 1 to 64"},
        {"j --ranks 3x", "--ranks: '3x' is not a whole number from 1 to 64"},
        {"j --ranks=", "--ranks: '' is not a whole number from 1 to 64"},
        {"j --seed 99999999999999999999", "--seed: '99999999999999999999' is not a whole number"},
        {"j --seed 1.5", "--seed: '1.5' is not a whole number"},
        {"j --fill 1.01", "--fill: '1.01' is not a number from 0 to 1"},
        {"j --fill nan", "--fill: 'nan' is not a number from 0 to 1"},
        {"j --fill 0x1p-1", "--fill: '0x1p-1' is not a number from 0 to 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        struct error e;
        assert_int_equal(read_line(&v, cases[i].line, &e), -1);
        assert_string_equal(e.text, cases[i].says);
        assert_int_equal(e.code, ERR_INVALID);
        values_free(&v);
    }
}

static void test_too_many(void **state)
{
    (void)state;
    const char *job = NULL;
    const struct option_operand operands[] = {{"JOB", "the job", .value = &job}, {0}};
    const struct usage usage = {"x", "y", NULL, operands, "x a", NULL};
    char *argv[] = {(char *)"x", (char *)"a", (char *)"b"};
    struct error e;
    assert_int_equal(options_read(&usage, 3, argv, &e), -1);
    assert_string_equal(e.text, "'b' is one argument too many");
    assert_int_equal(options_read(&usage, 2, argv, &e), 0);
}

static void test_help(void **state)
{
    (void)state;
    struct values v;
    values_init(&v);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    v.usage.notes = "A paragraph that is longer than a line of help may be, and so goes on in the next line, where "
                    "what is left of it fits.\nAnother.";
    options_print_help(&v.usage, f);
    fclose(f);
    assert_string_equal(text, "islrd try: an attempt\n\n"
                              "usage: islrd try [OPTION..] JOB.yaml [KEY=VALUE..]\n\n"
                              "  JOB.yaml                    the job\n"
                              "  KEY=VALUE                   changes\n"
                              "  --json                      one document\n"
                              "  -f                          go on\n"
                              "  --dir DIR                   where (default /var/lib)\n"
                              "  --device auto|cpu|cuda      on what (default auto)\n"
                              "  -n, --ranks N               how many (default 1)\n"
                              "  --seed S                    of the draws (default by the clock)\n"
                              "  --fill F                    share (default 0.5)\n"
                              "  --model FILE                a model (may be given several times)\n"
                              "  -h, --help                  this text\n\n"
                              "A paragraph that is longer than a line of help may be, and so goes on in the next "
                              "line, where what is left of\nit fits.\nAnother.\n\n"
                              "example:\n  islrd try a\n  islrd try b\n");
    free(text);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(nearest_distance("", ""), 0);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("ab", "ba"), 1);
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("Batch", "batch"), 0);
    static const char *const names[] = {"batch", "epochs", NULL, "dropout_mlp", "eps", "p"};
    assert_string_equal(nearest_name("bacth", names, 6), "batch");
    assert_string_equal(nearest_name("epoch", names, 6), "epochs");
    assert_string_equal(nearest_name("dropout", names, 6), "dropout_mlp");
    assert_null(nearest_name("q", names, 6));
    assert_null(nearest_name("elephant", names, 6));
    assert_null(nearest_name("", names, 6));
    char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_null(nearest_name(longest, names, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_too_many), cmocka_unit_test(test_help),
                                       cmocka_unit_test(test_nearest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
