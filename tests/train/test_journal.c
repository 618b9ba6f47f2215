// The journal of a run that goes on: what it keeps of the part before, however long that was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/journal.h"

static const char line_format[] = "{\"step\": %d, \"epoch\": 1.5, \"time\": 1.000, \"loss/student\": 2.123456789, "
                                  "\"ce/student\": 2.123456789, \"consistency/student\": 0.123456789}\n";

static char *make_path(void)
{
    char *path = xstrdup("/tmp/islr-test-journal-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

static void write_text(const char *path, const struct strbuf *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text->text, 1, text->length, f), text->length);
    fclose(f);
}

// Opens the journal after `step` and returns what is in it then, to free().
static char *reopen(const char *path, uint64_t step)
{
    struct journal j;
    struct error e;
    char *text;
    size_t size;
    if (journal_open(&j, path, step, &e))
        fail_msg("%s", e.text);
    journal_close(&j);
    assert_int_equal(file_read(path, (size_t)1 << 30, &text, &size, &e), 0);
    assert_int_equal(strlen(text), size);
    return text;
}

static void test_what_is_kept(void **state)
{
    (void)state;
    char *path = make_path();
    struct strbuf text = {0};
    strbuf_printf(&text, "{\"step\": 1, \"a\": 1}\n{\"step\": 2, \"a\": 1}\n{\"step\": 2, \"accuracy/soup\": 1}\n"
                         "no line of a step\n{\"step\": 3}\n{\"step\": 10, \"a\": 1}\n{\"step\": 3, \"a\": 1");
    write_text(path, &text);
    char *kept = reopen(path, 2);
    assert_string_equal(kept,
                        "{\"step\": 1, \"a\": 1}\n{\"step\": 2, \"a\": 1}\n{\"step\": 2, \"accuracy/soup\": 1}\n");
    free(kept);
    kept = reopen(path, 0);
    assert_string_equal(kept, "");
    unlink(path);
    free(kept);
    free(text.text);
    free(path);
}

// Were every line looked at together with all behind it, this took an hour.
static void test_long_run(void **state)
{
    (void)state;
    enum { STEPS = 400000 };
    char *path = make_path();
    struct strbuf text = {0};
    size_t wanted = 0;
    for (int i = 1; i <= STEPS; i++) {
        strbuf_printf(&text, line_format, i);
        if (i == STEPS - 1)
            wanted = text.length;
    }
    write_text(path, &text);
    char *kept = reopen(path, STEPS - 1);
    assert_int_equal(strlen(kept), wanted);
    assert_memory_equal(kept, text.text, wanted);
    unlink(path);
    free(kept);
    free(text.text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_kept), cmocka_unit_test(test_long_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
