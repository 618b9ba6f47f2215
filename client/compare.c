// islrctl compare: in what settings runs differ, and what came of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/run.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"

enum {
    SIDE_BY_SIDE = 6, // runs that get a column each; more get a line each
    VALUE_MAX = 24    // characters of a value for people
};

struct compared {
    Islr__Envelope *answer;
    const Islr__RunSummary *summary;
    struct spec_settings settings; // none where the server's job is missing
};

struct comparison {
    struct compared *runs;
    size_t count;
    size_t *differing; // indices of settings
    size_t differing_count;
    const char **figures; // names
    size_t figure_count;
};

// ---- finding out ----------------------------------------------------------------------------------------------------

static int load(struct caller *c, struct comparison *p, const uint64_t *runs, size_t count, struct error *e)
{
    p->runs = xcalloc(count, sizeof *p->runs);
    for (size_t i = 0; i < count; i++) {
        struct compared *r = &p->runs[p->count];
        r->answer = run_get(c, runs[i], e);
        if (!r->answer)
            return -1;
        p->count++;
        r->summary = r->answer->run_detail->summary;
        Islr__JobSpec *job = r->answer->run_detail->job;
        if (!job)
            return error_set(e, ERR_DAMAGED, "the server does not say what the job of run %llu is",
                             (unsigned long long)runs[i]);
        spec_complete(job);
        r->settings = spec_settings(job);
    }
    return 0;
}

