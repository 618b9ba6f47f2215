// islrctl submit: a job file, resolved and checked here, handed to the server; its number once it is durable there.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "client/command.h"
#include "client/json.h"
#include "client/run.h"
#include "client/submit.h"
#include "client/sweep.h"
#include "client/text.h"
#include "client/wait.h"
#include "client/watch.h"
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"

static const double RETRY_SECONDS = 30; // a server that went away before it answered is asked again for so long

// ---- the job --------------------------------------------------------------------------------------------------------

static int load_job(struct submit *s)
{
    struct faults faults = {0};
    struct error e = {ERR_NONE, ""};
    char directory[4096];
    if (!getcwd(directory, sizeof directory)) {
        error_set_errno(&e, ERR_FAILED, "cannot tell the current directory");
        return client_fail(&e);
    }
    int rc = s->axes.count ? sweep_make(&s->sweep, s->file, &s->overrides, &s->axes, directory, &faults, &e)
                           : spec_load(s->file, s->overrides.items, s->overrides.count, &s->job, &faults, &e);
    if (rc && faults.count)
        faults_print(&faults, stderr);
    else if (rc)
        client_fail(&e);
    faults_free(&faults);
    if (rc)
        return (int)e.code;
    if (s->axes.count)
        s->job = s->sweep.base;
    else
        spec_make_absolute(s->job, directory);
    if (s->name) {
        free(s->job->name);
        s->job->name = xstrdup(s->name);
    }
    return 0;
}

// "12", "12:any" or "@last".
static int find_after(struct submit *s, struct caller *c, struct error *e)
{
    size_t any = 0;
    s->after_runs = xcalloc(s->after.count ? s->after.count : 1, sizeof *s->after_runs);
    for (size_t i = 0; i < s->after.count; i++) {
        char *text = xstrdup(s->after.items[i]), *colon = strchr(text, ':');
        int rc = 0;
        if (colon && strcmp(colon, ":any"))
            rc = error_set(e, ERR_INVALID, "--after: '%s' is not RUN or RUN:any", text);
        else if (colon)
            any++, *colon = 0;
        rc = rc || run_find(c, text, &s->after_runs[i], e);
        free(text);
        if (rc)
            return -1;
    }
    if (any && any < s->after.count)
        return error_set(e, ERR_INVALID, "--after: :any must stand behind all of the runs or none");
    s->after_any = any > 0;
    return 0;
}

// A worker does not know whose newest run is meant by @last:what.
static int name_input(char **field, struct caller *c, struct error *e)
{
    uint64_t run;
    if (!*field || strncmp(*field, "@last:", 6))
        return 0;
    if (run_find(c, "@last", &run, e))
        return -1;
    char *named = xprintf("%llu:%s", (unsigned long long)run, *field + 6);
    free(*field);
    *field = named;
    return 0;
}

struct naming {
    struct caller *c;
    struct error *e;
};

static int name_job_inputs(Islr__JobSpec *job, void *context)
{
    const struct naming *n = context;
    int rc = 0;
    if (job->init)
        rc = name_input(&job->init->student, n->c, n->e) || name_input(&job->init->teacher, n->c, n->e) ||
             name_input(&job->init->distilled, n->c, n->e);
    for (size_t i = 0; i < job->n_models && !rc; i++)
        rc = name_input(&job->models[i], n->c, n->e);
    return rc ? -1 : 0;
}

static int name_inputs(struct submit *s, struct caller *c, struct error *e)
{
    struct naming n = {c, e};
    return s->sweep.count ? sweep_each(&s->sweep, name_job_inputs, &n) : name_job_inputs(s->job, &n);
}

// ---- handing it over ------------------------------------------------------------------------------------------------

