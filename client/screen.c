// The live screen of all runs: see screen.h. The server tells when there is something new (Watch), then it is asked what
// there is and what the running ones have said since the last time.
#include "client/screen.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/run.h"
#include "client/spark.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"

enum { RUNS_MAX = 200, CURVES_MAX = 16, NAME_MAX_SHOWN = 32, WHY_MAX = 40, BAR = 12, BAR_SIZE = 64, SAMPLES = 16 };

enum { EVERY_MS = 1000 }; // an older server, which tells nothing, is asked this often

static const double AWAY_SECONDS = 1; // a server that is away is looked for this often

// What is remembered of a run from one look to the next.
struct tracked {
    uint64_t run;
    uint64_t last_seq;
    double loss;
    struct spark curve;
    struct {
        double at;
        uint64_t step;
    } samples[SAMPLES]; // a ring
    unsigned sample_count;
    bool seen;
};

struct screen {
    const struct server *server;
    bool terminal;
    uint64_t version; // of what the server has told of, 0: nothing on this connection
    bool untold;      // it does not know Watch
    struct tracked *tracked;
    size_t count;
    Islr__Envelope *status;
    Islr__Envelope **lists; // messages that hold the summaries
    size_t list_count;
    const Islr__RunSummary *runs[RUNS_MAX];
    size_t run_count, left_out;
};

// ---- what there is --------------------------------------------------------------------------------------------------

static struct tracked *track(struct screen *s, uint64_t run)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->tracked[i].run == run)
            return &s->tracked[i];
    s->tracked = xrealloc(s->tracked, s->count + 1, sizeof *s->tracked);
    s->tracked[s->count] = (struct tracked){.run = run, .loss = NAN};
    return &s->tracked[s->count++];
}

static void forget_gone(struct screen *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->tracked[i].seen)
            s->tracked[kept++] = s->tracked[i];
    s->count = kept;
}

static void clear(struct screen *s)
{
    envelope_free(s->status);
    for (size_t i = 0; i < s->list_count; i++)
        envelope_free(s->lists[i]);
    free(s->lists);
    s->status = NULL;
    s->lists = NULL;
    s->list_count = s->run_count = s->left_out = 0;
    for (size_t i = 0; i < s->count; i++)
        s->tracked[i].seen = false;
}

// One request a state, so that what runs is on the screen however long the queue is.
static int ask_state(struct screen *s, struct caller *c, const Islr__RunState *states, size_t count, struct error *e)
{
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    list.states = (Islr__RunState *)states;
    list.n_states = count;
    list.has_children = list.has_limit = 1;
    list.children = 1;
    list.limit = RUNS_MAX;
    list.sort = (char *)"run";
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_RUN_LIST, 0, e);
    if (!answer)
        return -1;
    s->lists = xrealloc(s->lists, s->list_count + 1, sizeof *s->lists);
    s->lists[s->list_count++] = answer;
    for (size_t i = 0; i < answer->run_list->n_runs; i++) {
        if (s->run_count < RUNS_MAX)
            s->runs[s->run_count++] = answer->run_list->runs[i];
        else
            s->left_out++;
    }
    return 0;
}

static int on_records(void *context, const Islr__Envelope *m, struct error *e)
{
    struct tracked *t = context;
    (void)e;
    if (m->body_case != ISLR__ENVELOPE__BODY_RECORDS)
        return 0;
    for (size_t i = 0; i < m->records->n_records; i++) {
        const Islr__Record *r = m->records->records[i];
        t->last_seq = r->seq > t->last_seq ? r->seq : t->last_seq;
        const Islr__MetricPoint *p = r->what_case == ISLR__RECORD__WHAT_METRIC ? r->metric : NULL;
        for (size_t k = 0; p && k < p->n_names && k < p->n_values; k++)
            if (!strcmp(p->names[k], "loss/student")) {
                t->loss = p->values[k];
                spark_add(&t->curve, t->loss);
            }
    }
    return 0;
}

static int ask_curve(struct caller *c, struct tracked *t, struct error *e)
{
    Islr__Follow follow = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &follow);
    follow.has_run = follow.has_after_seq = follow.has_logs = follow.has_keep = 1;
    follow.run = t->run;
    follow.after_seq = t->last_seq;
    follow.logs = follow.keep = 0;
    return rpc_stream(c, &m, 0, on_records, t, e);
}

