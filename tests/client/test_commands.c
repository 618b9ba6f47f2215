// islrctl's commands that ask one thing: what they send, print and end with.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/client/scripted.h"

static json_t *parse(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%s in: %s", e.text, text);
    return j;
}

static void expect(struct outcome o, int code, const char *out, const char *err)
{
    if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
        fail_msg("exit %d, not %d; expected out '%s' err '%s'\nstdout: %s\nstderr: %s", o.code, code, out ? out : "",
                 err ? err : "", o.out, o.err);
    outcome_free(&o);
}

static void every_command_has_help(void **state)
{
    static const char *const names[] = {
        "compare", "gc",   "plot",    "soup",  "submit", "list",        "show", "watch", "logs",  "metrics", "wait",
        "cancel",  "hold", "release", "retry", "set",    "checkpoints", "pull", "pin",   "unpin", "workers", "status"};
    struct scripted s = {0};
    (void)state;
    scripted_open(&s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct outcome o = RUN(&s, names[i], "--help");
        assert_int_equal(o.code, 0);
        assert_non_null(strstr(o.out, "example"));
        assert_non_null(strstr(o.out, strcmp(names[i], "watch") && strcmp(names[i], "plot") ? "--json" : names[i]));
        outcome_free(&o);
        expect(RUN(&s, names[i], "--no-such-option"), 2, NULL, "--no-such-option");
    }
    expect(RUN(&s, "sumbit"), 2, NULL, "submit");
    assert_int_equal(s.hellos, 0);
    scripted_close(&s);
}

static void list_shows_and_filters(void **state)
{
    struct scripted s = {.runs = 250, .state = ISLR__RUN_STATE__RUN_RUNNING};
    (void)state;
    scripted_open(&s);
    struct outcome o = RUN(&s, "list", "--limit", "1000", "--json");
    assert_int_equal(o.code, 0);
    json_t *j = parse(o.out), *runs = json_object_get(j, "runs");
    assert_int_equal(json_array_size(runs), 250);
    json_t *first = json_array_get(runs, 0), *last = json_array_get(runs, 249);
    assert_int_equal(json_integer_value(json_object_get(first, "run")), 250);
    assert_int_equal(json_integer_value(json_object_get(last, "run")), 1);
    assert_string_equal(json_string_value(json_object_get(first, "state")), "running");
    assert_string_equal(json_string_value(json_object_get(first, "submitted")), "2026-03-01T12:00:00.123Z");
    assert_true(json_is_null(json_object_get(first, "ended")));
    assert_string_equal(json_string_value(json_object_get(first, "name")), "name \x1b[31mred");
    assert_true(json_real_value(json_object_get(json_object_get(first, "final"), "accuracy/soup")) == 0.8125);
    json_decref(j);
    outcome_free(&o);
    expect(RUN(&s, "list"), 0, "0.8125", NULL);
    assert_string_equal(s.list_asked, "states=0 user= name= where= sort= limit=50 since=0");
    expect(RUN(&s, "list", "--state", "queued,running", "--user", "ada", "--name", "l*", "--where", "accuracy/soup>0.7",
               "--sort", "-step", "--limit", "7", "--since", "2h"),
           0, "running", NULL);
    assert_string_equal(s.list_asked, "states=2 user=ada name=l* where=accuracy/soup>0.7 sort=-step limit=7 since=1");
    expect(RUN(&s, "list", "--children"), 0, NULL, NULL);
    assert_int_equal(s.children_asked, 1);
    expect(RUN(&s, "list", "--parent", "12"), 0, NULL, NULL);
    assert_int_equal(s.parent_asked, 12);
    expect(RUN(&s, "list", "--parent", "x"), 2, NULL, "'x'");
    expect(RUN(&s, "list", "--state", "queued,dead"), 2, NULL, "'dead'");
    expect(RUN(&s, "list", "--since", "yesterday"), 2, NULL, "'yesterday'");
    o = scripted_run_on_terminal(&s, NULL, (const char *const[]){"list", NULL});
    assert_null(strstr(o.out, "\x1b[31m")); // a run's name does not paint the terminal
    assert_non_null(strstr(o.out, "name ?[31mred"));
    outcome_free(&o);
    scripted_close(&s);
}

