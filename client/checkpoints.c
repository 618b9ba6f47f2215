// islrctl checkpoints: what a run has saved.
#include "client/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/run.h"
#include "client/server.h"

void checkpoints_print(uint64_t run, const Islr__CheckpointList *l, bool json)
{
    struct json j = {0};
    if (!json) {
        run_print_checkpoints(l->checkpoints, l->n_checkpoints, stdout);
        return;
    }
    json_begin(&j, NULL, '{');
    json_integer(&j, "run", (int64_t)run);
    run_json_checkpoints(&j, l->checkpoints, l->n_checkpoints);
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

int command_checkpoints(int argc, char **argv)
{
    const char *address = NULL, *name = NULL;
    bool json = false;
    const struct option_row options[] = {OPTION_SERVER(&address), OPTION_JSON(&json, CHECKPOINTS_DOCUMENT), {0}};
    const struct option_operand operands[] = {{"RUN", "its number or @last", .value = &name}, {0}};
    const struct usage usage = {"islrctl checkpoints", "what a run has saved", options, operands,
                                "islrctl checkpoints @last"};
    struct error e = {ERR_NONE, ""};
    uint64_t run;
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__Envelope *answer = run_find(c, name, &run, &e) ? NULL : checkpoint_list_ask(c, run, NULL, &e);
    code = answer ? 0 : client_fail(&e);
    if (answer)
        checkpoints_print(run, answer->checkpoint_list, json);
    envelope_free(answer);
    caller_close(c);
    return code;
}