static void find_differences(struct comparison *p)
{
    size_t settings = p->runs[0].settings.count;
    p->differing = xcalloc(settings + 1, sizeof *p->differing);
    for (size_t k = 0; k < settings; k++) {
        size_t i = 1;
        while (i < p->count && !strcmp(p->runs[i].settings.items[k].value, p->runs[0].settings.items[k].value))
            i++;
        if (i < p->count)
            p->differing[p->differing_count++] = k;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void find_figures(struct comparison *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const Islr__RunSummary *s = p->runs[i].summary;
        for (size_t k = 0; k < s->n_final; k++) {
            const char *name = s->final[k]->name ? s->final[k]->name : "";
            size_t at = 0;
            while (at < p->figure_count && strcmp(p->figures[at], name))
                at++;
            if (at < p->figure_count)
                continue;
            p->figures = xrealloc(p->figures, p->figure_count + 1, sizeof *p->figures);
            p->figures[p->figure_count++] = name;
        }
    }
    if (p->figure_count)
        qsort(p->figures, p->figure_count, sizeof *p->figures, by_name);
}

static const Islr__Value *figure_of(const Islr__RunSummary *s, const char *name)
{
    for (size_t k = 0; k < s->n_final; k++)
        if (s->final[k]->name && !strcmp(s->final[k]->name, name))
            return s->final[k];
    return NULL;
}

// ---- printing -------------------------------------------------------------------------------------------------------

static void print_json(const struct comparison *p)
{
    struct json j = {0};
    json_begin(&j, NULL, '{');
    json_begin(&j, "settings", '[');
    for (size_t k = 0; k < p->differing_count; k++)
        json_text(&j, NULL, p->runs[0].settings.items[p->differing[k]].name);
    json_end(&j, ']');
    json_begin(&j, "figures", '[');
    for (size_t k = 0; k < p->figure_count; k++)
        json_text(&j, NULL, p->figures[k]);
    json_end(&j, ']');
    json_begin(&j, "runs", '[');
    for (size_t i = 0; i < p->count; i++) {
        const struct compared *r = &p->runs[i];
        json_begin(&j, NULL, '{');
        json_integer(&j, "run", (int64_t)r->summary->run);
        json_text(&j, "name", r->summary->name ? r->summary->name : "");
        json_text(&j, "state", run_state_name(r->summary->state));
        json_begin(&j, "settings", '{');
        for (size_t k = 0; k < p->differing_count; k++)
            json_raw(&j, r->settings.items[p->differing[k]].name, r->settings.items[p->differing[k]].value);
        json_end(&j, '}');
        json_begin(&j, "final", '{');
        for (size_t k = 0; k < r->summary->n_final; k++)
            json_number(&j, r->summary->final[k]->name, r->summary->final[k]->value);
        json_end(&j, '}');
        json_end(&j, '}');
    }
    json_end(&j, ']');
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

// What line `row` of the comparison says of a run: number, name, state, the differing settings, the figures.
static void add_cell(struct table *t, const struct comparison *p, size_t row, const struct compared *r)
{
    char text[CUT_SIZE];
    if (row == 0)
        table_cell(t, "%llu", (unsigned long long)r->summary->run);
    else if (row == 1)
        table_cell(t, "%s", text_cut(r->summary->name ? r->summary->name : "", VALUE_MAX, text));
    else if (row == 2)
        table_cell(t, "%s", run_state_name(r->summary->state));
    else if (row - 3 < p->differing_count)
        table_cell(t, "%s", text_cut(r->settings.items[p->differing[row - 3]].value, VALUE_MAX, text));
    else {
        const Islr__Value *v = figure_of(r->summary, p->figures[row - 3 - p->differing_count]);
        if (v)
            table_cell(t, "%.4f", v->value);
        else
            table_cell(t, "-");
    }
}

static const char *title_of(const struct comparison *p, size_t row)
{
    static const char *const first[] = {"RUN", "NAME", "STATE"};
    if (row < 3)
        return first[row];
    row -= 3;
    return row < p->differing_count ? p->runs[0].settings.items[p->differing[row]].name
                                    : p->figures[row - p->differing_count];
}

static void print_columns(const struct comparison *p, size_t rows)
{
    struct table t = {0};
    table_column(&t, "RUN", false);
    for (size_t i = 0; i < p->count; i++) {
        char title[32];
        snprintf(title, sizeof title, "%llu", (unsigned long long)p->runs[i].summary->run);
        table_column(&t, title, true);
    }
    for (size_t row = 1; row < rows; row++) {
        table_cell(&t, "%s", title_of(p, row));
        for (size_t i = 0; i < p->count; i++)
            add_cell(&t, p, row, &p->runs[i]);
    }
    table_print(&t, stdout);
}

static void print_lines(const struct comparison *p, size_t rows)
{
    struct table t = {0};
    size_t shown = rows < TABLE_COLUMNS ? rows : TABLE_COLUMNS;
    for (size_t row = 0; row < shown; row++)
        table_column(&t, title_of(p, row), row != 1 && row != 2);
    for (size_t i = 0; i < p->count; i++)
        for (size_t row = 0; row < shown; row++)
            add_cell(&t, p, row, &p->runs[i]);
    table_print(&t, stdout);
    if (shown < rows)
        fprintf(stderr, "islrctl: %zu further settings and figures are left out; --json has them\n", rows - shown);
}

static void print_text(const struct comparison *p)
{
    size_t rows = 3 + p->differing_count + p->figure_count;
    if (p->count <= SIDE_BY_SIDE)
        print_columns(p, rows);
    else
        print_lines(p, rows);
}

static void free_comparison(struct comparison *p)
{
    for (size_t i = 0; i < p->count; i++) {
        spec_settings_free(&p->runs[i].settings);
        envelope_free(p->runs[i].answer);
    }
    free(p->runs);
    free(p->differing);
    free(p->figures);
}

static int compare(struct caller *c, const struct option_list *names, bool json, struct error *e)
{
    struct comparison p = {0};
    uint64_t *runs = NULL;
    size_t count = 0;
    int rc = run_find_all(c, names, true, &runs, &count, e);
    if (!rc && count < 2)
        rc = error_set(e, ERR_INVALID, "there is nothing to compare run %llu with", (unsigned long long)runs[0]);
    rc = rc || load(c, &p, runs, count, e) ? -1 : 0;
    if (!rc) {
        find_differences(&p);
        find_figures(&p);
        if (json)
            print_json(&p);
        else
            print_text(&p);
    }
    free_comparison(&p);
    free(runs);
    return rc;
}

int command_compare(int argc, char **argv)
{
    const char *address = NULL;
    bool json = false;
    struct option_list names = {0};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        OPTION_JSON(&json, "{\"settings\": [NAME], \"figures\": [NAME], \"runs\": [{\"run\", \"name\", \"state\", "
                           "\"settings\": {name: value}, \"final\": {metric: value}}]}"),
        {0}};
    const struct option_operand operands[] = {
        {"RUN", "a run's number or @last; a group stands for its runs", .list = &names}, {0}};
    const struct usage usage = {"islrctl compare", "differing settings and final figures of runs, side by side",
                                options, operands, "islrctl compare 12 13\nislrctl compare 40 --json"};
    struct error e = {ERR_NONE, ""};
    int code;
    if (options_parse(&usage, argc, argv, &code)) {
        struct caller *c = server_connect(address, &code);
        if (c)
            code = compare(c, &names, json, &e) ? client_fail(&e) : 0;
        caller_close(c);
    }
    option_list_free(&names);
    return code;
}
