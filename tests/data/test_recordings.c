// train.csv, the sign map and fold files: what is read, and what is said of faulty ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/data/csv.h"
#include "core/data/folds.h"
#include "core/data/recordings.h"
#include "core/data/signs.h"
#include "tests/data/scratch.h"

// ---- CSV ------------------------------------------------------------------------------------------------------------

static void test_csv_quoting(void **state)
{
    char *path =
        scratch_write(state, "a.csv", "\xEF\xBB\xBF\"a\",b,\"c,\"\"d\"\"\"\r\n\r\n1,\"two\r\nlines\",\n\n\"\",x,\"3\"");
    struct csv c;
    struct error e;
    assert_int_equal(csv_open(&c, path, "a.csv", &e), 0);
    static const char *const names[] = {"c,\"d\"", "a"};
    int at[2];
    assert_int_equal(csv_columns(&c, 2, names, at, &e), 0);
    assert_int_equal(at[0], 2);
    assert_int_equal(at[1], 0);
    assert_int_equal(csv_next(&c, &e), 1);
    assert_int_equal(c.line, 3);
    assert_string_equal(c.field[0], "1");
    assert_string_equal(c.field[1], "two\r\nlines");
    assert_string_equal(c.field[2], "");
    assert_int_equal(csv_next(&c, &e), 1);
    assert_int_equal(c.line, 6);
    assert_string_equal(c.field[0], "");
    assert_string_equal(c.field[1], "x");
    assert_string_equal(c.field[2], "3");
    assert_int_equal(csv_next(&c, &e), 0);
    assert_int_equal(csv_next(&c, &e), 0);
    csv_close(&c);
    free(path);
}

static void test_csv_faults(void **state)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {{"a,b\n1,2\n3\n", "f.csv, line 3: 1 fields where the header has 2"},
                 {"a,b\n1,2,3\n", "f.csv, line 2: 3 fields where the header has 2"},
                 {"a,b\n\"1\n\n,2\n", "f.csv, line 2: a quoted field has no end"},
                 {"a,b\n1\"x,2\n", "f.csv, line 2: a quote inside an unquoted field"},
                 {"a,b\n\n\"1\"x,2\n", "f.csv, line 3: text behind a quoted field"},
                 {"", "f.csv is empty"},
                 {"\n\r\n", "f.csv is empty"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_write(state, "f.csv", cases[i].text);
        struct csv c;
        struct error e = {0};
        int rc = csv_open(&c, path, "f.csv", &e);
        while (!rc && (rc = csv_next(&c, &e)) > 0)
            rc = 0;
        csv_close(&c);
        assert_int_equal(rc, -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_string_equal(e.text, cases[i].fault);
        free(path);
    }
    char *path = scratch_path(state, "f.csv");
    scratch_write_bytes(path, "a,b\n1,\0002\n", 10);
    struct csv c;
    struct error e;
    assert_int_equal(csv_open(&c, path, "f.csv", &e), -1);
    assert_non_null(strstr(e.text, "zero byte"));
    free(path);
}

static void test_csv_integers(void **state)
{
    (void)state;
    int64_t v;
    assert_int_equal(csv_integer("-9223372036854775808", &v), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(csv_integer("4294967290", &v), 0);
    static const char *const bad[] = {"", " 1", "1 ", "1.0", "+1", "9223372036854775808", "0x1", "-", "one"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(csv_integer(bad[i], &v), -1);
}

// ---- sign map -------------------------------------------------------------------------------------------------------

static void test_signs(void **state)
{
    char *path = scratch_write(state, SIGNS_FILE, "\xEF\xBB\xBF{\"b\": 0, \"a\": 2, \"\xC3\xA9t\xC3\xA9\": 1}");
    int count;
    char **names;
    struct error e;
    assert_int_equal(signs_read(path, &count, &names, NULL, &e), 0);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "\xC3\xA9t\xC3\xA9");
    struct sign_index *index = sign_index_create(count, names);
    assert_int_equal(sign_index_find(index, "a"), 2);
    assert_int_equal(sign_index_find(index, "c"), -1);
    sign_index_free(index);
    signs_free(count, names);
    free(path);
}

static void test_sign_faults(void **state)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {{"{\"a\": 0,\n \"b\": 2}", "the class index 2 of \"b\" is outside 0..1"},
                 {"{\"a\": 0, \"b\": -1}", "the class index -1"},
                 {"{\"a\": 0, \"b\": 0}", "have the same class index 0"},
                 {"{\"a\": 0.5}", "the class index of \"a\" is not an integer"},
                 {"{\"a\": \"0\"}", "is not an integer"},
                 {"{\"a\": 0,\n \"a\": 1}", "line 2, column"},
                 {"{\"a\": 0", "line 1, column"},
                 {"[0]", "is not an object"},
                 {"{}", "is not an object of 1 to"},
                 {"", "line 1"},
                 {"{\"a\\nb\": 0}", "control characters"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_write(state, SIGNS_FILE, cases[i].text);
        int count;
        char **names;
        struct error e = {0};
        assert_int_equal(signs_read(path, &count, &names, NULL, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        if (!strstr(e.text, cases[i].fault))
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].fault);
        free(path);
    }
}

// ---- the layout -----------------------------------------------------------------------------------------------------

static struct recordings *read_layout(void **state, const char *csv, struct error *e)
{
    free(scratch_write(state, SIGNS_FILE, "{\"yes\": 1, \"no\": 0}"));
    free(scratch_write(state, "train.csv", csv));
    return recordings_read(*state, 2, e);
}

static void make_recordings(void **state)
{
    char *directory = scratch_path(state, "clips/1");
    struct error e;
    assert_int_equal(file_make_dirs(directory, &e), 0);
    free(directory);
    free(scratch_write(state, "clips/1/10.parquet", "x"));
    free(scratch_write(state, "clips/1/11, b.parquet", "xyz"));
}

static void test_layout(void **state)
{
    make_recordings(state);
    struct error e;
    struct recordings *r = read_layout(state,
                                       "sign,extra,sequence_id,path,participant_id\r\n"
                                       "yes,?,10,clips/1/10.parquet,1\r\n"
                                       "no,,4294967290,\"clips/1/11, b.parquet\",1\r\n",
                                       &e);
    if (!r)
        fail_msg("%s", e.text);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->sign_count, 2);
    assert_string_equal(r->signs[1], "yes");
    assert_int_equal(r->clips[0].label, 1);
    assert_int_equal(r->clips[1].label, 0);
    assert_int_equal(r->clips[1].line, 3);
    assert_true(r->clips[1].sequence == 4294967290);
    assert_string_equal(r->clips[1].path, "clips/1/11, b.parquet");
    assert_int_equal(r->clips[1].bytes, 3);
    assert_true(r->clips[1].modified > 0);
    recordings_free(r);
}

static void expect_layout_fault(void **state, const char *csv, const char *fault)
{
    struct error e = {0};
    struct recordings *r = read_layout(state, csv, &e);
    assert_null(r);
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.text, fault))
        fail_msg("\"%s\" does not say \"%s\"", e.text, fault);
}

