// Runs as a client names and shows them: see run.h.
#include "client/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/text.h"
#include "core/base/memory.h"

static const char *const state_names[] = {
    [ISLR__RUN_STATE__RUN_QUEUED] = "queued",     [ISLR__RUN_STATE__RUN_HELD] = "held",
    [ISLR__RUN_STATE__RUN_STARTING] = "starting", [ISLR__RUN_STATE__RUN_RUNNING] = "running",
    [ISLR__RUN_STATE__RUN_STOPPING] = "stopping", [ISLR__RUN_STATE__RUN_SUCCEEDED] = "succeeded",
    [ISLR__RUN_STATE__RUN_FAILED] = "failed",     [ISLR__RUN_STATE__RUN_CANCELLED] = "cancelled",
};
enum { STATE_COUNT = sizeof state_names / sizeof *state_names };

const char *run_state_name(Islr__RunState state)
{
    return (unsigned)state < STATE_COUNT ? state_names[state] : "unknown";
}

int run_state_parse(const char *name, size_t length, Islr__RunState *state)
{
    for (int i = 0; i < STATE_COUNT; i++)
        if (strlen(state_names[i]) == length && !memcmp(state_names[i], name, length)) {
            *state = (Islr__RunState)i;
            return 0;
        }
    return -1;
}

int run_state_ended(Islr__RunState state)
{
    return state == ISLR__RUN_STATE__RUN_SUCCEEDED || state == ISLR__RUN_STATE__RUN_FAILED ||
           state == ISLR__RUN_STATE__RUN_CANCELLED;
}

int run_state_exit_code(Islr__RunState state)
{
    return state == ISLR__RUN_STATE__RUN_SUCCEEDED   ? ERR_NONE
           : state == ISLR__RUN_STATE__RUN_CANCELLED ? ERR_INTERRUPTED
                                                     : ERR_FAILED;
}

Islr__Envelope *run_get(struct caller *c, uint64_t run, struct error *e)
{
    Islr__GetRun get = ISLR__GET_RUN__INIT;
    get.has_run = 1;
    get.run = run;
    Islr__Envelope m = ENVELOPE(GET_RUN, get_run, &get);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_RUN_DETAIL, 0, e);
    if (answer && !answer->run_detail->summary) {
        envelope_free(answer);
        error_set(e, ERR_DAMAGED, "the server's answer about run %llu is empty", (unsigned long long)run);
        return NULL;
    }
    return answer;
}

int run_find(struct caller *c, const char *text, uint64_t *run, struct error *e)
{
    if (!strcmp(text, "@last")) {
        Islr__Envelope *answer = run_get(c, 0, e);
        if (!answer)
            return -1;
        *run = answer->run_detail->summary->run;
        envelope_free(answer);
        return 0;
    }
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || v == 0)
        return error_set(e, ERR_INVALID, "'%s' does not name a run: its number, or @last", text);
    *run = v;
    return 0;
}

// ---- many -----------------------------------------------------------------------------------------------------------

struct found {
    uint64_t *runs;
    size_t count;
};

static void add_found(struct found *f, uint64_t run)
{
    f->runs = xrealloc(f->runs, f->count + 1, sizeof *f->runs);
    f->runs[f->count++] = run;
}