static void show_tells_all(void **state)
{
    struct scripted s = {.runs = 7, .state = ISLR__RUN_STATE__RUN_FAILED, .reason = "no data"};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "show", "3"), 0, "no data", NULL);
    s.group = 6;
    s.members = 2;
    expect(RUN(&s, "show", "6"), 0, "2 runs, 1 ended\n", NULL);
    struct outcome g = RUN(&s, "show", "6", "--json");
    json_t *group = parse(g.out);
    assert_string_equal(json_string_value(json_object_get(group, "group")), "sweep");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(group, "children"), "count")), 2);
    assert_int_equal(json_array_size(json_object_get(group, "runs")), 2);
    json_decref(group);
    outcome_free(&g);
    s.group = 0;
    struct outcome o = RUN(&s, "show", "@last", "--json");
    assert_int_equal(o.code, 0);
    json_t *j = parse(o.out);
    assert_int_equal(json_integer_value(json_object_get(j, "run")), 7);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "job"), "name")), "sparse");
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(j, "attempts"), 0), "outcome")), "succeeded");
    json_decref(j);
    outcome_free(&o);
    s.left_out = 1;
    expect(RUN(&s, "show", "3"), 0, "  .. 1 earlier attempt is not shown\n", NULL);
    s.left_out = 312;
    expect(RUN(&s, "show", "3"), 0, "attempts\n  .. 312 earlier attempts are not shown\n  1 ", NULL);
    expect(RUN(&s, "show", "3"), 0, "\n     .. and 312 more ranks\n", NULL);
    expect(RUN(&s, "show", "3"), 0, "events\n  .. 312 earlier events are not shown\n", NULL);
    o = RUN(&s, "show", "3", "--json");
    j = parse(o.out);
    assert_int_equal(json_integer_value(json_object_get(j, "attempt_count")), 313);
    assert_int_equal(json_integer_value(json_object_get(j, "event_count")), 313);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(j, "attempts"), 0), "rank_count")), 313);
    json_decref(j);
    outcome_free(&o);
    expect(RUN(&s, "show", "99"), 3, NULL, "there is no such run");
    expect(RUN(&s, "show", "99x"), 2, NULL, "'99x'");
    expect(RUN(&s, "show", "0"), 2, NULL, "'0'");
    expect(RUN(&s, "show"), 2, NULL, "RUN");
    scripted_close(&s);
}

static void controls_are_sent(void **state)
{
    static const struct {
        const char *name;
        Islr__Control__Verb verb;
    } rows[] = {
        {"cancel", ISLR__CONTROL__VERB__VERB_CANCEL},   {"hold", ISLR__CONTROL__VERB__VERB_HOLD},
        {"release", ISLR__CONTROL__VERB__VERB_RELEASE}, {"retry", ISLR__CONTROL__VERB__VERB_RETRY},
        {"pin", ISLR__CONTROL__VERB__VERB_PIN},         {"unpin", ISLR__CONTROL__VERB__VERB_UNPIN},
    };
    struct scripted s = {.runs = 7, .state = ISLR__RUN_STATE__RUN_QUEUED};
    (void)state;
    scripted_open(&s);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect(RUN(&s, rows[i].name, "3", "5"), 0, NULL, "3");
        assert_int_equal(s.verb, rows[i].verb);
        assert_int_equal(s.target_count, 2);
        assert_int_equal(s.targets[0], 3);
        assert_int_equal(s.targets[1], 5);
        expect(RUN(&s, rows[i].name, "3", "x"), 2, NULL, "'x'");
        expect(RUN(&s, rows[i].name, "99"), 3, NULL, "there is no such run");
    }
    expect(RUN(&s, "cancel", "@last", "--json"), 0, "{\"runs\": [7]}", NULL);
    expect(RUN(&s, "set", "4", "priority=-5"), 0, NULL, NULL);
    assert_int_equal(s.verb, ISLR__CONTROL__VERB__VERB_SET_PRIORITY);
    assert_int_equal(s.priority, -5);
    expect(RUN(&s, "set", "4", "priority=high"), 2, NULL, "'high'");
    expect(RUN(&s, "set", "4", "colour=red"), 2, NULL, "priority=P");
    scripted_close(&s);
}

static void workers_and_status(void **state)
{
    struct scripted s = {.runs = 2};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "workers"), 0, "run 1", NULL);
    struct outcome o = RUN(&s, "workers", "--json");
    json_t *j = parse(o.out);
    assert_int_equal(json_array_size(json_object_get(j, "workers")), 2); // from two messages
    json_decref(j);
    outcome_free(&o);
    o = RUN(&s, "status", "--json");
    j = parse(o.out);
    assert_int_equal(json_integer_value(json_object_get(j, "running")), 2);
    json_decref(j);
    outcome_free(&o);
    expect(RUN(&s, "status"), 0, "2 running", NULL);
    scripted_close(&s);
}

