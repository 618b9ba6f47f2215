// islrctl metrics: a run's figures, as lines, CSV or JSON, to its end if wanted.
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/run.h"
#include "client/text.h"
#include "client/watch.h"
#include "core/base/decimal.h"
#include "core/base/memory.h"

struct printer {
    bool json, csv, evaluations, header_done;
    struct option_list wanted; // patterns; none: all
    struct json document;
    struct strbuf rows; // of a record
};

static bool is_wanted(const struct printer *p, const char *name)
{
    for (size_t i = 0; i < p->wanted.count; i++)
        if (!fnmatch(p->wanted.items[i], name, 0))
            return true;
    return p->wanted.count == 0;
}

static size_t count_wanted(const struct printer *p, const Islr__MetricPoint *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++)
        n += is_wanted(p, m->names[i]);
    return n;
}

static void print_json(struct printer *p, const Islr__Record *r)
{
    const Islr__MetricPoint *m = r->metric;
    struct json *j = &p->document;
    json_begin(j, NULL, '{');
    json_integer(j, "seq", (int64_t)r->seq);
    json_time(j, "time", r->time_ms);
    json_integer(j, "attempt", r->attempt);
    json_integer(j, "step", (int64_t)m->step);
    json_number(j, "epoch", m->epoch);
    json_boolean(j, "evaluation", m->evaluation);
    json_begin(j, "values", '{');
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++)
        if (is_wanted(p, m->names[i]))
            json_number(j, m->names[i], m->values[i]);
    json_end(j, '}');
    json_end(j, '}');
    json_print(j, stdout);
}

// Names come from the training program; quotes are doubled all the same (RFC 4180).
static void add_csv_name(struct strbuf *b, const char *name)
{
    strbuf_add(b, "\"", 1);
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        strbuf_add(b, name, (size_t)(quote - name));
        strbuf_add(b, "\"\"", 2);
    }
    strbuf_add(b, name, strlen(name));
    strbuf_add(b, "\"", 1);
}

// What a record's figures have in common is put together once, and all of them are written at once.
static void print_csv(struct printer *p, const Islr__Record *r)
{
    const Islr__MetricPoint *m = r->metric;
    struct strbuf *b = &p->rows;
    char common[128], value[DECIMAL_MAX];
    if (!p->header_done)
        puts("seq,time_ms,attempt,step,epoch,evaluation,metric,value");
    p->header_done = true;
    int length = snprintf(common, sizeof common, "%llu,%lld,%u,%llu,%.9g,%d,", (unsigned long long)r->seq,
                          (long long)r->time_ms, r->attempt, (unsigned long long)m->step, m->epoch, m->evaluation);
    b->length = 0;
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++) {
        if (!is_wanted(p, m->names[i]))
            continue;
        strbuf_add(b, common, (size_t)length);
        add_csv_name(b, m->names[i]);
        strbuf_add(b, ",", 1);
        strbuf_add(b, value, decimal_put(value, m->values[i], 9));
        strbuf_add(b, "\n", 1);
    }
    fwrite(b->text, 1, b->length, stdout);
}

static void print_line(struct printer *p, const Islr__Record *r)
{
    const Islr__MetricPoint *m = r->metric;
    char value[DECIMAL_MAX];
    printf("%sstep %llu  epoch %.4g", m->evaluation ? "evaluation  " : "", (unsigned long long)m->step, m->epoch);
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++) {
        if (!is_wanted(p, m->names[i]))
            continue;
        fputs("  ", stdout);
        text_print(stdout, m->names[i]);
        decimal_put(value, m->values[i], 6);
        printf(" %s", value);
    }
    putchar('\n');
}

static int on_record(void *context, uint64_t member, const Islr__Record *r)
{
    (void)member;
    struct printer *p = context;
    if (r->what_case != ISLR__RECORD__WHAT_METRIC || (p->evaluations && !r->metric->evaluation) ||
        !count_wanted(p, r->metric))
        return 0;
    if (p->json)
        print_json(p, r);
    else if (p->csv)
        print_csv(p, r);
    else
        print_line(p, r);
    return ferror(stdout);
}

int command_metrics(int argc, char **argv)
{
    const char *address = NULL, *name = NULL;
    int64_t since = 0;
    struct follower_options o = {.metrics = true};
    struct printer p = {false};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        {'f', "follow", NULL, "go on until the run has ended", OPTION_FLAG, &o.keep},
        {0, "since", "SEQ", "only what comes after this sequence number", OPTION_INT, &since, .min = 0, .max = 9e15},
        {'m', "metric", "PATTERN", "only these (\"loss/*\")", OPTION_LIST, &p.wanted},
        {'e', "evaluations", NULL, "only figures on held-out clips", OPTION_FLAG, &p.evaluations},
        {0, "csv", NULL, "a row a figure: seq,time_ms,attempt,step,epoch,evaluation,metric,value", OPTION_FLAG, &p.csv},
        OPTION_JSON(&p.json, "one object a line: {\"seq\", \"time\", \"attempt\", \"step\", \"epoch\", "
                             "\"evaluation\", \"values\": {metric: value}}"),
        {0}};
    const struct option_operand operands[] = {{"RUN", "its number or @last", .value = &name}, {0}};
    const struct usage usage = {"islrctl metrics",
                                "a run's figures",
                                options,
                                operands,
                                "islrctl metrics 12 -e -m 'accuracy/*'\nislrctl metrics 12 --csv > run12.csv",
                                "With -f it ends with the run's own exit code (0 succeeded, 1 failed, 130 cancelled), "
                                "waits for a server that goes away, and neither loses nor repeats a figure."};
    int code;
    if (options_parse(&usage, argc, argv, &code)) {
        o.after_seq = (uint64_t)since;
        code = follow_printed(address, name, &o, on_record, &p);
    }
    option_list_free(&p.wanted);
    free(p.document.text.text);
    free(p.rows.text);
    return code;
}
