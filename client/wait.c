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
    const struct server *server;
    double until; // 0: for ever
    struct wait_end *ends;
    size_t count;
    struct caller *caller;
    struct error stopped; // by a signal or the time; ERR_NONE: not
    // handles of the caller's loop, which closes them with it
    uv_signal_t interrupt, terminate;
    uv_timer_t limit;
};

static double seconds_left(const struct waiting *w)
{
    double left = w->until ? w->until - clock_seconds() : 1e9;
    return left > 0 ? left : 0;
}

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

// For timers, which count whole milliseconds and may be early by one: when they ring nothing is left.
static uint64_t ms_left(const struct waiting *w)
{
    return (uint64_t)(seconds_left(w) * 1e3) + 2;
}

// A connection that the time and signals end the requests of. Whatever the server does, it takes no longer than is left.
static int connect_within(struct waiting *w, struct error *e)
{
    uint64_t left = ms_left(w);
    w->caller =
        caller_open_within(&w->server->address, w->server->token, left < RPC_HANDSHAKE_MS ? left : RPC_HANDSHAKE_MS, e);
    if (!w->caller)
        return -1;
    uv_loop_t *loop = caller_loop(w->caller);
    uv_signal_init(loop, &w->interrupt);
    uv_signal_init(loop, &w->terminate);
    uv_timer_init(loop, &w->limit);
    w->interrupt.data = w->terminate.data = w->limit.data = w;
    uv_signal_start(&w->interrupt, interrupted, SIGINT);
    uv_signal_start(&w->terminate, interrupted, SIGTERM);
    if (w->until)
        uv_timer_start(&w->limit, timed_out, ms_left(w), 0);
    return 0;
}

static void disconnect(struct waiting *w)
{
    caller_close(w->caller);
    w->caller = NULL;
}

// One connection's worth of waiting. 0: all have ended.
static int wait_connected(struct waiting *w, struct error *e)
{
    uint64_t *runs = xcalloc(w->count, sizeof *runs);
    Islr__Wait wait = ISLR__WAIT__INIT;
    wait.runs = runs;
    for (size_t i = 0; i < w->count; i++)
        if (!w->ends[i].ended)
            runs[wait.n_runs++] = w->ends[i].run;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    int rc = rpc_stream(w->caller, &m, 0, take, w, e);
    free(runs);
    disconnect(w);
    return rc;
}

static bool all_ended(const struct waiting *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (!w->ends[i].ended)
            return false;
    return true;
}

int wait_runs(const struct server *s, struct wait_end *ends, size_t count, double until, bool patient, struct error *e)
{
    struct waiting w = {.server = s, .ends = ends, .count = count, .until = until};
    double pause = RPC_BACKOFF_FIRST_MS / 1e3;
    bool away = false;
    while (!all_ended(&w)) {
        if (!connect_within(&w, e)) {
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
        if (!link_is_break(e))
            return -1;
        if (!seconds_left(&w))
            return error_set(e, ERR_TIMEOUT, "the runs have not ended in time, and the server is away");
        if (!patient)
            return -1;
        if (!away)
            text_say("islrctl: the server is away (%s); trying again, ctrl-c stops", e->text);
        away = true;
        clock_sleep(pause < seconds_left(&w) ? pause : seconds_left(&w));
        pause = pause * 2 < RPC_BACKOFF_LAST_MS / 1e3 ? pause * 2 : RPC_BACKOFF_LAST_MS / 1e3;
    }
    return all_ended(&w) ? 0 : error_set(e, ERR_DAMAGED, "the server ended the waiting before the runs had ended");
}

// ---- the command ----------------------------------------------------------------------------------------------------

static int find_runs(const struct server *s, const struct option_list *names, double until, struct wait_end *ends,
                     struct error *e)
{
    struct waiting w = {.server = s, .until = until};
    int rc = connect_within(&w, e);
    for (size_t i = 0; i < names->count && !rc; i++)
        rc = run_find(w.caller, names->items[i], &ends[i].run, e);
    disconnect(&w);
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
    double until = seconds ? clock_seconds() + (double)seconds : 0;
    struct wait_end *ends = xcalloc(names->count, sizeof *ends);
    int code = find_runs(&s, names, until, ends, &e);
    if (!code) {
        code = wait_runs(&s, ends, names->count, until, false, &e);
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