static void server_comes_from_flag_environment_or_file(void **state)
{
    struct scripted s = {.runs = 1};
    char directory[128], file[160], line[160];
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "status", "--server", "unix:/tmp/islr-no-such-socket"), 4, NULL, "/tmp/islr-no-such-socket");
    expect(RUN(&s, "status", "--server", "carrier pigeon"), 2, NULL, "carrier pigeon");
    snprintf(directory, sizeof directory, "%s/islr", s.rig.directory);
    snprintf(file, sizeof file, "%s/client.yaml", directory);
    assert_int_equal(file_make_dirs(directory, NULL), 0);
    snprintf(line, sizeof line, "server: unix:/tmp/islr-from-file # here\n");
    assert_int_equal(file_write_atomic(file, line, strlen(line), NULL), 0);
    expect(RUN(&s, "status"), 0, NULL, NULL); // ISLR_SERVER wins
    struct outcome o = RUN(&s, "status", "--server=");
    assert_int_equal(o.code, 2);
    outcome_free(&o);
    snprintf(line, sizeof line, "sever: x\n");
    assert_int_equal(file_write_atomic(file, line, strlen(line), NULL), 0);
    expect(RUN(&s, "status"), 2, NULL, "client.yaml:1: there is no setting 'sever'");
    assert_int_equal(file_remove_tree(directory, NULL), 0);
    scripted_close(&s);
}

static void compare_runs_and_groups(void **state)
{
    struct scripted s = {.runs = 9, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .group = 9, .members = 8};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "compare", "3", "5"), 0, "train.seed               103            105\n", NULL);
    expect(RUN(&s, "compare", "3", "5"), 0, "accuracy/soup         0.5300         0.5500\n", NULL);
    struct outcome o = RUN(&s, "compare", "3", "@last", "--json"); // a group stands for its runs
    json_t *j = parse(o.out), *runs = json_object_get(j, "runs");
    assert_int_equal(json_array_size(runs), 9);
    assert_int_equal(json_array_size(json_object_get(j, "settings")), 1); // what is alike is left out
    json_t *last = json_array_get(runs, 0), *settings = json_object_get(last, "settings");
    assert_int_equal(json_integer_value(json_object_get(settings, "train.seed")), 103);
    assert_true(json_real_value(json_object_get(json_object_get(last, "final"), "accuracy/soup")) == 0.53);
    json_decref(j);
    outcome_free(&o);
    o = RUN(&s, "compare", "9");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "train.seed  accuracy/soup\n")); // a line each
    outcome_free(&o);
    expect(RUN(&s, "compare", "3"), 2, NULL, "nothing to compare run 3 with");
    expect(RUN(&s, "compare", "3", "99"), 3, NULL, "there is no such run");
    scripted_close(&s);
}

// ---- submit ---------------------------------------------------------------------------------------------------------

static void write_job(const struct scripted *s, char path[128], const char *text)
{
    snprintf(path, 128, "%s/job.yaml", s->rig.directory);
    assert_int_equal(file_write_atomic(path, text, strlen(text), NULL), 0);
}

static void submit_sends_the_resolved_job(void **state)
{
    struct scripted s = {.runs = 4, .state = ISLR__RUN_STATE__RUN_QUEUED};
    char job[128];
    (void)state;
    scripted_open(&s);
    write_job(&s, job, "name: mine\ndata: {path: recordings}\ntrain: {epochs: 3}\n");
    expect(RUN(&s, "submit", job, "train.lr=0.5e-3", "--priority", "3", "--after", "2:any", "--after", "4:any"), 0,
           "5\n", NULL);
    json_t *j = parse(s.submitted), *train = json_object_get(j, "train");
    assert_int_equal(json_integer_value(json_object_get(train, "epochs")), 3);
    assert_true(json_number_value(json_object_get(train, "lr")) == 0.5e-3);
    assert_true(*json_string_value(json_object_get(json_object_get(j, "data"), "path")) == '/');
    json_decref(j);
    assert_int_equal(s.priority, 3);
    assert_int_equal(s.target_count, 2);
    expect(RUN(&s, "submit", job, "--name", "other", "--json"), 0, "{\"run\": 6, \"existed\": false}", NULL);
    j = parse(s.submitted);
    assert_string_equal(json_string_value(json_object_get(j, "name")), "other");
    json_decref(j);
    expect(RUN(&s, "submit", job, "--after", "2:any", "--after", "4"), 2, NULL, "all of the runs or none");
    expect(RUN(&s, "submit", job, "--after", "2:perhaps"), 2, NULL, "'2:perhaps'");
    unlink(job);
    scripted_close(&s);
}

