// islrctl cancel, hold, release, retry, set, pin, unpin: one request each.
#include "client/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/json.h"
#include "client/run.h"
#include "client/server.h"
#include "core/base/memory.h"

int control_send(struct caller *c, Islr__Control__Verb verb, const uint64_t *targets, size_t count, int32_t priority,
                 struct error *e)
{
    Islr__Control control = ISLR__CONTROL__INIT;
    control.has_verb = control.has_priority = 1;
    control.verb = verb;
    control.priority = priority;
    control.n_targets = count;
    control.targets = (uint64_t *)targets;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &control);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_OK, 0, e);
    envelope_free(answer);
    return answer ? 0 : -1;
}

// What one of these commands is.
struct verb {
    Islr__Control__Verb verb;
    bool checkpoints; // its targets are checkpoints' ids, not runs
    const char *done; // "cancelled", for people
    struct usage usage;
};

static int find_target(const struct verb *v, struct caller *c, const char *text, uint64_t *target, struct error *e)
{
    if (!v->checkpoints)
        return run_find(c, text, target, e);
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number == 0)
        return error_set(e, ERR_INVALID, "'%s' is no checkpoint's id (islrctl checkpoints RUN lists them)", text);
    *target = number;
    return 0;
}

static int control_names(const struct verb *v, struct caller *c, const struct option_list *names, int32_t priority,
                         bool json, struct error *e)
{
    uint64_t *targets = xcalloc(names->count, sizeof *targets);
    int rc = 0;
    for (size_t i = 0; i < names->count && !rc; i++)
        rc = find_target(v, c, names->items[i], &targets[i], e);
    rc = rc || control_send(c, v->verb, targets, names->count, priority, e) ? -1 : 0;
    if (!rc && json) {
        struct json j = {0};
        json_begin(&j, NULL, '{');
        json_begin(&j, v->checkpoints ? "checkpoints" : "runs", '[');
        for (size_t i = 0; i < names->count; i++)
            json_integer(&j, NULL, (int64_t)targets[i]);
        json_end(&j, ']');
        json_end(&j, '}');
        json_print(&j, stdout);
        free(j.text.text);
    } else if (!rc) {
        for (size_t i = 0; i < names->count; i++)
            fprintf(stderr, "%s %llu: %s\n", v->checkpoints ? "checkpoint" : "run", (unsigned long long)targets[i],
                    v->done);
    }
    free(targets);
    return rc;
}

static int control_connected(const struct verb *v, const char *address, const struct option_list *names,
                             int32_t priority, bool json)
{
    struct error e = {ERR_NONE, ""};
    int code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    code = control_names(v, c, names, priority, json, &e) ? client_fail(&e) : 0;
    caller_close(c);
    return code;
}

static int control_command(const struct verb *v, int argc, char **argv)
{
    const char *address = NULL;
    bool json = false;
    struct option_list names = {0};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        OPTION_JSON(&json, v->checkpoints ? "{\"checkpoints\": [ID, ..]}" : "{\"runs\": [NUMBER, ..]}"),
        {0}};
    const struct option_operand operands[] = {
        v->checkpoints ? (struct option_operand){"ID", "a checkpoint's id (islrctl checkpoints RUN)", .list = &names}
                       : (struct option_operand){"RUN", "a run's number or @last", .list = &names},
        {0}};
    struct usage usage = v->usage;
    int code;
    usage.options = options;
    usage.operands = operands;
    if (options_parse(&usage, argc, argv, &code))
        code = control_connected(v, address, &names, 0, json);
    option_list_free(&names);
    return code;
}

int command_cancel(int argc, char **argv)
{
    static const struct verb verb = {
        ISLR__CONTROL__VERB__VERB_CANCEL,
        false,
        "cancelled",
        {"islrctl cancel", "stop runs", NULL, NULL, "islrctl cancel 12",
         "A running one saves a resume point at its next step first; `islrctl retry` goes on from it."}};
    return control_command(&verb, argc, argv);
}

int command_hold(int argc, char **argv)
{
    static const struct verb verb = {ISLR__CONTROL__VERB__VERB_HOLD,
                                     false,
                                     "held",
                                     {"islrctl hold", "keep queued runs from starting", NULL, NULL, "islrctl hold 12"}};
    return control_command(&verb, argc, argv);
}

int command_release(int argc, char **argv)
{
    static const struct verb verb = {ISLR__CONTROL__VERB__VERB_RELEASE,
                                     false,
                                     "released",
                                     {"islrctl release", "let held runs start", NULL, NULL, "islrctl release 12"}};
    return control_command(&verb, argc, argv);
}

int command_retry(int argc, char **argv)
{
    static const struct verb verb = {ISLR__CONTROL__VERB__VERB_RETRY,
                                     false,
                                     "queued again",
                                     {"islrctl retry",
                                      "let failed or cancelled runs go on from their last resume point", NULL, NULL,
                                      "islrctl retry 12"}};
    return control_command(&verb, argc, argv);
}

int command_pin(int argc, char **argv)
{
    static const struct verb verb = {
        ISLR__CONTROL__VERB__VERB_PIN,
        true,
        "pinned",
        {"islrctl pin", "keep checkpoints from being collected", NULL, NULL, "islrctl pin 118"}};
    return control_command(&verb, argc, argv);
}

int command_unpin(int argc, char **argv)
{
    static const struct verb verb = {
        ISLR__CONTROL__VERB__VERB_UNPIN,
        true,
        "no longer pinned",
        {"islrctl unpin", "let checkpoints be collected again", NULL, NULL, "islrctl unpin 118"}};
    return control_command(&verb, argc, argv);
}

static int parse_setting(const char *text, int32_t *priority, struct error *e)
{
    static const char prefix[] = "priority=";
    if (strncmp(text, prefix, sizeof prefix - 1))
        return error_set(e, ERR_INVALID, "'%s' is no setting; allowed: priority=P", text);
    char *end;
    const char *value = text + sizeof prefix - 1;
    errno = 0;
    long v = strtol(value, &end, 10);
    if (!*value || *end || errno || v < -1000000 || v > 1000000)
        return error_set(e, ERR_INVALID, "priority must be a whole number from -1000000 to 1000000, not '%s'", value);
    *priority = (int32_t)v;
    return 0;
}

int command_set(int argc, char **argv)
{
    static const struct verb verb = {.verb = ISLR__CONTROL__VERB__VERB_SET_PRIORITY, .done = "priority set"};
    const char *address = NULL, *name = NULL, *setting = NULL;
    bool json = false;
    const struct option_row options[] = {OPTION_SERVER(&address), OPTION_JSON(&json, "{\"runs\": [NUMBER]}"), {0}};
    const struct option_operand operands[] = {
        {"RUN", "its number or @last", .value = &name},
        {"priority=P", "higher ones start first and may have lower ones make room; 0 by default", .value = &setting},
        {0}};
    const struct usage usage = {"islrctl set", "change a run's priority", options, operands,
                                "islrctl set 12 priority=10"};
    struct error e = {ERR_NONE, ""};
    int32_t priority = 0;
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (parse_setting(setting, &priority, &e))
        return client_fail(&e);
    const struct option_list names = {&name, 1};
    return control_connected(&verb, address, &names, priority, json);
}