static void test_layout_faults(void **state)
{
#define HEADER "path,participant_id,sequence_id,sign\n"
#define CLIP   "clips/1/10.parquet,1,10,yes\n"
    make_recordings(state);
    expect_layout_fault(state, "path,participant_id,sequence_id\n", "line 1: the header lacks sign");
    expect_layout_fault(state, HEADER, "names no clips");
    expect_layout_fault(state, HEADER "clips/1/10.parquet,1,10\n", "line 2: 3 fields");
    expect_layout_fault(state, HEADER "clips/1/10.parquet,1,10,maybe\n",
                        "train.csv, line 2: the sign \"maybe\" is not in " SIGNS_FILE);
    expect_layout_fault(state, HEADER CLIP "clips/1/12.parquet,1,12,yes\n",
                        "line 3: clips/1/12.parquet: No such file or directory");
    expect_layout_fault(state, HEADER CLIP "clips/1,1,12,yes\n", "line 3: clips/1: not a regular file");
    expect_layout_fault(state, HEADER CLIP "\n" CLIP, "line 4: the clip 1/10 stands in line 2 already");
    expect_layout_fault(state, HEADER CLIP "clips/1/10.parquet,1,11,yes\n",
                        "line 3: the file clips/1/10.parquet stands in line 2 already");
    expect_layout_fault(state, HEADER "clips/1/10.parquet,P1,10,yes\n", "line 2: participant_id \"P1\" is not");
    expect_layout_fault(state, HEADER "clips/1/10.parquet,1,1e3,yes\n", "line 2: sequence_id \"1e3\" is not");
    static const char *const escapes[] = {"../10.parquet", "/etc/passwd", "clips/../../x", "clips/..", ""};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        char *csv = xprintf("%s%s,1,10,yes\n", HEADER, escapes[i]);
        expect_layout_fault(state, csv, "does not lie in the data directory");
        free(csv);
    }
    expect_layout_fault(state, HEADER "\"clips/1\n/10.parquet\",1,10,yes\n", "line 2: the path is not UTF-8, or has");
    expect_layout_fault(state, HEADER "clips/\xFF,1,10,yes\n", "line 2: the path is not UTF-8, or has");
}