static void submit_names_every_fault(void **state)
{
    struct scripted s = {0};
    char job[128];
    (void)state;
    scripted_open(&s);
    write_job(&s, job, "data: {path: x}\ntrain:\n  epochs: many\n  bacth: 3\n");
    struct outcome o = RUN(&s, "submit", job);
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.err, "job.yaml:3"));
    assert_non_null(strstr(o.err, "job.yaml:4"));
    assert_non_null(strstr(o.err, "batch")); // the nearest known name
    outcome_free(&o);
    assert_int_equal(s.hellos, 0);
    unlink(job);
    expect(RUN(&s, "submit", job), 3, NULL, "job.yaml");
    scripted_close(&s);
}

static void submit_is_asked_again_but_done_once(void **state)
{
    struct scripted s = {.drop_submits = 2};
    char job[128];
    (void)state;
    scripted_open(&s);
    write_job(&s, job, "data: {path: x}\n");
    expect(RUN(&s, "submit", job), 0, "1\n", NULL);
    assert_int_equal(s.submits, 3); // twice without an answer
    assert_int_equal(s.runs, 1);    // and still one run
    expect(RUN(&s, "submit", job), 0, "2\n", NULL);
    expect(RUN(&s, "submit", job, "--key", "k"), 0, "3\n", NULL);
    expect(RUN(&s, "submit", job, "--key", "k"), 0, "3\n", "first run");
    unlink(job);
    scripted_close(&s);
}

static void dry_run_prints_and_submits_nothing(void **state)
{
    struct scripted s = {0};
    char job[128];
    (void)state;
    scripted_open(&s);
    write_job(&s, job, "preset: tiny\ndata: {path: x}\n");
    struct outcome o = RUN(&s, "submit", job, "--dry-run");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "epochs:"));
    outcome_free(&o);
    o = RUN(&s, "submit", job, "--dry-run", "--json");
    json_t *j = parse(o.out);
    assert_string_equal(json_string_value(json_object_get(j, "preset")), "tiny");
    json_decref(j);
    outcome_free(&o);
    assert_int_equal(s.submits, 0);
    expect(RUN(&s, "submit", job, "--dry-run", "--server", "unix:/tmp/islr-no-such-socket"), 0,
           "epochs:", "checked here only");
    unlink(job);
    scripted_close(&s);
}

static void plots_show_curves(void **state)
{
    struct scripted s = {.runs = 9, .records = 400, .state = ISLR__RUN_STATE__RUN_SUCCEEDED};
    char svg[160], *text;
    size_t size;
    (void)state;
    scripted_open(&s);
    struct outcome o = RUN(&s, "plot", "3", "5", "--metric", "loss/student", "--metric", "accuracy/*");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "loss/student\n"));
    assert_non_null(strstr(o.out, "accuracy/student\n"));
    assert_non_null(strstr(o.out, "a run 3"));
    assert_non_null(strstr(o.out, "b run 5"));
    assert_non_null(strstr(o.out, "(last 3.25)"));
    outcome_free(&o);
    snprintf(svg, sizeof svg, "%s/curves.svg", s.rig.directory);
    expect(RUN(&s, "plot", "3", "5", "-o", svg), 0, NULL, NULL);
    assert_int_equal(file_read(svg, 1 << 20, &text, &size, NULL), 0);
    assert_non_null(strstr(text, "<polyline"));
    assert_non_null(strstr(strstr(text, "<polyline") + 1, "<polyline")); // one a run
    assert_non_null(strstr(text, "run 5  name ?[31mred</text>"));        // no control characters in XML
    assert_non_null(strstr(text, ">step</text>"));
    assert_string_equal(text + size - 7, "</svg>\n");
    free(text);
    unlink(svg);
    expect(RUN(&s, "plot", "3", "-m", "loss/teacher"), 3, NULL, "there are: loss/student, loss/distilled");
    expect(RUN(&s, "plot", "3", "-o", "curves.png"), 2, NULL, "only SVG");
    expect(RUN(&s, "plot", "99"), 3, NULL, "there is no such run");
    scripted_close(&s);
}