// A key of our own, so that asking again after a lost answer cannot submit twice.
static int make_key(struct submit *s, struct error *e)
{
    uint8_t bytes[16];
    if (s->key)
        return 0;
    if (getentropy(bytes, sizeof bytes))
        return error_set_errno(e, ERR_FAILED, "the system has no random bytes");
    strcpy(s->made_key, "auto-");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(s->made_key + 5 + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static Islr__Envelope *send_once(struct submit *s, const struct server *server, struct error *e)
{
    struct caller *c = caller_open(&server->address, server->token, e);
    Islr__Envelope *answer = NULL;
    if (c && (s->after_runs || (!find_after(s, c, e) && !name_inputs(s, c, e)))) {
        Islr__Submit submit = ISLR__SUBMIT__INIT;
        submit.job = s->job;
        submit.key = s->key ? (char *)s->key : s->made_key;
        submit.has_priority = submit.has_hold = submit.has_after_any = submit.has_dry_run = 1;
        submit.priority = (int32_t)s->priority;
        submit.hold = s->hold;
        submit.n_after = s->after.count;
        submit.after = s->after_runs;
        submit.after_any = s->after_any;
        submit.dry_run = s->dry_run;
        submit.variations = s->sweep.variations;
        submit.n_variations = s->sweep.variation_count;
        submit.axes = s->sweep.axes;
        submit.n_axes = s->sweep.axis_count;
        Islr__Envelope m = ENVELOPE(SUBMIT, submit, &submit);
        s->sent = true;
        answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_SUBMITTED, 0, e);
    }
    caller_close(c);
    return answer;
}

// A server that is not there at all is an error at once; one that goes away before it has answered is asked again.
static Islr__Envelope *send_job(struct submit *s, const struct server *server, struct error *e)
{
    double until = 0, pause = RPC_BACKOFF_FIRST_MS / 1e3;
    if (make_key(s, e))
        return NULL;
    for (;;) {
        Islr__Envelope *answer = send_once(s, server, e);
        if (answer)
            return answer;
        bool lost = link_is_break(e);
        if (s->sent && until == 0)
            until = clock_seconds() + RETRY_SECONDS;
        if (!lost || clock_seconds() > until) {
            if (lost && s->sent && !s->dry_run)
                error_prefix(e, "not known whether the job was submitted (--key %s submits it once at most)",
                             s->key ? s->key : s->made_key);
            return NULL;
        }
        clock_sleep(pause);
        pause = pause * 2 < RPC_BACKOFF_LAST_MS / 1e3 ? pause * 2 : RPC_BACKOFF_LAST_MS / 1e3;
    }
}

// ---- what is printed ------------------------------------------------------------------------------------------------

static void print_json(const struct submit *s, const struct submitted *r, const char *state, const char *reason)
{
    struct json j = {0};
    json_begin(&j, NULL, '{');
    json_integer(&j, "run", (int64_t)r->run);
    json_boolean(&j, "existed", r->existed);
    if (s->sweep.count || r->runs)
        json_integer(&j, "runs", r->runs ? r->runs : (int64_t)s->sweep.count);
    if (state) {
        json_text(&j, "state", state);
        json_text(&j, "reason", reason);
    }
    json_end(&j, '}');
    json_print(&j, stdout);
    fflush(stdout);
    free(j.text.text);
}

// The job that all runs share, and what each of them has instead.
static void print_sweep_json(struct submit *s)
{
    struct json j = {0};
    char *text = spec_to_json(s->job);
    json_begin(&j, NULL, '{');
    json_raw(&j, "job", text);
    free(text);
    json_begin(&j, "runs", '[');
    for (size_t i = 0; i < s->sweep.count; i++) {
        Islr__JobSpec *job = sweep_job(&s->sweep, i);
        char *label = sweep_label(&s->sweep, i);
        text = spec_to_json(job);
        json_begin(&j, NULL, '{');
        json_text(&j, "label", label);
        json_raw(&j, "job", text);
        json_end(&j, '}');
        free(label);
        free(text);
        spec_free(job);
    }
    json_end(&j, ']');
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

static void print_job(struct submit *s)
{
    if (s->json && s->sweep.count) {
        print_sweep_json(s);
        return;
    }
    char *text = s->json ? spec_to_json(s->job) : spec_to_yaml(s->job);
    fputs(text, stdout);
    if (s->json)
        putchar('\n');
    free(text);
    if (s->sweep.count)
        printf("# %zu runs:\n", s->sweep.count);
    for (size_t i = 0; i < s->sweep.count; i++) {
        char *label = sweep_label(&s->sweep, i);
        printf("# %zu  %s\n", i + 1, label);
        free(label);
    }
}

static int print_dry_run(struct submit *s, const struct server *server)
{
    struct error e = {ERR_NONE, ""};
    Islr__Envelope *answer = send_job(s, server, &e);
    if (!answer && e.code != ERR_UNREACHABLE)
        return client_fail(&e);
    if (!answer)
        text_say("islrctl: checked here only: %s", e.text);
    envelope_free(answer);
    print_job(s);
    return 0;
}

static int wait_for(struct submit *s, const struct server *server, const struct submitted *r)
{
    uint64_t run = r->run;
    struct wait_end end = {.run = run};
    struct error e = {ERR_NONE, ""};
    if (wait_runs(server, &end, 1, 0, true, &e)) {
        client_fail(&e);
        if (e.code == ERR_INTERRUPTED)
            fprintf(stderr, "`islrctl wait %llu` waits again\n", (unsigned long long)run);
        return (int)e.code;
    }
    if (s->json)
        print_json(s, r, run_state_name(end.state), end.reason);
    if (end.state != ISLR__RUN_STATE__RUN_SUCCEEDED)
        text_say("run %llu: %s%s%s", (unsigned long long)run, run_state_name(end.state), *end.reason ? ": " : "",
                 end.reason);
    return run_state_exit_code(end.state);
}

static int follow(struct submit *s, const struct server *server, const struct submitted *r)
{
    struct follow_result result;
    int code = watch_run(server, r->run, true, s->json, &result);
    if (s->json && !result.detached)
        print_json(s, r, run_state_name(result.state), result.reason);
    return code;
}

static int submit(struct submit *s, const struct server *server)
{
    struct error e = {ERR_NONE, ""};
    Islr__Envelope *answer = send_job(s, server, &e);
    if (!answer)
        return client_fail(&e);
    struct submitted r = {answer->submitted->run, answer->submitted->runs, answer->submitted->existed};
    envelope_free(answer);
    if (r.existed && s->key)
        fprintf(stderr, "islrctl: the key '%s' was used before: this is the first run\n", s->key);
    if (!s->json)
        printf("%llu\n", (unsigned long long)r.run);
    else if (!s->follow && !s->wait)
        print_json(s, &r, NULL, NULL);
    if (fflush(stdout))
        return ERR_FAILED;
    if (s->follow)
        return follow(s, server, &r);
    return s->wait ? wait_for(s, server, &r) : 0;
}

int submit_run(struct submit *s)
{
    struct server server;
    struct error e = {ERR_NONE, ""};
    int code = load_job(s);
    if (code)
        return code;
    if (server_find(s->address, &server, &e))
        return client_fail(&e);
    code = s->dry_run ? print_dry_run(s, &server) : submit(s, &server);
    server_free(&server);
    return code;
}

void submit_free(struct submit *s)
{
    if (s->axes.count)
        sweep_free(&s->sweep);
    else
        spec_free(s->job);
    free(s->after_runs);
    option_list_free(&s->overrides);
    option_list_free(&s->after);
    option_list_free(&s->axes);
}

static bool parse(struct submit *s, int argc, char **argv, int *code)
{
    const struct option_row options[] = {
        OPTION_SERVER(&s->address),
        {0, "sweep", "KEY=V,V..", "a run for each value (or KEY=FIRST..LAST); with several, for each combination",
         OPTION_LIST, &s->axes},
        {0, "name", "NAME", "instead of the job's own name", OPTION_STRING, &s->name},
        {0, "key", "KEY", "idempotency: the same key gives the first run back", OPTION_STRING, &s->key},
        {'p', "priority", "P", "higher ones start first and may have lower ones save and make room; above 0: admins",
         OPTION_INT, &s->priority, .min = -1e6, .max = 1e6},
        {0, "after", "RUN[:any]", "start when that run has succeeded (:any: has ended)", OPTION_LIST, &s->after},
        {0, "hold", NULL, "do not start it before `islrctl release`", OPTION_FLAG, &s->hold},
        {'f', "follow", NULL, "show how it goes until it has ended", OPTION_FLAG, &s->follow},
        {'w', "wait", NULL, "wait until it has ended", OPTION_FLAG, &s->wait},
        {0, "dry-run", NULL, "check the job and print it resolved; submit nothing", OPTION_FLAG, &s->dry_run},
        OPTION_JSON(
            &s->json,
            "{\"run\", \"existed\", of a group \"runs\"}; with --follow or --wait at the end, with \"state\" and "
            "\"reason\"; with --dry-run the resolved job; of a sweep {\"job\", \"runs\": [{\"label\", \"job\"}]}"),
        {0}};
    const struct option_operand operands[] = {
        {"JOB.yaml", "the job (.json too)", .value = &s->file, .path = true},
        {"KEY=VALUE", "fields instead of the file's", true, .list = &s->overrides},
        {0}};
    const struct usage usage = {"islrctl submit",
                                "hand a job to the server; prints the run's number once it is durable",
                                options,
                                operands,
                                "islrctl submit deploy/jobs/tiny.yaml data.path=/data/asl-signs train.lr=1e-4 "
                                "--follow\nislrctl submit job.yaml "
                                "--sweep train.lr=1e-4,3e-4 --sweep train.seed=1..5",
                                "A sweep and a job with data.fold=all are groups: one number for all of their runs, "
                                "which `islrctl list --parent` "
                                "shows; all are submitted or none. With --follow and --wait the exit code is the run's "
                                "own: 0 succeeded, 1 failed, 130 cancelled. Ctrl-c leaves "
                                "the run alone and says how to come back to it."};
    return options_parse(&usage, argc, argv, code);
}

int command_submit(int argc, char **argv)
{
    struct submit s = {0};
    int code;
    if (parse(&s, argc, argv, &code))
        code = submit_run(&s);
    submit_free(&s);
    return code;
}
