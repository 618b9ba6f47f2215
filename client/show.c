// islrctl show: everything about one run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/list.h"
#include "client/run.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/rpc/checkpoint_list.h"
#include "core/spec/spec.h"

static int is_group(const Islr__RunDetail *d)
{
    return d->summary->group && *d->summary->group;
}

// Of very many the server sends the newest, and says how many there are (an older one does not).
static uint64_t attempts_of(const Islr__RunDetail *d)
{
    return d->attempt_count > d->n_attempts ? d->attempt_count : d->n_attempts;
}

static uint64_t events_of(const Islr__RunDetail *d)
{
    return d->event_count > d->n_events ? d->event_count : d->n_events;
}

static uint64_t ranks_of(const Islr__Attempt *a)
{
    return a->rank_count > a->n_ranks ? a->rank_count : a->n_ranks;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static void json_attempt(struct json *j, const Islr__Attempt *a)
{
    json_begin(j, NULL, '{');
    json_integer(j, "number", a->number);
    json_time(j, "started", a->started_ms);
    json_time(j, "ended", a->ended_ms);
    json_text(j, "outcome", a->outcome ? a->outcome : "");
    json_text(j, "reason", a->reason ? a->reason : "");
    json_integer(j, "resumed_from_step", (int64_t)a->resumed_from_step);
    json_integer(j, "rank_count", (int64_t)ranks_of(a));
    json_begin(j, "ranks", '[');
    for (size_t i = 0; i < a->n_ranks; i++) {
        json_begin(j, NULL, '{');
        json_integer(j, "rank", a->ranks[i]->rank);
        json_text(j, "host", a->ranks[i]->host ? a->ranks[i]->host : "");
        json_integer(j, "pid", a->ranks[i]->pid);
        json_text(j, "device", a->ranks[i]->device ? a->ranks[i]->device : "");
        json_end(j, '}');
    }
    json_end(j, ']');
    json_end(j, '}');
}

static void json_events(struct json *j, const Islr__RunDetail *d)
{
    json_integer(j, "event_count", (int64_t)events_of(d));
    json_begin(j, "events", '[');
    for (size_t i = 0; i < d->n_events; i++) {
        json_begin(j, NULL, '{');
        json_time(j, "time", d->events[i]->time_ms);
        json_text(j, "state", run_state_name(d->events[i]->state));
        json_text(j, "text", d->events[i]->text ? d->events[i]->text : "");
        json_end(j, '}');
    }
    json_end(j, ']');
}

static int print_json(struct caller *c, const Islr__RunDetail *d, struct error *e)
{
    int rc = 0;
    struct json j = {0};
    json_begin(&j, NULL, '{');
    run_json_summary(&j, d->summary);
    json_text(&j, "job_hash", d->job_hash ? d->job_hash : "");
    if (d->job) {
        char *job = spec_to_json(d->job);
        json_raw(&j, "job", job);
        free(job);
    } else {
        json_null(&j, "job");
    }
    json_integer(&j, "attempt_count", (int64_t)attempts_of(d));
    json_begin(&j, "attempts", '[');
    for (size_t i = 0; i < d->n_attempts; i++)
        json_attempt(&j, d->attempts[i]);
    json_end(&j, ']');
    run_json_checkpoints(&j, d->checkpoints, d->n_checkpoints);
    json_events(&j, d);
    if (is_group(d)) {
        json_begin(&j, "runs", '[');
        rc = list_json_members(c, d->summary->run, &j, e);
        json_end(&j, ']');
    }
    json_end(&j, '}');
    if (!rc)
        json_print(&j, stdout);
    free(j.text.text);
    return rc;
}

// ---- for people -----------------------------------------------------------------------------------------------------

static void print_safe(const char *text)
{
    text_print(stdout, text ? text : "");
}

static void print_summary(const Islr__RunSummary *s)
{
    char time[TEXT_SIZE], took[TEXT_SIZE];
    printf("run %llu  ", (unsigned long long)s->run);
    print_safe(s->name);
    printf("  (%s of ", s->kind ? s->kind : "job");
    print_safe(s->user);
    printf(")\nstate      %s", run_state_name(s->state));
    if (s->reason && *s->reason) {
        fputs(": ", stdout);
        print_safe(s->reason);
    }
    printf("\nsubmitted  %s, priority %d\n", text_time(s->submitted_ms, time), s->priority);
    if (s->started_ms) {
        int64_t until = s->ended_ms ? s->ended_ms : clock_wall_ms();
        printf("started    %s", text_time(s->started_ms, time));
        printf("%s%s, %s", s->ended_ms ? ", ended " : "", s->ended_ms ? text_time(s->ended_ms, time) : "",
               clock_format((double)(until - s->started_ms) / 1000, took));
        if (s->attempt) // a group has none of its own until it joins its folds
            printf(", %u rank%s, attempt %u", s->ranks, s->ranks == 1 ? "" : "s", s->attempt);
        putchar('\n');
    }
    if (s->group && *s->group) {
        printf("%-9s  %u runs, %u ended", s->group, s->children, s->children_ended);
        if (s->children_failed)
            printf(" (%u failed or cancelled)", s->children_failed);
        if (s->children_running)
            printf(", %u running", s->children_running);
        putchar('\n');
    }
    if (s->parent)
        printf("group      run %llu\n", (unsigned long long)s->parent);
    if (s->steps)
        printf("step       %llu of %llu\n", (unsigned long long)s->step, (unsigned long long)s->steps);
    for (size_t i = 0; i < s->n_final; i++) {
        fputs(i ? "           " : "figures    ", stdout);
        print_safe(s->final[i]->name);
        printf(" %.4f\n", s->final[i]->value);
    }
}

static void print_earlier(uint64_t all, size_t shown, const char *what)
{
    uint64_t left = all - shown;
    if (left)
        printf("  .. %llu earlier %s%s not shown\n", (unsigned long long)left, what, left == 1 ? " is" : "s are");
}

static void print_ranks(const Islr__Attempt *a)
{
    for (size_t r = 0; r < a->n_ranks; r++) {
        printf("     rank %u on ", a->ranks[r]->rank);
        print_safe(a->ranks[r]->host);
        printf(", pid %u, ", a->ranks[r]->pid);
        print_safe(a->ranks[r]->device);
        putchar('\n');
    }
    uint64_t left = ranks_of(a) - a->n_ranks;
    if (left)
        printf("     %s%llu %srank%s\n", a->n_ranks ? ".. and " : "", (unsigned long long)left,
               a->n_ranks ? "more " : "", left == 1 ? "" : "s");
}

static void print_attempts(const Islr__RunDetail *d)
{
    char time[TEXT_SIZE];
    print_earlier(attempts_of(d), d->n_attempts, "attempt");
    for (size_t i = 0; i < d->n_attempts; i++) {
        const Islr__Attempt *a = d->attempts[i];
        printf("  %u  %s  %s", a->number, text_time(a->started_ms, time),
               a->outcome && *a->outcome ? a->outcome : "under way");
        if (a->resumed_from_step)
            printf(", resumed from step %llu", (unsigned long long)a->resumed_from_step);
        if (a->reason && *a->reason) {
            fputs(": ", stdout);
            print_safe(a->reason);
        }
        putchar('\n');
        print_ranks(a);
    }
}

static void print_members(const Islr__RunDetail *d)
{
    for (size_t i = 0; i < d->n_checkpoints; i++) {
        const Islr__CheckpointInfo *c = d->checkpoints[i];
        if (!c->n_members)
            continue;
        printf("soup %llu is the average of", (unsigned long long)c->id);
        for (size_t m = 0; m < c->n_members; m++)
            printf("%s %llu", m ? "," : "", (unsigned long long)c->members[m]);
        putchar('\n');
    }
}

static int print_text(struct caller *c, const Islr__RunDetail *d, struct error *e)
{
    char time[TEXT_SIZE];
    print_summary(d->summary);
    if (is_group(d)) {
        puts("\nruns");
        if (list_print_members(c, d->summary->run, e))
            return -1;
    }
    if (attempts_of(d))
        puts("\nattempts");
    print_attempts(d);
    if (d->n_checkpoints) {
        puts("\ncheckpoints");
        run_print_checkpoints(d->checkpoints, d->n_checkpoints, stdout);
        print_members(d);
    }
    if (events_of(d))
        puts("\nevents");
    print_earlier(events_of(d), d->n_events, "event");
    for (size_t i = 0; i < d->n_events; i++) {
        printf("  %s  %-9s  ", text_time(d->events[i]->time_ms, time), run_state_name(d->events[i]->state));
        print_safe(d->events[i]->text);
        putchar('\n');
    }
    if (d->job) {
        char *job = spec_to_yaml(d->job);
        printf("\njob  (sha256 %s)\n", d->job_hash ? d->job_hash : "?");
        text_print_lines(stdout, job);
        free(job);
    }
    return 0;
}

// A run's detail has the newest of very many checkpoints: then the others are asked for. What they are part of is in
// *all, for the caller to free.
static int complete_checkpoints(struct caller *c, Islr__RunDetail *d, Islr__Envelope **all, struct error *e)
{
    if (d->checkpoint_count <= d->n_checkpoints)
        return 0;
    *all = checkpoint_list_ask(c, d->summary->run, NULL, e);
    return *all ? 0 : -1;
}

static int show(struct caller *c, const char *name, bool json, struct error *e)
{
    uint64_t run;
    Islr__Envelope *answer = run_find(c, name, &run, e) ? NULL : run_get(c, run, e), *all = NULL;
    if (!answer)
        return -1;
    Islr__RunDetail *d = answer->run_detail, shown = *d;
    if (d->job)
        spec_complete(d->job);
    int rc = complete_checkpoints(c, d, &all, e);
    if (all) {
        shown.checkpoints = all->checkpoint_list->checkpoints;
        shown.n_checkpoints = all->checkpoint_list->n_checkpoints;
    }
    rc = rc || (json ? print_json(c, &shown, e) : print_text(c, &shown, e)) ? -1 : 0;
    envelope_free(all);
    envelope_free(answer);
    return rc;
}

int command_show(int argc, char **argv)
{
    const char *address = NULL, *name = NULL;
    bool json = false;
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        OPTION_JSON(
            &json,
            "as in `list`, and \"job_hash\", \"job\", \"attempt_count\", \"attempts\": [{\"number\", "
            "\"started\", \"ended\", \"outcome\", \"reason\", \"resumed_from_step\", \"rank_count\", "
            "\"ranks\": [{\"rank\", \"host\", \"pid\", \"device\"}]}], \"checkpoints\" (as in "
            "`checkpoints`), \"event_count\", \"events\": [{\"time\", \"state\", \"text\"}], and of a group "
            "\"runs\": as in `list`. Of very many attempts, ranks and events the newest are there: the counts say "
            "of how many"),
        {0}};
    const struct option_operand operands[] = {{"RUN", "its number or @last", .value = &name}, {0}};
    const struct usage usage = {"islrctl show", "everything about one run", options, operands, "islrctl show @last"};
    struct error e = {ERR_NONE, ""};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    code = show(c, name, json, &e) ? client_fail(&e) : 0;
    caller_close(c);
    return code;
}