static int is_quiet(const struct scripted *s, const char *out)
{
    static int looks;
    looks = s->watches == 5 && strstr(out, "\x1b[H\x1b[J") ? looks + 1 : 0; // the last one is not answered
    return looks > 30;                                                      // and nothing is asked meanwhile
}

static int is_asked_often(const struct scripted *s, const char *out)
{
    return s->lists >= 2 * 3 && strstr(out, "\x1b[H\x1b[J");
}

static void watch_shows_all(void **state)
{
    struct scripted s = {.runs = 3, .records = 400, .state = ISLR__RUN_STATE__RUN_RUNNING, .silent = 0};
    (void)state;
    scripted_open(&s);
    // not on a terminal: once
    expect(RUN(&s, "watch"), 0, "3 running", NULL);
    expect(RUN(&s, "watch"), 0, "######......  50%", NULL);
    expect(RUN(&s, "watch"), 0, "3.25 ", NULL); // the loss, and its curve
    assert_true(s.follows >= 3);
    // On one it is drawn again when the server has news, and not before.
    s.lists = s.watches = 0;
    s.news = 3;
    struct outcome o = scripted_run_on_terminal(&s, is_quiet, (const char *const[]){"watch", NULL});
    assert_true(s.lists <= 2 * 4);
    assert_non_null(strstr(o.out, "\x1b[H\x1b[J"));
    assert_null(strstr(o.out, "\x1b[31m")); // a run's name does not paint the screen
    outcome_free(&o);
    s.lists = s.watches = 0; // an older server is asked every second
    s.untold = 1;
    o = scripted_run_on_terminal(&s, is_asked_often, (const char *const[]){"watch", NULL});
    assert_int_equal(s.watches, 1);
    assert_non_null(strstr(o.out, "\x1b[H\x1b[J"));
    outcome_free(&o);
    scripted_close(&s);
}

static void soups_are_jobs(void **state)
{
    struct scripted s = {.runs = 9, .state = ISLR__RUN_STATE__RUN_SUCCEEDED, .group = 9, .members = 2};
    (void)state;
    scripted_open(&s);
    expect(RUN(&s, "soup", "9", "5:best"), 0, "10\n", NULL); // the group's runs 2 and 1
    json_t *j = parse(s.submitted), *models = json_object_get(j, "models");
    assert_string_equal(json_string_value(json_object_get(j, "kind")), "soup");
    assert_int_equal(json_array_size(models), 3);
    assert_string_equal(json_string_value(json_array_get(models, 2)), "5:best");
    json_decref(j);
    expect(RUN(&s, "soup", "3", "4", "--method", "greedy", "--data", "/some where", "--fold", "2"), 0, NULL, NULL);
    j = parse(s.submitted);
    json_t *data = json_object_get(j, "data");
    assert_string_equal(json_string_value(json_object_get(data, "path")), "/some where");
    assert_int_equal(json_integer_value(json_object_get(data, "fold")), 2);
    assert_string_equal(json_string_value(json_object_get(j, "method")), "greedy");
    json_decref(j);
    expect(RUN(&s, "soup", "3", "--method", "best"), 2, NULL, "best");
    expect(RUN(&s, "soup", "3:"), 2, NULL, "'3:'");
    expect(RUN(&s, "soup", "3", "--method", "greedy"), 2, NULL, "data.path"); // the run's job names none
    scripted_close(&s);
}