static int ask_curves(struct screen *s, struct caller *c, struct error *e)
{
    int curves = 0;
    for (size_t i = 0; i < s->run_count; i++) {
        const Islr__RunSummary *r = s->runs[i];
        struct tracked *t = track(s, r->run);
        t->seen = true;
        unsigned last = (t->sample_count + SAMPLES - 1) % SAMPLES;
        if (t->sample_count && r->step < t->samples[last].step)
            t->sample_count = 0; // it began again from its resume point
        t->samples[t->sample_count % SAMPLES].at = clock_seconds();
        t->samples[t->sample_count++ % SAMPLES].step = r->step;
        if (r->state == ISLR__RUN_STATE__RUN_RUNNING && !(r->group && *r->group) && curves++ < CURVES_MAX &&
            ask_curve(c, t, e))
            return -1;
    }
    return 0;
}

static int look(struct screen *s, struct caller *c, struct error *e)
{
    static const Islr__RunState at_work[] = {ISLR__RUN_STATE__RUN_STARTING, ISLR__RUN_STATE__RUN_RUNNING,
                                             ISLR__RUN_STATE__RUN_STOPPING};
    static const Islr__RunState waiting[] = {ISLR__RUN_STATE__RUN_QUEUED, ISLR__RUN_STATE__RUN_HELD};
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    clear(s);
    s->status = rpc_call(c, &m, ISLR__ENVELOPE__BODY_STATUS, 0, e);
    if (!s->status || ask_state(s, c, at_work, 3, e) || ask_state(s, c, waiting, 2, e) || ask_curves(s, c, e))
        return -1;
    forget_gone(s);
    return 0;
}

// ---- what is drawn --------------------------------------------------------------------------------------------------

// Steps a second; 0: not known.
static double rate_of(const struct tracked *t)
{
    if (t->sample_count < 2)
        return 0;
    unsigned first = t->sample_count > SAMPLES ? t->sample_count % SAMPLES : 0, last = (t->sample_count - 1) % SAMPLES;
    double seconds = t->samples[last].at - t->samples[first].at;
    return seconds > 0 ? (double)(t->samples[last].step - t->samples[first].step) / seconds : 0;
}

static void bar_of(const Islr__RunSummary *r, char text[BAR_SIZE])
{
    if (!r->steps) {
        strcpy(text, "-");
        return;
    }
    double share = (double)r->step / (double)r->steps;
    int full = share < 1 ? (int)(share * BAR) : BAR;
    snprintf(text, BAR_SIZE, "%.*s%.*s %3.0f%%", full, "############", BAR - full, "............", share * 100);
}

static void add_line(struct table *t, const struct screen *s, const Islr__RunSummary *r)
{
    char text[CUT_SIZE], bar[BAR_SIZE], spark[SPARK_SIZE];
    const struct tracked *k = NULL;
    for (size_t i = 0; i < s->count; i++)
        if (s->tracked[i].run == r->run)
            k = &s->tracked[i];
    double rate = k ? rate_of(k) : 0;
    bar_of(r, bar);
    table_cell(t, "%s%llu", r->parent ? "  " : "", (unsigned long long)r->run);
    table_text(t, text_cut(r->name ? r->name : "", NAME_MAX_SHOWN, text));
    table_text(t, r->user ? r->user : "");
    table_text(t, run_state_name(r->state));
    table_text(t, bar);
    if (rate > 0)
        table_cell(t, "%.3g/s", rate);
    else
        table_text(t, "-");
    table_text(t, rate > 0 && r->steps >= r->step ? clock_format((double)(r->steps - r->step) / rate, text) : "-");
    if (k && isfinite(k->loss))
        table_cell(t, "%.4g %s", k->loss, spark_text(&k->curve, spark));
    else
        table_text(t, "-");
    table_text(t, text_cut(r->reason ? r->reason : "", WHY_MAX, text));
}

static size_t lines_of_terminal(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row < 8 ? 24 : size.ws_row;
}

