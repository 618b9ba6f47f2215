// islrctl drain and resume-scheduling: whether the server starts runs.
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/json.h"
#include "client/server.h"

// The server's whole state in one word, so that a script needs not ask for it.
static int set_draining(const char *address, bool on, bool now, bool json)
{
    struct error e = {ERR_NONE, ""};
    int code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__Control control = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &control);
    control.has_verb = control.has_now = 1;
    control.verb = on ? ISLR__CONTROL__VERB__VERB_DRAIN : ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING;
    control.now = now;
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_OK, 0, &e);
    code = answer ? 0 : client_fail(&e);
    if (answer && json) {
        struct json j = {0};
        json_begin(&j, NULL, '{');
        json_boolean(&j, "draining", on);
        json_end(&j, '}');
        json_print(&j, stdout);
        free(j.text.text);
    } else if (answer) {
        fprintf(stderr, "%s\n",
                !on   ? "runs are started again"
                : now ? "no more runs are started; those that run save and go back into the queue"
                      : "no more runs are started; those that run go on");
    }
    envelope_free(answer);
    caller_close(c);
    return code;
}

int command_drain(int argc, char **argv)
{
    const char *address = NULL;
    bool now = false, json = false;
    const struct option_row options[] = {
        {0, "now", NULL, "also have what runs save and go back into the queue", OPTION_FLAG, &now},
        OPTION_SERVER(&address),
        OPTION_JSON(&json, "{\"draining\": true}"),
        {0}};
    const struct usage usage = {
        "islrctl drain",
        "start no more runs, until `islrctl resume-scheduling`",
        options,
        NULL,
        "islrctl drain --now",
        "For admins, before maintenance. Submissions are taken all the while, and the server stays drained when it is "
        "started again. A run that was stopped by --now goes on from where it saved, with all its attempts left."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    return set_draining(address, true, now, json);
}

int command_resume_scheduling(int argc, char **argv)
{
    const char *address = NULL;
    bool json = false;
    const struct option_row options[] = {OPTION_SERVER(&address), OPTION_JSON(&json, "{\"draining\": false}"), {0}};
    const struct usage usage = {"islrctl resume-scheduling", "start runs again after `islrctl drain`", options, NULL,
                                "islrctl resume-scheduling"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    return set_draining(address, false, false, json);
}