static void sweeps_are_combinations(void **state)
{
    struct scripted s = {.runs = 4};
    char job[128];
    (void)state;
    scripted_open(&s);
    write_job(&s, job, "name: mine\npreset: tiny\ndata: {path: x}\ntrain: {seed: 7}\n");
    expect(RUN(&s, "submit", job, "--sweep", "train.lr=1e-4,3e-4", "--sweep", "train.seed=1..2", "--json"), 0,
           "{\"run\": 5, \"existed\": false, \"runs\": 4}", NULL);
    assert_string_equal(s.labels, "train.lr=1e-4,train.seed=1|0.0001,1,tiny;train.lr=1e-4,train.seed=2|0.0001,2,tiny;"
                                  "train.lr=3e-4,train.seed=1|0.0003,1,tiny;train.lr=3e-4,train.seed=2|0.0003,2,tiny;");
    // what the file says wins over a preset, and a value of the sweep over both
    expect(RUN(&s, "submit", job, "--sweep", "train.lr=0.001,0.002", "--sweep", "preset=l25,tiny"), 0, "6\n", NULL);
    assert_string_equal(s.labels, "train.lr=0.001,preset=l25|0.001,7,l25;train.lr=0.001,preset=tiny|0.001,7,tiny;"
                                  "train.lr=0.002,preset=l25|0.002,7,l25;train.lr=0.002,preset=tiny|0.002,7,tiny;");
    expect(RUN(&s, "submit", job, "--sweep", "train.betas=[0.8, 0.9],[0.9, 0.99]"), 0, "7\n", NULL);
    assert_int_equal(s.variations, 2);
    // a value that is only right beside others
    expect(RUN(&s, "submit", job, "--sweep", "train.batch=21,42", "--sweep", "train.group=7"), 0, "8\n", NULL);
    int submits = s.submits;
    // the file alone is wrong, and either value mends it: each run has both of its own
    struct outcome o = RUN(&s, "submit", job, "train.batch=20", "train.group=8", "--sweep", "train.batch=16,24",
                           "--sweep", "train.group=4,8", "--dry-run", "--json");
    assert_int_equal(o.code, 0);
    json_t *j = parse(o.out);
    for (size_t i = 0; i < 4; i++) {
        json_t *run = json_array_get(json_object_get(j, "runs"), i);
        json_t *train = json_object_get(json_object_get(run, "job"), "train");
        assert_int_equal(json_integer_value(json_object_get(train, "batch")), i < 2 ? 16 : 24);
        assert_int_equal(json_integer_value(json_object_get(train, "group")), i % 2 ? 8 : 4);
    }
    json_decref(j);
    outcome_free(&o);
    o = RUN(&s, "submit", job, "--sweep", "train.lr=1,-2,x", "--sweep", "train.bach=1,2");
    assert_int_equal(o.code, 2);
    assert_non_null(strstr(o.err, "train.lr=-2")); // every fault, once
    assert_non_null(strstr(o.err, "train.lr=x"));
    assert_non_null(strstr(o.err, "nearest: batch"));
    assert_null(strstr(strstr(o.err, "train.lr=x") + 1, "argument 'train.lr=x'"));
    outcome_free(&o);
    o = RUN(&s, "submit", job, "--sweep", "train.seed=1..3", "--dry-run");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "# 3 runs:\n# 1  train.seed=1\n"));
    outcome_free(&o);
    o = RUN(&s, "submit", job, "--sweep", "train.seed=1..3", "--dry-run", "--json");
    j = parse(o.out);
    json_t *third = json_array_get(json_object_get(j, "runs"), 2);
    assert_string_equal(json_string_value(json_object_get(third, "label")), "train.seed=3");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json_object_get(third, "job"), "train"), "seed")), 3);
    json_decref(j);
    outcome_free(&o);
    expect(RUN(&s, "submit", job, "--sweep", "train.seed=5..1"), 2, NULL, "FIRST..LAST");
    expect(RUN(&s, "submit", job, "--sweep", "train.seed=1..20000"), 2, NULL, "10000");
    expect(RUN(&s, "submit", job, "--sweep", "train.seed=1..200", "--sweep", "train.ousm=1..200"), 2, NULL, "10000");
    expect(RUN(&s, "submit", job, "--sweep", "train.seed"), 2, NULL, "KEY=VALUE");
    expect(RUN(&s, "submit", job, "--sweep", "train.seed=1,,2"), 2, NULL, "empty value");
    expect(RUN(&s, "submit", job, "--sweep", "train.seed=1", "--sweep", "train.seed=2"), 2, NULL, "twice");
    assert_int_equal(s.submits, submits);
    unlink(job);
    scripted_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(list_shows_and_filters),
        cmocka_unit_test(show_tells_all),
        cmocka_unit_test(controls_are_sent),
        cmocka_unit_test(compare_runs_and_groups),
        cmocka_unit_test(plots_show_curves),
        cmocka_unit_test(watch_shows_all),
        cmocka_unit_test(soups_are_jobs),
        cmocka_unit_test(sweeps_are_combinations),
        cmocka_unit_test(workers_and_status),
        cmocka_unit_test(server_comes_from_flag_environment_or_file),
        cmocka_unit_test(submit_sends_the_resolved_job),
        cmocka_unit_test(submit_names_every_fault),
        cmocka_unit_test(submit_is_asked_again_but_done_once),
        cmocka_unit_test(dry_run_prints_and_submits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
