// islrctl logs: a run's log lines, from any point on, to its end if wanted.
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/run.h"
#include "client/text.h"
#include "client/watch.h"

struct printer {
    bool json, numbers;
    struct json document;
};

static void print_json(struct json *j, uint64_t member, const Islr__Record *r)
{
    json_begin(j, NULL, '{');
    if (member)
        json_integer(j, "run", (int64_t)member);
    json_integer(j, "seq", (int64_t)r->seq);
    json_time(j, "time", r->time_ms);
    json_integer(j, "attempt", r->attempt);
    if (r->what_case == ISLR__RECORD__WHAT_LOG) {
        json_text(j, "log", r->log);
    } else {
        json_text(j, "state", run_state_name(r->state));
        json_text(j, "reason", r->reason ? r->reason : "");
    }
    json_end(j, '}');
    json_print(j, stdout);
}

static int on_record(void *context, uint64_t member, const Islr__Record *r)
{
    struct printer *p = context;
    if (r->what_case != ISLR__RECORD__WHAT_LOG && r->what_case != ISLR__RECORD__WHAT_STATE)
        return 0;
    if (p->json) {
        print_json(&p->document, member, r);
        return ferror(stdout);
    }
    char time[TEXT_SIZE];
    if (member)
        printf("%llu| ", (unsigned long long)member);
    if (p->numbers)
        printf("%llu ", (unsigned long long)r->seq);
    printf("%s ", text_time(r->time_ms, time));
    if (r->what_case == ISLR__RECORD__WHAT_LOG) {
        text_print(stdout, r->log);
    } else {
        printf("-- %s", run_state_name(r->state));
        if (r->reason && *r->reason) {
            fputs(": ", stdout);
            text_print(stdout, r->reason);
        }
    }
    putchar('\n');
    return ferror(stdout);
}

int command_logs(int argc, char **argv)
{
    const char *address = NULL, *name = NULL;
    int64_t since = 0;
    struct follower_options o = {.logs = true, .members = true};
    struct printer p = {false};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        {'f', "follow", NULL, "go on until the run has ended", OPTION_FLAG, &o.keep},
        {0, "since", "SEQ", "only what comes after this sequence number", OPTION_INT, &since, .min = 0, .max = 9e15},
        {'n', "numbers", NULL, "put each line's sequence number before it", OPTION_FLAG, &p.numbers},
        OPTION_JSON(&p.json, "one object a line: {\"seq\", \"time\", \"attempt\", \"log\"} or, where the run's state "
                             "changes, {.., \"state\", \"reason\"}; of the runs of a group {\"run\", ..}"),
        {0}};
    const struct option_operand operands[] = {{"RUN", "its number or @last", .value = &name}, {0}};
    const struct usage usage = {
        "islrctl logs",
        "what a run has said",
        options,
        operands,
        "islrctl logs @last -f",
        "What the runs of a group have said stands behind their numbers; --since and --numbers are the "
        "group's own and each run's own. "
        "With -f it ends with the run's own exit code (0 succeeded, 1 failed, 130 cancelled), "
        "waits for a server that goes away, and neither loses nor repeats a line."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    o.after_seq = (uint64_t)since;
    code = follow_printed(address, name, &o, on_record, &p);
    free(p.document.text.text);
    return code;
}
