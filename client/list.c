// islrctl list: the queue and what has run, newest first.
#include "client/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/listing.h"
#include "client/run.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"

enum {
    STATES_MAX = 16,
    WHY_MAX = 50 // characters of a reason; `show` has all of it
};

// "queued,running"
static int parse_states(const char *text, Islr__RunState *states, size_t *count, struct error *e)
{
    while (text && *text) {
        size_t n = strcspn(text, ",");
        if (*count == STATES_MAX || run_state_parse(text, n, &states[*count]))
            return error_set(e, ERR_INVALID,
                             "'%.*s' is no state; allowed: queued, held, starting, running, stopping, succeeded, "
                             "failed, cancelled",
                             (int)n, text);
        ++*count;
        text += n + (text[n] == ',');
    }
    return 0;
}

static const Islr__Value *find_final(const Islr__RunSummary *s, const char *name)
{
    for (size_t i = 0; i < s->n_final; i++)
        if (s->final[i]->name && !strcmp(s->final[i]->name, name))
            return s->final[i];
    return NULL;
}

// The best known of the final accuracies: what the run was for.
static const char *const accuracies[] = {"accuracy/cv", "accuracy/soup", "accuracy/distilled", "accuracy/student"};
enum { ACCURACIES = sizeof accuracies / sizeof *accuracies };

static const Islr__Value *find_accuracy(const Islr__RunSummary *s)
{
    for (size_t i = 0; i < ACCURACIES; i++) {
        const Islr__Value *v = find_final(s, accuracies[i]);
        if (v)
            return v;
    }
    return NULL;
}

static void add_row(struct table *t, const Islr__RunSummary *s)
{
    char text[CUT_SIZE];
    int64_t until = s->ended_ms ? s->ended_ms : clock_wall_ms();
    const Islr__Value *accuracy = find_accuracy(s);
    table_number(t, s->run);
    table_text(t, s->name ? s->name : "");
    table_text(t, s->user ? s->user : "");
    table_text(t, run_state_name(s->state));
    if (s->steps)
        table_cell(t, "%llu/%llu", (unsigned long long)s->step, (unsigned long long)s->steps);
    else if (s->group)
        table_cell(t, "%u runs", s->children);
    else
        table_text(t, "-");
    if (accuracy)
        table_cell(t, "%.4f", accuracy->value);
    else
        table_text(t, "-");
    table_text(t, text_time(s->submitted_ms, text));
    table_text(t, s->started_ms ? clock_format((double)(until - s->started_ms) / 1000, text) : "-");
    table_text(t, text_cut(s->reason ? s->reason : "", WHY_MAX, text));
}

static int add_runs(struct listing *l, const Islr__Envelope *m, struct error *e)
{
    if (m->body_case != ISLR__ENVELOPE__BODY_RUN_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of runs", envelope_name(m));
    for (size_t i = 0; i < m->run_list->n_runs; i++) {
        if (!l->json) {
            add_row(&l->table, m->run_list->runs[i]);
            continue;
        }
        json_begin(&l->document, NULL, '{');
        run_json_summary(&l->document, m->run_list->runs[i]);
        json_end(&l->document, '}');
    }
    return 0;
}

static void begin(struct listing *l)
{
    static const struct table_column columns[] = {{"RUN", true},        {"NAME", false}, {"USER", false},
                                                  {"STATE", false},     {"STEP", true},  {"ACCURACY", true},
                                                  {"SUBMITTED", false}, {"TOOK", true},  {"WHY", false}};
    listing_begin(l, "runs", columns, sizeof columns / sizeof *columns);
}

// ---- of a group -----------------------------------------------------------------------------------------------------

// A table shows one figure of each run: the others need not be sent. An older server sends them.
static void want_shown(Islr__ListRuns *list, const struct listing *l)
{
    list->first_of = l->json ? NULL : (char **)accuracies;
    list->n_first_of = l->json ? 0 : ACCURACIES;
}

static int ask_members(struct caller *c, uint64_t group, struct listing *l, struct error *e)
{
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    list.has_parent = list.has_limit = 1;
    list.parent = group;
    list.limit = 0;
    want_shown(&list, l);
    return listing_ask(l, c, &m, e);
}

int list_print_members(struct caller *c, uint64_t group, struct error *e)
{
    struct listing l = {.add = add_runs};
    begin(&l);
    int rc = ask_members(c, group, &l, e);
    listing_end(&l, !rc);
    return rc;
}

int list_json_members(struct caller *c, uint64_t group, struct json *document, struct error *e)
{
    struct listing l = {.json = true, .document = *document, .add = add_runs};
    int rc = ask_members(c, group, &l, e);
    *document = l.document;
    return rc;
}

// ---- the command ----------------------------------------------------------------------------------------------------

static int print_list(const char *address, const char *parent, Islr__ListRuns *list, struct listing *l)
{
    struct error e = {ERR_NONE, ""};
    int code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    if (parent && run_find(c, parent, &list->parent, &e)) {
        caller_close(c);
        return client_fail(&e);
    }
    list->has_parent = parent != NULL;
    want_shown(list, l);
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, list);
    begin(l);
    code = listing_print(l, c, &m);
    caller_close(c);
    return code;
}

