// islrctl plot: curves of runs' figures, on the terminal or as SVG.
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/chart.h"
#include "client/command.h"
#include "client/follower.h"
#include "client/run.h"
#include "client/text.h"
#include "core/base/file.h"

enum { CHARTS_MAX = 50, SERIES_MAX = 200, WIDTH_MIN = 30, LINES = 16 };

static const char DEFAULT_METRIC[] = "loss/student";

struct plot {
    const char *address, *out;
    struct option_list names, wanted;
    struct chart *charts; // one a metric
    size_t count;
    struct option_list known; // metrics that the runs have, while nothing fits
    char label[160];          // of the run that is being read
};

// ---- reading --------------------------------------------------------------------------------------------------------

static bool is_wanted(const struct plot *p, const char *name)
{
    if (!p->wanted.count)
        return !strcmp(name, DEFAULT_METRIC);
    for (size_t i = 0; i < p->wanted.count; i++)
        if (!fnmatch(p->wanted.items[i], name, 0))
            return true;
    return false;
}

static void remember(struct plot *p, const char *name)
{
    for (size_t i = 0; i < p->known.count; i++)
        if (!strcmp(p->known.items[i], name))
            return;
    p->known.items = xrealloc(p->known.items, p->known.count + 1, sizeof *p->known.items);
    p->known.items[p->known.count++] = xstrdup(name);
}

static struct chart *chart_of(struct plot *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->charts[i].title, name))
            return &p->charts[i];
    if (p->count == CHARTS_MAX)
        return NULL;
    p->charts = xrealloc(p->charts, p->count + 1, sizeof *p->charts);
    p->charts[p->count] = (struct chart){.title = xstrdup(name), .x_title = "step"};
    return &p->charts[p->count++];
}

static int on_record(void *context, uint64_t member, const Islr__Record *r)
{
    (void)member;
    struct plot *p = context;
    if (r->what_case != ISLR__RECORD__WHAT_METRIC)
        return 0;
    const Islr__MetricPoint *m = r->metric;
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++) {
        remember(p, m->names[i]);
        struct chart *c = is_wanted(p, m->names[i]) ? chart_of(p, m->names[i]) : NULL;
        if (c)
            chart_add(chart_series(c, p->label), (double)m->step, m->values[i]);
    }
    return 0;
}

static int read_run(struct plot *p, const struct server *s, struct caller *c, uint64_t run, struct error *e)
{
    struct follower_options o = {.run = run, .metrics = true};
    struct follower_events events = {.context = p, .on_record = on_record};
    struct follow_result result;
    Islr__Envelope *answer = run_get(c, run, e);
    if (!answer)
        return -1;
    const char *name = answer->run_detail->summary->name;
    snprintf(p->label, sizeof p->label, "run %llu%s%.100s", (unsigned long long)run, name && *name ? "  " : "",
             name ? name : "");
    envelope_free(answer);
    return follower_run(s, &o, &events, &result, e);
}

static int read_runs(struct plot *p, const struct server *s, struct error *e)
{
    uint64_t *runs = NULL;
    size_t count = 0;
    struct caller *c = caller_open(&s->address, s->token, e);
    int rc = c ? run_find_all(c, &p->names, true, &runs, &count, e) : -1;
    if (!rc && count > SERIES_MAX)
        rc = error_set(e, ERR_INVALID, "these are %zu runs: a plot shows at most %d", count, SERIES_MAX);
    for (size_t i = 0; i < count && !rc; i++)
        rc = read_run(p, s, c, runs[i], e);
    caller_close(c);
    free(runs);
    return rc;
}

// ---- showing --------------------------------------------------------------------------------------------------------

static int fail_empty(const struct plot *p, struct error *e)
{
    struct strbuf names = {0};
    for (size_t i = 0; i < p->known.count; i++)
        strbuf_printf(&names, "%s%s", i ? ", " : "", p->known.items[i]);
    if (!p->known.count)
        error_set(e, ERR_NOT_FOUND, "the runs have no figures yet");
    else
        error_set(e, ERR_NOT_FOUND, "the runs have no figure %s; there are: %s",
                  p->wanted.count ? p->wanted.items[0] : DEFAULT_METRIC, names.text);
    free(names.text);
    return -1;
}

static void print_charts(const struct plot *p)
{
    struct winsize size;
    int columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
    int width = columns - 14 > WIDTH_MIN ? columns - 14 : WIDTH_MIN;
    for (size_t i = 0; i < p->count; i++) {
        if (i)
            putchar('\n');
        chart_print(&p->charts[i], width, LINES, stdout);
    }
}

static int write_charts(const struct plot *p, struct error *e)
{
    struct strbuf svg = {0};
    chart_svg(p->charts, p->count, &svg);
    int rc = file_write_atomic(p->out, svg.text, svg.length, e);
    free(svg.text);
    return rc;
}

static int plot(struct plot *p, struct error *e)
{
    struct server s;
    size_t n = p->out ? strlen(p->out) : 0;
    if (p->out && (n < 5 || strcmp(p->out + n - 4, ".svg")))
        return error_set(e, ERR_INVALID, "-o %s: only SVG is written, under a name that ends in .svg", p->out);
    if (server_find(p->address, &s, e))
        return -1;
    int rc = read_runs(p, &s, e);
    server_free(&s);
    if (rc)
        return -1;
    size_t empty = 0;
    for (size_t i = 0; i < p->count; i++)
        empty += chart_is_empty(&p->charts[i]) != 0;
    if (empty == p->count)
        return fail_empty(p, e);
    if (p->out)
        return write_charts(p, e);
    print_charts(p);
    return 0;
}

int command_plot(int argc, char **argv)
{
    struct plot p = {NULL};
    const struct option_row options[] = {
        OPTION_SERVER(&p.address),
        {'m', "metric", "PATTERN", "which figures (\"accuracy/*\"), each in a plot of its own", OPTION_LIST, &p.wanted,
         .default_shown = DEFAULT_METRIC},
        {'o', "out", "FILE.svg", "as SVG instead of on the terminal", OPTION_PATH, &p.out},
        {0}};
    const struct option_operand operands[] = {
        {"RUN", "a run's number or @last; a group stands for its runs", .list = &p.names}, {0}};
    const struct usage usage = {"islrctl plot",
                                "curves of runs' figures over their steps",
                                options,
                                operands,
                                "islrctl plot 12 13\nislrctl plot @last -m 'accuracy/*' -m loss/valid -o curves.svg",
                                "What `islrctl metrics RUN --json` prints is what is drawn."};
    struct error e = {ERR_NONE, ""};
    int code;
    if (options_parse(&usage, argc, argv, &code))
        code = plot(&p, &e) ? client_fail(&e) : 0;
    for (size_t i = 0; i < p.count; i++)
        chart_free(&p.charts[i]);
    free(p.charts);
    for (size_t i = 0; i < p.known.count; i++)
        free((char *)p.known.items[i]);
    free(p.known.items);
    option_list_free(&p.names);
    option_list_free(&p.wanted);
    return code;
}
