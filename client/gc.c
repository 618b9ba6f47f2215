// islrctl gc: removes checkpoints that nobody needs any more.
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/run.h"
#include "client/server.h"
#include "client/text.h"

static void print_json(const Islr__Collected *c, bool dry_run)
{
    struct json j = {0};
    json_begin(&j, NULL, '{');
    json_boolean(&j, "dry_run", dry_run);
    json_integer(&j, "count", c->count);
    json_integer(&j, "bytes", (int64_t)c->bytes);
    run_json_checkpoints(&j, c->checkpoints, c->n_checkpoints);
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

static void print_text(const Islr__Collected *c, bool dry_run)
{
    struct table t = {0};
    char size[TEXT_SIZE];
    table_column(&t, "ID", true);
    table_column(&t, "RUN", true);
    table_column(&t, "WHAT", false);
    table_column(&t, "EPOCH", true);
    table_column(&t, "SIZE", true);
    for (size_t i = 0; i < c->n_checkpoints; i++) {
        const Islr__CheckpointInfo *x = c->checkpoints[i];
        table_cell(&t, "%llu", (unsigned long long)x->id);
        table_cell(&t, "%llu", (unsigned long long)x->run);
        table_cell(&t, "%s", x->what ? x->what : "");
        if (x->epoch)
            table_cell(&t, "%u", x->epoch);
        else
            table_cell(&t, "final");
        table_cell(&t, "%s", text_bytes(x->size_bytes, size));
    }
    if (c->n_checkpoints)
        table_print(&t, stdout);
    if (c->n_checkpoints < c->count)
        printf("and %zu more\n", c->count - c->n_checkpoints);
    fprintf(stderr, "%u checkpoints %s, %s\n", c->count, dry_run ? "would be removed" : "removed",
            text_bytes(c->bytes, size));
}

int command_gc(int argc, char **argv)
{
    const char *address = NULL;
    bool dry_run = false, json = false;
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        {'n', "dry-run", NULL, "only say what would go", OPTION_FLAG, &dry_run},
        OPTION_JSON(&json, "{\"dry_run\", \"count\", \"bytes\", \"checkpoints\": as in `checkpoints`}"),
        {0}};
    const struct usage usage = {
        "islrctl gc",
        "remove checkpoints that nobody needs any more",
        options,
        NULL,
        "islrctl gc --dry-run",
        "Of runs that have ended stay: all final models, soups and their ingredients, what is pinned, and of the "
        "epochs "
        "as many as the job's checkpoint.keep_latest and keep_best say. Nothing is taken from a run that `retry` could "
        "go "
        "on with, or that the job of a waiting or running one names. Bytes are those that the disk gets back."};
    struct error e = {ERR_NONE, ""};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__Collect collect = ISLR__COLLECT__INIT;
    Islr__Envelope m = ENVELOPE(COLLECT, collect, &collect);
    collect.has_dry_run = 1;
    collect.dry_run = dry_run;
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_COLLECTED, 60000, &e);
    code = answer ? 0 : client_fail(&e);
    if (answer && json)
        print_json(answer->collected, dry_run);
    else if (answer)
        print_text(answer->collected, dry_run);
    envelope_free(answer);
    caller_close(c);
    return code;
}
