// Conditions on runs: what is understood, what is refused, and how it is said.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/store/where.h"

static int is_metric(void *context, const char *name)
{
    (void)context;
    return !strcmp(name, "lr");
}

// Writes a node back in prefix form.
static void show(const struct where *w, int at, char *out, size_t size)
{
    const struct where_node *n = &w->nodes[at];
    size_t length = strlen(out);
    if (n->kind == WHERE_COMPARE) {
        const char *op = where_operator_sql(n->op);
        if (n->field && n->field->type == WHERE_TEXT)
            snprintf(out + length, size - length, "(%s %s '%s')", op, n->name, n->text);
        else
            snprintf(out + length, size - length, "(%s %s %g)", op, n->name, n->number);
        return;
    }
    snprintf(out + length, size - length, n->kind == WHERE_AND ? "(and " : n->kind == WHERE_OR ? "(or " : "(not ");
    show(w, n->left, out, size);
    if (n->kind != WHERE_NOT)
        show(w, n->right, out, size);
    strncat(out, ")", size - strlen(out) - 1);
}

static void test_meaning(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"accuracy/soup>0.7", "(> accuracy/soup 0.7)"},
        {" accuracy/soup >= .7 and steps>=100 ", "(and (>= accuracy/soup 0.7)(>= steps 100))"},
        {"lr<1e-3", "(< lr 0.001)"},
        {"run=1 or run=2 and run=3", "(or (= run 1)(and (= run 2)(= run 3)))"},
        {"(run=1 or run=2) and not run!=3", "(and (or (= run 1)(= run 2))(not (<> run 3)))"},
        {"not not user=ann", "(not (not (= user 'ann')))"},
        {"state=failed", "(= state 6)"},
        {"name~l25-*", "(GLOB name 'l25-*')"},
        {"name=\"a b = c\" and user==b", "(and (= name 'a b = c')(= user 'b'))"},
        {"step<-5", "(< step -5)"},
        {"nothing/order>1", "(> nothing/order 1)"},
        {"name=andrea and user=orson", "(and (= name 'andrea')(= user 'orson'))"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct where w;
        struct error e;
        char text[1000] = "";
        if (where_parse(rows[i][0], is_metric, NULL, &w, &e))
            fail_msg("%s: %s", rows[i][0], e.text);
        show(&w, w.root, text, sizeof text);
        assert_string_equal(text, rows[i][1]);
        where_free(&w);
    }
}

static void test_faults(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "character 1 (): expected the name"},
        {"stat=failed", "did you mean 'state'?"},
        {"bogus>1", "no run has a field or metric 'bogus'"},
        {"step 5", "character 6 (step 5): expected one of"},
        {"step>", "expected a value"},
        {"step>many", "expected a number"},
        {"step>nan", "expected a number"},
        {"step>1e999", "expected a number"},
        {"step~5", "~ compares texts"},
        {"name<a", "a text can only"},
        {"state>failed", "a state can only"},
        {"state=done", "expected a state"},
        {"(step>1", "expected )"},
        {"step>1)", "expected 'and', 'or' or the end"},
        {"step>1 step>2", "expected 'and', 'or' or the end"},
        {"step>1 and", "expected the name"},
        {"name=\"open", "expected a value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct where w;
        struct error e;
        assert_int_equal(where_parse(rows[i][0], is_metric, NULL, &w, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        if (!strstr(e.text, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], e.text);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct where w;
    struct error e;
    char *text = malloc(20000);
    memset(text, '(', 4000);
    text[4000] = 0;
    assert_int_equal(where_parse(text, NULL, NULL, &w, &e), -1);
    assert_non_null(strstr(e.text, "nested too deeply"));
    text[0] = 0;
    for (int i = 0; i < 300; i++)
        strcat(text, i ? " or run=1" : "run=1");
    assert_int_equal(where_parse(text, NULL, NULL, &w, &e), -1);
    assert_non_null(strstr(e.text, "too many parts"));
    memset(text, 'a', WHERE_LENGTH_MAX + 1);
    text[WHERE_LENGTH_MAX + 1] = 0;
    assert_int_equal(where_parse(text, NULL, NULL, &w, &e), -1);
    assert_non_null(strstr(e.text, "longer than"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meaning), cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