int command_list(int argc, char **argv)
{
    const char *address = NULL, *states = NULL, *user = NULL, *name = NULL, *since = NULL, *where = NULL, *sort = NULL;
    const char *parent = NULL;
    bool children = false;
    int64_t limit = 50;
    struct listing l = {.add = add_runs};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        {'s', "state", "S,..", "only runs in these states", OPTION_STRING, &states},
        {'u', "user", "USER", "only this user's", OPTION_STRING, &user},
        {0, "name", "GLOB", "only runs whose name matches", OPTION_STRING, &name},
        {0, "since", "TIME", "submitted since: 90s, 15m, 2h, 3d, 1w ago, or 2026-03-01[T12:00]", OPTION_STRING, &since},
        {0, "where", "EXPR", "only runs with these figures: 'accuracy/soup>0.7 and steps>=100'", OPTION_STRING, &where},
        {0, "sort", "FIELD", "by a field or a metric, descending with '-' before it", OPTION_STRING, &sort},
        {0, "parent", "RUN", "only the runs of this group, oldest first", OPTION_STRING, &parent},
        {0, "children", NULL, "the runs of groups too, not the groups alone", OPTION_FLAG, &children},
        {'n', "limit", "N", "at most so many", OPTION_INT, &limit, .min = 1, .max = 1e6},
        OPTION_JSON(&l.json,
                    "{\"runs\": [{\"run\", \"name\", \"user\", \"state\", \"reason\", \"kind\", \"priority\", "
                    "\"submitted\", \"started\", \"ended\", \"attempt\", \"ranks\", \"step\", \"steps\", "
                    "\"final\": {metric: value}, \"parent\" (null: none), and of a group \"group\": folds|sweep, "
                    "\"children\": {\"count\", \"ended\", \"failed\", \"running\"}}]}; times are UTC or null"),
        {0}};
    const struct usage usage = {"islrctl list", "the queue and what has run, newest first", options, NULL,
                                "islrctl list --state queued,running\nislrctl list --where 'accuracy/soup>0.7' --sort "
                                "-accuracy/soup"};
    struct error e = {ERR_NONE, ""};
    Islr__RunState wanted[STATES_MAX];
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    list.states = wanted;
    list.user = (char *)user;
    list.name = (char *)name;
    list.where = (char *)where;
    list.sort = (char *)sort;
    list.has_limit = 1;
    list.limit = (uint32_t)limit;
    if (parse_states(states, wanted, &list.n_states, &e) ||
        (since && text_parse_time(since, clock_wall_ms(), &list.since_ms, &e)))
        return client_fail(&e);
    list.has_since_ms = since != NULL;
    list.has_children = children;
    list.children = children;
    return print_list(address, parent, &list, &l);
}