static void draw(const struct screen *s)
{
    static const char *const titles[] = {"RUN", "NAME", "USER", "STATE", "PROGRESS", "STEPS", "LEFT", "LOSS", "WHY"};
    const Islr__Status *status = s->status->status;
    struct table t = {0};
    char time[TEXT_SIZE];
    size_t shown = s->run_count, room = lines_of_terminal() - 5;
    if (s->terminal)
        fputs("\033[H\033[J", stdout);
    printf("%s  %llu running, %llu queued, %llu ended; %u rank%s, %u idle%s\n\n", text_time(clock_wall_ms(), time),
           (unsigned long long)status->running, (unsigned long long)status->queued, (unsigned long long)status->ended,
           status->workers, status->workers == 1 ? "" : "s", status->idle_workers,
           status->draining ? "; draining: no more runs are started" : "");
    if (s->terminal && shown > room)
        shown = room;
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        table_column(&t, titles[i], i == 5 || i == 6);
    for (size_t i = 0; i < shown; i++)
        add_line(&t, s, s->runs[i]);
    table_print(&t, stdout);
    if (shown < s->run_count + s->left_out)
        printf("and %zu%s more\n", s->run_count + s->left_out - shown, s->left_out ? " or" : "");
    fflush(stdout);
}

// ---- when -----------------------------------------------------------------------------------------------------------

struct news {
    struct screen *screen;
    uv_signal_t resized;
    uv_timer_t pause;
    int open, done;
    struct error why; // ERR_NONE: it is time to look
};

static void on_changed(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct news *n = context;
    (void)p;
    n->done = 1;
    if (m && m->body_case == ISLR__ENVELOPE__BODY_CHANGED)
        n->screen->version = m->changed->version;
    else if (m)
        error_set(&n->why, ERR_DAMAGED, "the server answered watch with %s", envelope_name(m));
    else
        n->why = *why;
}

static void on_resized(uv_signal_t *signal, int number)
{
    struct news *n = signal->data;
    (void)number;
    if (n->screen->status)
        draw(n->screen);
}

static void on_pause(uv_timer_t *timer)
{
    ((struct news *)timer->data)->done = 1;
}

static void on_handle_closed(uv_handle_t *handle)
{
    ((struct news *)handle->data)->open--;
}

// The window's size may change meanwhile.
static void run_until_done(struct news *n, struct caller *c)
{
    uv_loop_t *loop = caller_loop(c);
    uv_signal_init(loop, &n->resized);
    uv_timer_init(loop, &n->pause);
    n->resized.data = n->pause.data = n;
    uv_signal_start(&n->resized, on_resized, SIGWINCH);
    if (n->screen->untold)
        uv_timer_start(&n->pause, on_pause, EVERY_MS, 0);
    caller_run_until(c, &n->done);
    n->open = 2;
    uv_close((uv_handle_t *)&n->resized, on_handle_closed);
    uv_close((uv_handle_t *)&n->pause, on_handle_closed);
    while (n->open)
        uv_run(loop, UV_RUN_ONCE);
}

// Waits until it is time to look: the first time at once.
static int wait_for_news(struct screen *s, struct caller *c, struct error *e)
{
    struct news n = {.screen = s};
    Islr__Watch watch = ISLR__WATCH__INIT;
    Islr__Envelope m = ENVELOPE(WATCH, watch, &watch);
    watch.has_seen = 1;
    watch.seen = s->version;
    struct peer *p = caller_peer(c);
    if (!p)
        return error_set(e, ERR_UNREACHABLE, "the connection was lost");
    uv_update_time(caller_loop(c));
    if (!s->untold && !peer_request(p, &m, RPC_WATCH_MS + RPC_CALL_MS, on_changed, &n, e))
        return -1;
    run_until_done(&n, c);
    if (n.why.code == ERR_NONE)
        return 0;
    if (n.why.code == ERR_INVALID && !s->version) {
        s->untold = true;
        return 0;
    }
    *e = n.why;
    return -1;
}

int screen_run(const struct server *server)
{
    struct screen s = {.server = server, .terminal = isatty(STDOUT_FILENO)};
    struct error e = {ERR_NONE, ""};
    struct caller *c = caller_open(&server->address, server->token, &e);
    int code = c ? 0 : client_fail(&e);
    while (!code) {
        if (!c)
            c = caller_open(&server->address, server->token, &e);
        if (c && (!s.terminal || !wait_for_news(&s, c, &e)) && !look(&s, c, &e)) {
            draw(&s);
        } else if (!s.terminal || !link_is_break(&e)) {
            code = client_fail(&e);
        } else {
            e.text[120] = 0; // on one line
            printf("\r\033[Kthe server is away (");
            text_print(stdout, e.text);
            printf("); trying again, ctrl-c stops");
            fflush(stdout);
            caller_close(c);
            c = NULL;
            s.version = 0;
            s.untold = false;
            clock_sleep(AWAY_SECONDS);
        }
        if (!s.terminal || ferror(stdout))
            break;
    }
    clear(&s);
    free(s.tracked);
    caller_close(c);
    return code;
}
