// What surrounds islrctl: closed descriptors, arguments that are no text, texts of others on a terminal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "tests/client/scripted.h"

static void expect(struct outcome o, int code, const char *out, const char *err)
{
    if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
        fail_msg("exit %d, not %d; expected out '%s' err '%s'\nstdout: %s\nstderr: %s", o.code, code, out ? out : "",
                 err ? err : "", o.out, o.err);
    outcome_free(&o);
}

// `islrctl list` as a shell starts it with this redirection.
static struct outcome list_with(struct scripted *s, const char *redirection)
{
    char *program = xstrdup(getenv("ISLRCTL")), *path = file_join(s->rig.directory, "redirected");
    char *script = xprintf("#!/bin/sh\nexec '%s' \"$@\" %s\n", program, redirection);
    assert_int_equal(file_write_atomic(path, script, strlen(script), NULL), 0);
    assert_int_equal(chmod(path, 0700), 0);
    setenv("ISLRCTL", path, 1);
    struct outcome o = RUN(s, "list");
    setenv("ISLRCTL", program, 1);
    unlink(path);
    free(script);
    free(path);
    free(program);
    return o;
}

static void closed_descriptors(void **state)
{
    struct scripted s = {.runs = 2};
    (void)state;
    scripted_open(&s);
    expect(list_with(&s, "<&-"), 0, "queued", NULL);
    expect(list_with(&s, "2>&-"), 0, "queued", NULL);
    expect(list_with(&s, "<&- 2>&-"), 0, "queued", NULL);
    expect(list_with(&s, ">&-"), 1, NULL, "islrctl: cannot write the output: Bad file descriptor");
    expect(list_with(&s, "<&- >&- 2>&-"), 1, NULL, NULL);
    expect(list_with(&s, ">/dev/full"), 1, NULL, "islrctl: cannot write the output: No space left on device");
    scripted_close(&s);
}

// Named before anybody is asked; a file's name may have any bytes.
static void arguments_are_text(void **state)
{
    struct scripted s = {.runs = 2};
    char path[128];
    (void)state;
    scripted_open(&s);
    snprintf(path, sizeof path, "%s/j\xe4.yaml", s.rig.directory);
    assert_int_equal(file_write_atomic(path, "data: {path: x}\n", 16, NULL), 0);
    expect(RUN(&s, "submit", path, "--name", "caf\xe9"), 2, NULL, "--name: 'caf?' is not UTF-8 text");
    expect(RUN(&s, "submit", path, "--key", "\xff"), 2, NULL, "--key: '?' is not UTF-8 text");
    expect(RUN(&s, "submit", path, "name=\xe9"), 2, NULL, "KEY=VALUE: 'name=?' is not UTF-8 text");
    expect(RUN(&s, "list", "--name=\xc3"), 2, NULL, "--name: '?' is not UTF-8 text");
    expect(RUN(&s, "list", "-u", "a\xc3("), 2, NULL, "--user: 'a?(' is not UTF-8 text");
    expect(RUN(&s, "metrics", "1", "-m", "\x80"), 2, NULL, "--metric: '?' is not UTF-8 text");
    expect(RUN(&s, "show", "\xfe"), 2, NULL, "RUN: '?' is not UTF-8 text");
    assert_int_equal(s.hellos, 0);
    expect(RUN(&s, "submit", path, "--name", "caf\xc3\xa9"), 0, "3\n", NULL);
    assert_non_null(strstr(s.submitted, "caf\xc3\xa9"));
    unlink(path);
    scripted_close(&s);
}

// Of others' texts on a terminal nothing is left that moves the cursor or shows them otherwise than they are.
static void terminals_get_harmless_text(void **state)
{
    static const char *const waits[][5] = {{"wait", "1"}, {"show", "1"}, {"submit", NULL, "--wait"}};
    struct scripted s = {.runs = 1,
                         .state = ISLR__RUN_STATE__RUN_FAILED,
                         .reason = "lost \x1b[2J\xe2\x80\xaegpj.\xe2\x81\xa6\xc2\x9b\xef\xbb\xbf \xe2\x80\x8d\xc3\xa9"};
    char path[128];
    (void)state;
    scripted_open(&s);
    snprintf(path, sizeof path, "%s/job.yaml", s.rig.directory);
    assert_int_equal(file_write_atomic(path, "data: {path: x}\n", 16, NULL), 0);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        const char *arguments[] = {waits[i][0], waits[i][1] ? waits[i][1] : path, waits[i][2], NULL};
        struct outcome o = scripted_run_on_terminal(&s, NULL, arguments);
        if (!strstr(o.out, "lost ?[2J?gpj.??? \xe2\x80\x8d\xc3\xa9") || strchr(o.out, 0x1b))
            fail_msg("%s: %s", waits[i][0], o.out);
        outcome_free(&o);
    }
    struct outcome o = scripted_run_on_terminal(&s, NULL, (const char *const[]){"show", "\x1b]0;title\a", NULL});
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.out, "islrctl: '?]0;title?' does not name a run"));
    outcome_free(&o);
    expect(RUN(&s, "wait", "1"), 1, NULL, s.reason); // in a file it is as it was
    unlink(path);
    scripted_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_descriptors),
        cmocka_unit_test(arguments_are_text),
        cmocka_unit_test(terminals_get_harmless_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
