// Following: over broken connections nothing is lost, doubled or out of order; the end is the run's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "tests/client/scripted.h"

static void expect(struct outcome o, int code, const char *out, const char *err)
{
    if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
        fail_msg("exit %d, not %d; expected out '%s' err '%s'\nstdout: %s\nstderr: %s", o.code, code, out ? out : "",
                 err ? err : "", o.out, o.err);
    outcome_free(&o);
}

// Every line is an object; returns how many there are, checking that "seq" grows.
static size_t count_lines(const char *text, const char *key, uint64_t first)
{
    size_t lines = 0;
    long long last = 0;
    while (*text) {
        size_t n = strcspn(text, "\n");
        json_error_t e;
        json_t *j = json_loadb(text, n, 0, &e);
        assert_non_null(j);
        long long seq = json_integer_value(json_object_get(j, "seq"));
        assert_true(seq > last);
        assert_true(lines || (uint64_t)seq >= first);
        assert_true(json_object_get(j, key) || json_object_get(j, "state"));
        last = seq;
        lines++;
        json_decref(j);
        text += n + 1;
    }
    return lines;
}

static void logs_and_metrics_across_breaks(void **state)
{
    struct scripted s = {.runs = 1, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .records = 1001};
    (void)state;
    scripted_open(&s);
    struct outcome whole = RUN(&s, "logs", "1", "--json"), whole_metrics = RUN(&s, "metrics", "1", "--json");
    assert_int_equal(whole.code, 0);
    assert_int_equal(count_lines(whole.out, "log", 1), 190 + 2);
    assert_int_equal(count_lines(whole_metrics.out, "values", 1), 1001 - 190 - 2);
    s.break_follow = 7;
    s.repeat_records = 3; // and the server repeats itself
    s.follows = 0;
    struct outcome pieces = RUN(&s, "logs", "1", "-f", "--json");
    assert_int_equal(pieces.code, 0);
    assert_true(s.follows > 20);
    assert_string_equal(pieces.out, whole.out);
    assert_non_null(strstr(pieces.err, "away"));
    assert_non_null(strstr(pieces.err, "back"));
    outcome_free(&pieces);
    s.break_follow = 100;
    pieces = RUN(&s, "metrics", "1", "-f", "--json");
    assert_int_equal(pieces.code, 0);
    assert_string_equal(pieces.out, whole_metrics.out);
    outcome_free(&pieces);
    outcome_free(&whole);
    outcome_free(&whole_metrics);
    scripted_close(&s);
}

// The lines that begin with `prefix` ("" for those of the group), without it; free() it.
static char *lines_of(const char *text, const char *prefix)
{
    char *out = calloc(1, strlen(text) + 1);
    for (const char *end; *text; text = end) {
        end = text + strcspn(text, "\n") + 1;
        const char *bar = memchr(text, '|', (size_t)(end - text));
        size_t n = bar ? (size_t)(bar - text) : 0;
        if (n == strlen(prefix) && !strncmp(text, prefix, n))
            strncat(out, bar ? bar + 2 : text, (size_t)(end - (bar ? bar + 2 : text)));
    }
    return out;
}

// What the runs of a group say comes with what it says itself, each run's in its order, nothing lost and nothing twice.
static void groups_speak_with_their_runs(void **state)
{
    struct scripted s = {.runs = 9, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .records = 41, .group = 9};
    static const char *const names[] = {"", "1", "2", "3"};
    (void)state;
    scripted_open(&s);
    struct outcome alone = RUN(&s, "logs", "1");
    s.members = 3;
    for (int round = 0; round < 3; round++) {
        s.break_follow = round == 2 ? 5 : 0;
        struct outcome o = round ? RUN(&s, "logs", "9", "-f") : RUN(&s, "logs", "9");
        assert_int_equal(o.code, 0);
        for (size_t i = 0; i < 4; i++) {
            char *lines = lines_of(o.out, names[i]);
            assert_string_equal(lines, alone.out);
            free(lines);
        }
        outcome_free(&o);
    }
    s.break_follow = 0;
    expect(RUN(&s, "logs", "9", "--json"), 0, "{\"run\": 3, \"seq\": ", NULL);
    expect(RUN(&s, "watch", "9"), 0, "\n2| ", NULL);
    outcome_free(&alone);
    scripted_close(&s);
}

