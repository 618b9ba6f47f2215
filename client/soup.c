// islrctl soup: a job that averages what runs have left, made of their numbers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/run.h"
#include "client/server.h"
#include "client/submit.h"
#include "core/base/memory.h"
#include "core/spec/emit.h"
#include "core/spec/spec.h"

struct recipe {
    const char *method, *data, *fold;
    struct option_list names;
    struct strbuf models, title; // the job's list, "12:soup + 13:soup"
    Islr__Envelope *first;       // the first ingredient's run
    char *first_fold;
};

static void add_ingredient(struct recipe *r, uint64_t run, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%llu:%s", (unsigned long long)run, what);
    strbuf_printf(&r->models, "%s", r->models.length ? ", " : "models=[");
    emit_string(&r->models, name);
    strbuf_printf(&r->title, "%s%s", r->title.length ? "+" : "soup ", name);
}

// Greedy soups are judged on clips that no ingredient has trained on.
static int check_fold(struct recipe *r, struct caller *c, uint64_t run, struct error *e)
{
    if (strcmp(r->method, "greedy") || r->fold)
        return 0;
    Islr__Envelope *answer = run_get(c, run, e);
    if (!answer)
        return -1;
    Islr__JobSpec *job = answer->run_detail->job;
    if (!job) {
        envelope_free(answer);
        return error_set(e, ERR_DAMAGED, "the server does not say what the job of run %llu is",
                         (unsigned long long)run);
    }
    spec_complete(job);
    int rc = 0;
    if (!r->first) {
        r->first_fold = xstrdup(job->data->fold);
        r->first = answer;
        return 0;
    }
    if (strcmp(job->data->fold, r->first_fold))
        rc = error_set(e, ERR_INVALID,
                       "run %llu holds out fold %s, run %llu fold %s: name the clips to judge by with --fold",
                       (unsigned long long)r->first->run_detail->summary->run, r->first_fold, (unsigned long long)run,
                       job->data->fold);
    envelope_free(answer);
    return rc;
}

static int add_name(struct recipe *r, struct caller *c, const char *text, struct error *e)
{
    char *name = xstrdup(text), *colon = strchr(name, ':');
    const char *what = colon ? colon + 1 : "soup";
    uint64_t *runs = NULL;
    size_t count = 0;
    if (colon)
        *colon = 0;
    const char *one = name;
    const struct option_list names = {&one, 1};
    int rc = strlen(what) > 64 || !*what ? error_set(e, ERR_INVALID, "'%s' is not RUN or RUN:WHAT", text)
                                         : run_find_all(c, &names, true, &runs, &count, e);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = check_fold(r, c, runs[i], e);
        add_ingredient(r, runs[i], what);
    }
    free(runs);
    free(name);
    return rc;
}

static void add_override(struct submit *s, char *text)
{
    s->overrides.items = xrealloc(s->overrides.items, s->overrides.count + 1, sizeof *s->overrides.items);
    s->overrides.items[s->overrides.count++] = text;
}

static void add_text(struct submit *s, const char *key, const char *value)
{
    struct strbuf b = {0};
    strbuf_printf(&b, "%s=", key);
    emit_string(&b, value);
    add_override(s, b.text);
}

static void add_data(struct submit *s, const struct recipe *r)
{
    const Islr__Data *of = r->first ? r->first->run_detail->job->data : NULL;
    if (r->data || of)
        add_text(s, "data.path", r->data ? r->data : of->path);
    if (r->fold || of)
        add_text(s, "data.fold", r->fold ? r->fold : of->fold);
    if (!of)
        return;
    add_override(s, xprintf("data.k=%u", of->k));
    add_override(s, xprintf("data.fold_seed=%llu", (unsigned long long)of->fold_seed));
    add_text(s, "data.fold_file", of->fold_file);
}

static int make_job(struct submit *s, struct recipe *r, struct caller *c, struct error *e)
{
    for (size_t i = 0; i < r->names.count; i++)
        if (add_name(r, c, r->names.items[i], e))
            return -1;
    strbuf_printf(&r->models, "]");
    char title[61];
    snprintf(title, sizeof title, "%s", r->title.text);
    add_override(s, xstrdup("kind=soup"));
    add_override(s, xstrdup(r->models.text));
    add_text(s, "method", r->method);
    add_text(s, "name", title);
    if (!strcmp(r->method, "greedy"))
        add_data(s, r);
    return 0;
}

static int soup(struct submit *s, struct recipe *r)
{
    struct error e = {ERR_NONE, ""};
    int code;
    struct caller *c = server_connect(s->address, &code);
    if (!c)
        return code;
    code = make_job(s, r, c, &e) ? client_fail(&e) : 0;
    caller_close(c);
    return code ? code : submit_run(s);
}

int command_soup(int argc, char **argv)
{
    struct submit s = {NULL};
    struct recipe r = {.method = "uniform"};
    const struct option_row options[] = {
        OPTION_SERVER(&s.address),
        {'m', "method", "uniform|greedy", "the mean of all, or of those that make it better on held-out clips",
         OPTION_CHOICE, &r.method},
        {0, "data", "DIR", "greedy: judged on these clips", OPTION_STRING, &r.data, .default_shown = "the runs' own"},
        {0, "fold", "N", "greedy: on those of this fold", OPTION_STRING, &r.fold,
         .default_shown = "the one that the runs hold out"},
        {0, "name", "NAME", "of the new run", OPTION_STRING, &s.name},
        {'f', "follow", NULL, "show how it goes until it has ended", OPTION_FLAG, &s.follow},
        {'w', "wait", NULL, "wait until it has ended", OPTION_FLAG, &s.wait},
        {0, "dry-run", NULL, "print the job; submit nothing", OPTION_FLAG, &s.dry_run},
        OPTION_JSON(&s.json, "as `submit`"),
        {0}};
    const struct option_operand operands[] = {
        {"RUN[:WHAT]", "checkpoints as `pull` names them, soup by default; a group stands for its runs",
         .list = &r.names},
        {0}};
    const struct usage usage = {"islrctl soup",
                                "average checkpoints of runs; prints the number of the run that does it",
                                options,
                                operands,
                                "islrctl soup 12 13 14 --wait\nislrctl soup 40 --method greedy",
                                "The ingredients are recorded with the soup and are not collected while it is kept."};
    int code;
    if (options_parse(&usage, argc, argv, &code))
        code = soup(&s, &r);
    for (size_t i = 0; i < s.overrides.count; i++)
        free((char *)s.overrides.items[i]);
    submit_free(&s);
    option_list_free(&r.names);
    envelope_free(r.first);
    free(r.first_fold);
    free(r.models.text);
    free(r.title.text);
    return code;
}
