// islrctl watch: follows a run that is there already, and what `submit --follow` does after submitting.
#include "client/watch.h"

#include <stdio.h>

#include "client/command.h"
#include "client/live.h"
#include "client/run.h"
#include "client/screen.h"
#include "client/text.h"

int watch_run(const struct server *s, uint64_t run, bool patient, bool quiet, struct follow_result *result)
{
    struct live live;
    struct error e = {ERR_NONE, ""};
    struct follower_options o = {
        .run = run, .logs = true, .metrics = true, .progress = true, .keep = true, .members = true, .patient = patient};
    live_start(&live, run, quiet);
    struct follower_events events = live_events(&live);
    int rc = follower_run(s, &o, &events, result, &e);
    live_clear(&live);
    if (rc)
        return client_fail(&e);
    if (result->detached) {
        fprintf(stderr,
                "run %llu goes on without you; `islrctl watch %llu` follows it again, `islrctl cancel %llu` stops it\n",
                (unsigned long long)run, (unsigned long long)run, (unsigned long long)run);
        return ERR_INTERRUPTED;
    }
    return run_state_exit_code(result->state);
}

static void flush(void *context)
{
    (void)context;
    fflush(stdout);
}

static void print_notice(void *context, const char *text)
{
    (void)context;
    text_say("islrctl: %s", text);
}

int follow_printed(const char *address, const char *name, const struct follower_options *wanted,
                   int (*on_record)(void *context, uint64_t member, const Islr__Record *r), void *context)
{
    struct server s;
    struct error e = {ERR_NONE, ""};
    struct follower_options o = *wanted;
    struct follower_events events = {
        .context = context, .on_record = on_record, .on_batch = flush, .on_notice = print_notice};
    struct follow_result result;
    if (server_find(address, &s, &e))
        return client_fail(&e);
    struct caller *c = caller_open(&s.address, s.token, &e);
    int failed = !c || run_find(c, name, &o.run, &e);
    caller_close(c);
    failed = failed || follower_run(&s, &o, &events, &result, &e);
    server_free(&s);
    if (failed)
        return client_fail(&e);
    if (result.detached)
        return ERR_INTERRUPTED;
    return o.keep ? run_state_exit_code(result.state) : 0;
}

int command_watch(int argc, char **argv)
{
    const char *address = NULL, *name = NULL;
    const struct option_row options[] = {OPTION_SERVER(&address), {0}};
    const struct option_operand operands[] = {
        {"RUN", "its number or @last; none: a screen of all that have not ended", .optional = true, .value = &name},
        {0}};
    const struct usage usage = {
        "islrctl watch",
        "a run's log, evaluations and progress until it ends, or a live screen of all",
        options,
        operands,
        "islrctl watch 12\nislrctl watch",
        "What the runs of a group say stands behind their numbers. "
        "With a RUN it ends with the run's own exit code: 0 succeeded, 1 failed, 130 cancelled. Ctrl-c leaves "
        "the run alone. A server that goes away is waited for."};
    int code;
    struct server s;
    struct error e = {ERR_NONE, ""};
    struct follow_result result;
    uint64_t run;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (server_find(address, &s, &e))
        return client_fail(&e);
    if (!name) {
        code = screen_run(&s);
        server_free(&s);
        return code;
    }
    struct caller *c = caller_open(&s.address, s.token, &e);
    code = !c || run_find(c, name, &run, &e) ? client_fail(&e) : 0;
    caller_close(c);
    if (!code)
        code = watch_run(&s, run, false, false, &result);
    server_free(&s);
    return code;
}