// A run of the group that fails and is retried while the group goes on says the rest too, nothing twice, however many runs
// have begun after it.
static void retried_runs_are_taken_up_again(void **state)
{
    struct scripted s = {.runs = 60, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .records = 41, .group = 60};
    (void)state;
    scripted_open(&s);
    struct outcome alone = RUN(&s, "logs", "1");
    s.members = 50;
    s.retried = 3;
    struct outcome o = RUN(&s, "logs", "60", "-f");
    assert_int_equal(o.code, 0);
    assert_int_equal(s.retries, 2);
    for (int run = 1; run <= 50; run++) {
        char prefix[12];
        snprintf(prefix, sizeof prefix, "%d", run);
        char *lines = lines_of(o.out, prefix);
        assert_string_equal(lines, alone.out);
        free(lines);
    }
    outcome_free(&o);
    outcome_free(&alone);
    scripted_close(&s);
}

static void since_begins_behind_a_number(void **state)
{
    struct scripted s = {.runs = 1, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .records = 101};
    (void)state;
    scripted_open(&s);
    struct outcome o = RUN(&s, "logs", "1", "--since", "50", "--json");
    assert_int_equal(count_lines(o.out, "log", 51), 9 + 1);
    outcome_free(&o);
    expect(RUN(&s, "logs", "1", "--since", "-1"), 2, NULL, "--since");
    scripted_close(&s);
}

static void metrics_in_other_forms(void **state)
{
    struct scripted s = {.runs = 1, .state = ISLR__RUN_STATE__RUN_RUNNING, .records = 200};
    (void)state;
    scripted_open(&s);
    struct outcome o = RUN(&s, "metrics", "1", "--csv", "-e");
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "seq,time_ms,attempt,step,epoch,evaluation,metric,value\n"
                               "100,1772366410000,1,100,1,1,\"accuracy/student\",0.5\n"
                               "100,1772366410000,1,100,1,1,\"loss/valid\",2.5\n"
                               "200,1772366420000,1,200,2,1,\"accuracy/student\",0.5\n"
                               "200,1772366420000,1,200,2,1,\"loss/valid\",2.5\n");
    outcome_free(&o);
    expect(RUN(&s, "metrics", "1", "-m", "accuracy/*"), 0, "evaluation  step 100  epoch 1  accuracy/student 0.5\n",
           NULL);
    o = RUN(&s, "metrics", "1", "-m", "nothing");
    assert_string_equal(o.out, "");
    outcome_free(&o);
    scripted_close(&s);
}

static void exit_status_is_the_runs(void **state)
{
    static const struct {
        Islr__RunState state;
        int follow, wait;
    } rows[] = {{ISLR__RUN_STATE__RUN_SUCCEEDED, 0, 0},
                {ISLR__RUN_STATE__RUN_FAILED, 1, 1},
                {ISLR__RUN_STATE__RUN_CANCELLED, 130, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scripted s = {.runs = 2, .state = rows[i].state, .reason = "because", .records = 50, .break_follow = 9};
        scripted_open(&s);
        expect(RUN(&s, "logs", "1", "-f"), rows[i].follow, "because", NULL);
        expect(RUN(&s, "metrics", "1", "-f"), rows[i].follow, NULL, NULL);
        expect(RUN(&s, "watch", "1"), rows[i].follow, "because", NULL);
        expect(RUN(&s, "wait", "1", "2"), rows[i].wait, NULL, "because");
        expect(RUN(&s, "logs", "1"), 0, NULL, NULL);
        scripted_close(&s);
    }
}

static void unknown_run(void **state)
{
    struct scripted s = {.runs = 1};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "logs", "9"), 3, NULL, "there is no such run");
    expect(RUN(&s, "metrics", "9", "-f"), 3, NULL, "there is no such run");
    expect(RUN(&s, "watch", "9"), 3, NULL, "there is no such run");
    scripted_close(&s);
}

static void waits_across_breaks_and_gives_up_in_time(void **state)
{
    struct scripted s = {.runs = 3, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .end_after_follows = 5};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "wait", "1", "3", "--json"), 0,
           "{\"runs\": [{\"run\": 1, \"state\": \"succeeded\", \"reason\": \"\"}, {\"run\": 3,", "away");
    s.silent = 1;
    expect(RUN(&s, "wait", "1", "--timeout", "1", "--json"), 6, "\"state\": null", "in time");
    scripted_close(&s);
}

// A server that is held up takes connections and answers nothing: the client's word for that is another one than for a
// server that is not there.
static void waits_for_a_server_that_is_mute(void **state)
{
    struct scripted s = {.runs = 3, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .end_after_follows = 4, .mute_hello = 3};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "wait", "1", "3"), 0, NULL, "the server is back\nrun 1: succeeded\nrun 3: succeeded\n");
    assert_int_equal(s.hellos, 4);
    scripted_close(&s);
}

