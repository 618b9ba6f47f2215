// Figures over logits, and how the journal tells those that are not finite.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/train/evaluate.h"
#include "core/train/journal.h"
#include "tests/train/small_set.h"

enum { CLASSES = 6 };

static struct figures figures_of(struct set *set, const float logits[CLASSES])
{
    const uint32_t clip = 0;
    assert_int_equal(set_clip(set, 0)->label, 0);
    return evaluate_figures(set, &clip, 1, logits, CLASSES);
}

static void what_is_no_number_is_not_right(void **state)
{
    (void)state;
    struct set *set = small_set_make();
    struct figures f = figures_of(set, (float[CLASSES]){2, 1, 1, 1, 1, 1});
    assert_true(f.accuracy == 1 && f.top5 == 1 && isfinite(f.loss));
    f = figures_of(set, (float[CLASSES]){1, 1, 1, 1, 1, 1}); // ties go to the lower class
    assert_true(f.accuracy == 1);
    f = figures_of(set, (float[CLASSES]){NAN, NAN, NAN, NAN, NAN, NAN});
    assert_true(f.accuracy == 0 && f.top5 == 0 && isnan(f.loss));
    f = figures_of(set, (float[CLASSES]){2, NAN, 1, 1, 1, 1});
    assert_true(f.accuracy == 0 && f.top5 == 1 && isnan(f.loss));
    set_close(set);
}

static void the_journal_says_null(void **state)
{
    (void)state;
    struct error e = {0};
    struct journal j;
    char path[] = "/tmp/islr-test-figures-XXXXXX", *text;
    size_t size;
    const struct sink_metric metrics[] = {{"loss/valid", NAN}, {"lr", 0.5}};
    close(mkstemp(path));
    assert_int_equal(journal_open(&j, path, 0, &e), 0);
    journal_write(&j, &(struct sink_metrics){.step = 1, .epoch = 1, .count = 2, .metrics = metrics});
    assert_int_equal(journal_flush(&j, &e), 0);
    journal_close(&j);
    assert_int_equal(file_read(path, 1000, &text, &size, &e), 0);
    assert_non_null(strstr(text, ", \"loss/valid\": null, \"lr\": 0.5}\n"));
    free(text);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_no_number_is_not_right),
                                       cmocka_unit_test(the_journal_says_null)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