static int take_member(void *context, const Islr__Envelope *m, struct error *e)
{
    if (m->body_case != ISLR__ENVELOPE__BODY_RUN_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of runs", envelope_name(m));
    for (size_t i = 0; i < m->run_list->n_runs; i++)
        add_found(context, m->run_list->runs[i]->run);
    return 0;
}

// The run itself, or its members if it is a group.
static int find_members(struct caller *c, uint64_t run, struct found *f, struct error *e)
{
    size_t before = f->count;
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
    list.has_parent = list.has_limit = 1;
    list.parent = run;
    list.limit = 0;
    if (rpc_stream(c, &m, 0, take_member, f, e))
        return -1;
    if (f->count == before)
        add_found(f, run);
    return 0;
}

int run_find_all(struct caller *c, const struct option_list *names, bool members, uint64_t **runs, size_t *count,
                 struct error *e)
{
    struct found f = {0};
    int rc = 0;
    for (size_t i = 0; i < names->count && !rc; i++) {
        uint64_t run = 0;
        rc = run_find(c, names->items[i], &run, e);
        if (!rc && members)
            rc = find_members(c, run, &f, e);
        else if (!rc)
            add_found(&f, run);
    }
    *runs = f.runs;
    *count = f.count;
    return rc;
}

static void json_values(struct json *j, const char *key, Islr__Value *const *values, size_t count)
{
    json_begin(j, key, '{');
    for (size_t i = 0; i < count; i++)
        json_number(j, values[i]->name ? values[i]->name : "", values[i]->value);
    json_end(j, '}');
}

void run_json_summary(struct json *j, const Islr__RunSummary *s)
{
    json_integer(j, "run", (int64_t)s->run);
    json_text(j, "name", s->name ? s->name : "");
    json_text(j, "user", s->user ? s->user : "");
    json_text(j, "state", run_state_name(s->state));
    json_text(j, "reason", s->reason ? s->reason : "");
    json_text(j, "kind", s->kind ? s->kind : "");
    json_integer(j, "priority", s->priority);
    json_time(j, "submitted", s->submitted_ms);
    json_time(j, "started", s->started_ms);
    json_time(j, "ended", s->ended_ms);
    json_integer(j, "attempt", s->attempt);
    json_integer(j, "ranks", s->ranks);
    json_integer(j, "step", (int64_t)s->step);
    json_integer(j, "steps", (int64_t)s->steps);
    json_values(j, "final", s->final, s->n_final);
    if (s->parent)
        json_integer(j, "parent", (int64_t)s->parent);
    else
        json_null(j, "parent");
    if (!s->group || !*s->group)
        return;
    json_text(j, "group", s->group);
    json_begin(j, "children", '{');
    json_integer(j, "count", s->children);
    json_integer(j, "ended", s->children_ended);
    json_integer(j, "failed", s->children_failed);
    json_integer(j, "running", s->children_running);
    json_end(j, '}');
}

void run_json_checkpoint(struct json *j, const Islr__CheckpointInfo *c)
{
    json_integer(j, "id", (int64_t)c->id);
    json_integer(j, "run", (int64_t)c->run);
    json_text(j, "what", c->what ? c->what : "");
    json_integer(j, "epoch", c->epoch);
    json_integer(j, "step", (int64_t)c->step);
    json_hash(j, "sha256", c->sha256.data, c->sha256.len);
    json_integer(j, "size_bytes", (int64_t)c->size_bytes);
    json_time(j, "time", c->time_ms);
    json_boolean(j, "pinned", c->pinned);
    json_boolean(j, "lost", c->lost);
    json_begin(j, "members", '[');
    for (size_t i = 0; i < c->n_members; i++)
        json_integer(j, NULL, (int64_t)c->members[i]);
    json_end(j, ']');
    json_values(j, "metrics", c->metrics, c->n_metrics);
}

void run_json_checkpoints(struct json *j, Islr__CheckpointInfo *const *list, size_t count)
{
    json_begin(j, "checkpoints", '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(j, NULL, '{');
        run_json_checkpoint(j, list[i]);
        json_end(j, '}');
    }
    json_end(j, ']');
}

void run_print_checkpoints(Islr__CheckpointInfo *const *list, size_t count, FILE *stream)
{
    struct table t = {0};
    char time[TEXT_SIZE], size[TEXT_SIZE];
    table_column(&t, "ID", true);
    table_column(&t, "WHAT", false);
    table_column(&t, "EPOCH", true);
    table_column(&t, "STEP", true);
    table_column(&t, "SIZE", true);
    table_column(&t, "TIME", false);
    table_column(&t, "SHA-256", false);
    table_column(&t, "", false);
    for (size_t i = 0; i < count; i++) {
        const Islr__CheckpointInfo *c = list[i];
        char digits[17] = "";
        for (size_t b = 0; b < c->sha256.len && b < 8; b++)
            snprintf(digits + 2 * b, 3, "%02x", c->sha256.data[b]);
        table_cell(&t, "%llu", (unsigned long long)c->id);
        table_cell(&t, "%s", c->what ? c->what : "");
        if (c->epoch)
            table_cell(&t, "%u", c->epoch);
        else
            table_cell(&t, "%s", c->what && !strcmp(c->what, "resume") ? "-" : "final");
        table_cell(&t, "%llu", (unsigned long long)c->step);
        table_cell(&t, "%s", text_bytes(c->size_bytes, size));
        table_cell(&t, "%s", text_time(c->time_ms, time));
        table_cell(&t, "%s", digits);
        table_cell(&t, "%s%s%s", c->pinned ? "pinned" : "", c->n_members ? " soup" : "", c->lost ? " lost" : "");
    }
    table_print(&t, stream);
}