// .. and no longer than it was told to: neither for a greeting nor for an answer, with the first connection or a later one.
static void gives_up_on_a_mute_server_in_time(void **state)
{
    static const struct {
        int mute_hello, mute_get, silent, end_after;
        const char *run, *says;
    } rows[] = {
        {.mute_hello = 1, .run = "1", .says = "does not answer"},
        {.mute_hello = 2, .run = "1", .says = "in time, and the server is away"},
        {.mute_get = 1, .run = "@last", .says = "in time"},
        {.silent = 1, .run = "1", .says = "in time"},
        {.mute_hello = 3, .end_after = 4, .run = "1", .says = "in time, and the server is away"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scripted s = {.runs = 3,
                             .mute_hello = rows[i].mute_hello,
                             .mute_get = rows[i].mute_get,
                             .silent = rows[i].silent,
                             .end_after_follows = rows[i].end_after};
        scripted_open(&s);
        double begun = clock_seconds();
        expect(RUN(&s, "wait", rows[i].run, "--timeout", "1"), 6, NULL, rows[i].says);
        double took = clock_seconds() - begun;
        assert_true(took > 0.9 && took < 9.5); // a greeting is waited for ten seconds else, an answer thirty
        scripted_close(&s);
    }
}

static void submit_and_follow(void **state)
{
    struct scripted s = {.state = ISLR__RUN_STATE__RUN_SUCCEEDED, .records = 301, .break_follow = 40};
    char job[128];
    (void)state;
    scripted_open(&s);
    snprintf(job, sizeof job, "%s/job.yaml", s.rig.directory);
    assert_int_equal(file_write_atomic(job, "data: {path: x}\n", 16, NULL), 0);
    struct outcome o = RUN(&s, "submit", job, "--follow");
    assert_int_equal(o.code, 0);
    assert_int_equal(strncmp(o.out, "1\nrun 1: running\nline 5 \x1b]0;title\a\nline 10", 38), 0); // as it is in a pipe
    assert_non_null(strstr(o.out, "epoch 3  step 300  accuracy/student 0.5000  loss/valid 2.5000\n"));
    assert_non_null(strstr(o.out, "run 1: succeeded\n"));
    size_t lines = 0;
    for (const char *at = o.out; (at = strstr(at, "line ")); at++)
        lines++;
    assert_int_equal(lines, 57);
    outcome_free(&o);
    expect(RUN(&s, "submit", job, "--follow", "--json"), 0,
           "{\"run\": 2, \"existed\": false, \"state\": \"succeeded\", \"reason\": \"\"}\n", NULL);
    expect(RUN(&s, "submit", job, "--wait"), 0, "3\n", NULL);
    s.state = ISLR__RUN_STATE__RUN_FAILED;
    s.reason = "loss is not finite";
    expect(RUN(&s, "submit", job, "--wait"), 1, "4\n", "loss is not finite");
    unlink(job);
    scripted_close(&s);
}

static int shows_progress(const struct scripted *s, const char *out)
{
    (void)s;
    return strstr(out, " left") != NULL;
}

static void terminal_shows_one_line_and_safe_text(void **state)
{
    struct scripted s = {.runs = 1, .state = ISLR__RUN_STATE__RUN_RUNNING, .records = 250, .silent = 1};
    (void)state;
    scripted_open(&s);
    struct outcome o = scripted_run_on_terminal(&s, shows_progress, (const char *const[]){"watch", "1", NULL});
    assert_int_equal(o.code, 130); // ctrl-c
    assert_non_null(strstr(o.out, "run 1 goes on without you"));
    assert_non_null(strstr(o.out, "islrctl watch 1"));
    assert_non_null(strstr(o.out, "\rrun 1  epoch 3/15  step 250/500  loss 3.25  distilled 2.5  1234 clips/s"));
    assert_non_null(strstr(o.out, " left"));
    assert_non_null(strstr(o.out, "line 5 ?]0;title?\r\n"));
    assert_null(strstr(o.out, "\x1b]"));
    outcome_free(&o);
    scripted_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_and_metrics_across_breaks),
        cmocka_unit_test(groups_speak_with_their_runs),
        cmocka_unit_test(retried_runs_are_taken_up_again),
        cmocka_unit_test(since_begins_behind_a_number),
        cmocka_unit_test(metrics_in_other_forms),
        cmocka_unit_test(exit_status_is_the_runs),
        cmocka_unit_test(unknown_run),
        cmocka_unit_test(waits_across_breaks_and_gives_up_in_time),
        cmocka_unit_test(waits_for_a_server_that_is_mute),
        cmocka_unit_test(gives_up_on_a_mute_server_in_time),
        cmocka_unit_test(submit_and_follow),
        cmocka_unit_test(terminal_shows_one_line_and_safe_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