static void test_all_faults_at_once(void **state)
{
    make_recordings(state);
    expect_layout_fault(state, HEADER "a,1,1,maybe\nclips/1/10.parquet,x,y,yes\n" CLIP "b,2,2,no\n",
                        "has 4 faults:\n"
                        "  line 2: the sign \"maybe\" is not in " SIGNS_FILE "\n"
                        "  line 3: participant_id \"x\" is not an integer\n"
                        "  line 3: sequence_id \"y\" is not an integer\n"
                        "  line 5: b: No such file or directory");
    struct strbuf csv = {0};
    strbuf_printf(&csv, HEADER);
    for (int i = 0; i < 300; i++)
        strbuf_printf(&csv, "x%d,1,%d,yes\n", i, i);
    expect_layout_fault(state, csv.text, "line 11: x9: No such file or directory\n  and 290 more");
    free(csv.text);
}

static void test_layout_without_files(void **state)
{
    struct error e = {0};
    assert_null(recordings_read("/nonexistent", 1, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "/nonexistent/"));
    char *directory = scratch_path(state, "no-csv");
    assert_int_equal(file_make_dirs(directory, &e), 0);
    free(scratch_write(state, "no-csv/" SIGNS_FILE, "{\"yes\": 0}"));
    assert_null(recordings_read(directory, 1, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "no-csv/train.csv"));
    free(directory);
}

// ---- fold files -----------------------------------------------------------------------------------------------------

static const struct recording clips[] = {{.participant = 1, .sequence = 10, .line = 2},
                                         {.participant = 1, .sequence = 11, .line = 3},
                                         {.participant = 2, .sequence = 10, .line = 4}};

static void test_fold_file(void **state)
{
    char *path =
        scratch_write(state, "folds.csv", "fold,participant_id,sequence_id\n2,2,10\n0,1,11\n1,1,10\n3,99,99\n");
    int k = 0, folds[3];
    struct hash hash;
    struct error e;
    assert_int_equal(folds_read(clips, 3, path, &k, folds, &hash, &e), -1); // fold 3 has none of the three
    assert_non_null(strstr(e.text, "no clip is in fold 3"));
    k = 3;
    if (folds_read(clips, 3, path, &k, folds, &hash, &e))
        fail_msg("%s", e.text);
    assert_int_equal(k, 3);
    assert_int_equal(folds[0], 1);
    assert_int_equal(folds[1], 0);
    assert_int_equal(folds[2], 2);
    free(path);
}

static void test_fold_file_faults(void **state)
{
    static const struct {
        const char *text, *fault;
        int k;
    } cases[] = {{"1,10,0\n1,11,1\n", "lacks 1 of the 3 clips, the first: 2/10 (line 4 of train.csv)", 0},
                 {"1,10,0\n1,11,1\n2,10,1\n1,10,0\n", "line 5: the clip 1/10 stands in line 2 already", 0},
                 {"1,10,0\n1,11,1\n2,10,2\n", "line 4: fold 2 is outside 0..1 (2 folds are wanted)", 2},
                 {"1,10,0\n1,11,1\n2,10,1\n", "no clip is in fold 2 (4 folds are wanted)", 4},
                 {"1,10,0\n1,11,0\n2,10,0\n", "names fewer than two folds", 0},
                 {"", "names fewer than two folds", 0},
                 {"1,10,-1\n", "line 2: fold -1 is outside", 0},
                 {"1,10,a\n", "line 2: fold \"a\" is not an integer", 0},
                 {"1,10\n", "line 2: 2 fields", 0},
                 {"1,10,1000\n", "line 2: fold 1000 is outside", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = xprintf("participant_id,sequence_id,fold\n%s", cases[i].text);
        char *path = scratch_write(state, "folds.csv", text);
        int k = cases[i].k, folds[3];
        struct hash hash;
        struct error e = {0};
        assert_int_equal(folds_read(clips, 3, path, &k, folds, &hash, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        if (!strstr(e.text, cases[i].fault))
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].fault);
        free(path);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_quoting),          cmocka_unit_test(test_csv_faults),
        cmocka_unit_test(test_csv_integers),         cmocka_unit_test(test_signs),
        cmocka_unit_test(test_sign_faults),          cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_faults),        cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_layout_without_files), cmocka_unit_test(test_fold_file),
        cmocka_unit_test(test_fold_file_faults)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
