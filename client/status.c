// islrctl status: the server's state.
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/json.h"
#include "client/server.h"
#include "client/text.h"

static void print_json(const Islr__Status *s, const Islr__Welcome *w)
{
    struct json j = {0};
    json_begin(&j, NULL, '{');
    json_text(&j, "version", s->version ? s->version : "");
    json_text(&j, "server_id", s->server_id ? s->server_id : "");
    json_text(&j, "user", w->user ? w->user : "");
    json_text(&j, "role", w->role ? w->role : "");
    json_time(&j, "started", s->started_ms);
    json_integer(&j, "queued", (int64_t)s->queued);
    json_integer(&j, "running", (int64_t)s->running);
    json_integer(&j, "ended", (int64_t)s->ended);
    json_integer(&j, "workers", s->workers);
    json_integer(&j, "idle_workers", s->idle_workers);
    json_boolean(&j, "draining", s->draining);
    json_text(&j, "directory", s->directory ? s->directory : "");
    json_integer(&j, "artifact_bytes", (int64_t)s->artifact_bytes);
    json_integer(&j, "connections", s->connections);
    json_integer(&j, "memory_bytes", (int64_t)s->memory_bytes);
    json_integer(&j, "database_bytes", (int64_t)s->database_bytes);
    json_integer(&j, "refused_reports", (int64_t)s->refused_reports);
    json_begin(&j, "notes", '[');
    for (size_t i = 0; i < s->n_notes; i++)
        json_text(&j, NULL, s->notes[i]);
    json_end(&j, ']');
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

static void print_text(const Islr__Status *s, const Islr__Welcome *w)
{
    char time[TEXT_SIZE], size[TEXT_SIZE];
    printf("server     islrd %s, up since %s, in %s\n", s->version ? s->version : "?", text_time(s->started_ms, time),
           s->directory ? s->directory : "?");
    printf("you        %s (%s)\n", w->user && *w->user ? w->user : "?", w->role && *w->role ? w->role : "?");
    printf("runs       %llu queued, %llu running, %llu ended%s\n", (unsigned long long)s->queued,
           (unsigned long long)s->running, (unsigned long long)s->ended,
           s->draining ? "; draining: no more runs are started" : "");
    printf("workers    %u rank%s, %u idle\n", s->workers, s->workers == 1 ? "" : "s", s->idle_workers);
    printf("artifacts  %s\n", text_bytes(s->artifact_bytes, size));
    if (s->memory_bytes) {
        char database[TEXT_SIZE];
        printf("memory     %s, %s of it the database's; %u connections\n", text_bytes(s->memory_bytes, size),
               text_bytes(s->database_bytes, database), s->connections);
    }
    if (s->refused_reports)
        printf("refused    %llu messages of workers on runs that are not theirs: see the server's log\n",
               (unsigned long long)s->refused_reports);
    for (size_t i = 0; i < s->n_notes; i++) {
        printf("%-10s ", i ? "" : "notes");
        text_print(stdout, s->notes[i]);
        putchar('\n');
    }
}

int command_status(int argc, char **argv)
{
    const char *address = NULL;
    bool json = false;
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        OPTION_JSON(&json, "{\"version\", \"server_id\", \"user\", \"role\", \"started\", \"queued\", \"running\", "
                           "\"ended\", \"workers\", \"idle_workers\", \"draining\", \"directory\", \"artifact_bytes\", "
                           "\"connections\", \"memory_bytes\", \"database_bytes\", \"refused_reports\" (of ranks on "
                           "runs that are not theirs, since the "
                           "start: see the server's log), \"notes\": [what is amiss with worlds and ranks]}"),
        {0}};
    const struct usage usage = {"islrctl status", "the server's state", options, NULL, "islrctl status --json"};
    struct error e = {ERR_NONE, ""};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_STATUS, 0, &e);
    if (!answer)
        code = client_fail(&e);
    else if (json)
        print_json(answer->status, caller_welcome(c));
    else
        print_text(answer->status, caller_welcome(c));
    code = answer ? 0 : code;
    envelope_free(answer);
    caller_close(c);
    return code;
}
