// islrctl wait: until runs have ended. The server tells; nothing is polled. A server that goes away is waited for.
#include "client/wait.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/run.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"

struct waiting {
    struct wait_end *ends;
    size_t count;
    struct caller *caller; // while a request is under way
    struct error stopped;  // by a signal or the time; ERR_NONE: not
    int64_t seconds;
    double until;
};

static int take(void *context, const Islr__Envelope *m, struct error *e)
{
    struct waiting *w = context;
    if (m->body_case == ISLR__ENVELOPE__BODY_OK)
        return 0;
    if (m->body_case != ISLR__ENVELOPE__BODY_RUN_ENDED)
        return error_set(e, ERR_DAMAGED, "the server answered wait with %s", envelope_name(m));
    for (size_t i = 0; i < w->count; i++)
        if (w->ends[i].run == m->run_ended->run) {
            w->ends[i].ended = true;
            w->ends[i].state = m->run_ended->state;
            snprintf(w->ends[i].reason, sizeof w->ends[i].reason, "%s",
                     m->run_ended->reason ? m->run_ended->reason : "");
        }
    return 0;
}

static void stop(struct waiting *w, enum error_code code, const char *text)
{
    error_set(&w->stopped, code, "%s", text);
    caller_interrupt(w->caller, &w->stopped);
}

static void interrupted(uv_signal_t *signal, int number)
{
    (void)number;
    stop(signal->data, ERR_INTERRUPTED, "interrupted; the runs go on");
}

static void timed_out(uv_timer_t *timer)
{
    stop(timer->data, ERR_TIMEOUT, "the runs have not ended in time");
}

// One connection's worth of waiting. 0: all have ended.
static int wait_connected(struct waiting *w, struct error *e)
{
    uv_signal_t interrupt, terminate;
    uv_timer_t limit;
    uv_loop_t *loop = caller_loop(w->caller);
    uv_signal_init(loop, &interrupt);
    uv_signal_init(loop, &terminate);
    uv_timer_init(loop, &limit);
    interrupt.data = terminate.data = limit.data = w;
    uv_signal_start(&interrupt, interrupted, SIGINT);
    uv_signal_start(&terminate, interrupted, SIGTERM);
    double left = w->until - clock_seconds();
    if (w->seconds)
        uv_timer_start(&limit, timed_out, left > 0 ? (uint64_t)(left * 1000) : 0, 0);
    uint64_t *runs = xcalloc(w->count, sizeof *runs);
    Islr__Wait wait = ISLR__WAIT__INIT;
    wait.runs = runs;
    for (size_t i = 0; i < w->count; i++)
        if (!w->ends[i].ended)
            runs[wait.n_runs++] = w->ends[i].run;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    int rc = rpc_stream(w->caller, &m, 0, take, w, e);
    free(runs);
    caller_close(w->caller); // and these handles with it
    w->caller = NULL;
    return rc;
}

static bool all_ended(const struct waiting *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (!w->ends[i].ended)
            return false;
    return true;
}

int wait_runs(const struct server *s, struct wait_end *ends, size_t count, int64_t seconds, bool patient,
              struct error *e)
{
    struct waiting w = {.ends = ends, .count = count, .seconds = seconds, .until = clock_seconds() + (double)seconds};
    double pause = RPC_BACKOFF_FIRST_MS / 1e3;
    bool away = false;
    while (!all_ended(&w)) {
        w.caller = caller_open(&s->address, s->token, e);
        if (w.caller) {
            if (away)
                fprintf(stderr, "islrctl: the server is back\n");
            away = false;
            patient = true;
            pause = RPC_BACKOFF_FIRST_MS / 1e3;
            if (!wait_connected(&w, e))
                break;
        }
        if (w.stopped.code != ERR_NONE)
            return error_set(e, w.stopped.code, "%s", w.stopped.text);
        if (!link_is_break(e) || !patient)
            return -1;
        if (seconds && clock_seconds() >= w.until)
            return error_set(e, ERR_TIMEOUT, "the runs have not ended in time, and the server is away");
        if (!away)
            text_say("islrctl: the server is away (%s); trying again, ctrl-c stops", e->text);
        away = true;
        clock_sleep(pause);
        pause = pause * 2 < RPC_BACKOFF_LAST_MS / 1e3 ? pause * 2 : RPC_BACKOFF_LAST_MS / 1e3;
    }
    return all_ended(&w) ? 0 : error_set(e, ERR_DAMAGED, "the server ended the waiting before the runs had ended");
}

// ---- the command ----------------------------------------------------------------------------------------------------

static int find_runs(const struct server *s, const struct option_list *names, struct wait_end *ends, struct error *e)
{
    struct caller *c = caller_open(&s->address, s->token, e);
    int rc = c ? 0 : -1;
    for (size_t i = 0; i < names->count && !rc; i++)
        rc = run_find(c, names->items[i], &ends[i].run, e);
    caller_close(c);
    return rc;
}

static void print_ends(const struct wait_end *ends, size_t count, bool json)
{
    struct json j = {0};
    json_begin(&j, NULL, '{');
    json_begin(&j, "runs", '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(&j, NULL, '{');
        json_integer(&j, "run", (int64_t)ends[i].run);
        if (ends[i].ended)
            json_text(&j, "state", run_state_name(ends[i].state));
        else
            json_null(&j, "state");
        json_text(&j, "reason", ends[i].reason);
        json_end(&j, '}');
        if (json || !ends[i].ended)
            continue;
        text_say("run %llu: %s%s%s", (unsigned long long)ends[i].run, run_state_name(ends[i].state),
                 *ends[i].reason ? ": " : "", ends[i].reason);
    }
    json_end(&j, ']');
    json_end(&j, '}');
    if (json)
        json_print(&j, stdout);
    free(j.text.text);
}

static int wait_named(const char *address, const struct option_list *names, int64_t seconds, bool json)
{
    struct server s;
    struct error e = {ERR_NONE, ""};
    if (server_find(address, &s, &e))
        return client_fail(&e);
    struct wait_end *ends = xcalloc(names->count, sizeof *ends);
    int code = find_runs(&s, names, ends, &e);
    if (!code) {
        code = wait_runs(&s, ends, names->count, seconds, false, &e);
        if (!code || e.code == ERR_TIMEOUT)
            print_ends(ends, names->count, json);
    }
    if (code)
        code = client_fail(&e);
    for (size_t i = 0; i < names->count && !code; i++)
        code = ends[i].state != ISLR__RUN_STATE__RUN_SUCCEEDED;
    free(ends);
    server_free(&s);
    return code;
}

int command_wait(int argc, char **argv)
{
    const char *address = NULL;
    bool json = false;
    int64_t seconds = 0;
    struct option_list names = {0};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        {'t', "timeout", "S", "give up after so many seconds (exit code 6); 0: never", OPTION_INT, &seconds, .min = 0,
         .max = 1e9},
        OPTION_JSON(&json, "{\"runs\": [{\"run\", \"state\" (null: not ended), \"reason\"}]}"),
        {0}};
    const struct option_operand operands[] = {{"RUN", "a run's number or @last", .list = &names}, {0}};
    const struct usage usage = {"islrctl wait",
                                "until runs have ended",
                                options,
                                operands,
                                "islrctl wait 12 13 --timeout 3600",
                                "Exit code 0 if all have succeeded, else 1."};
    int code;
    if (options_parse(&usage, argc, argv, &code))
        code = wait_named(address, &names, seconds, json);
    option_list_free(&names);
    return code;
}
