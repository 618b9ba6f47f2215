// islrctl token create, list, revoke: who may use the server from elsewhere. For admins.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/json.h"
#include "client/listing.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"

static void json_info(struct json *j, const Islr__TokenInfo *i)
{
    json_integer(j, "id", (int64_t)i->id);
    json_text(j, "user", i->user ? i->user : "");
    json_text(j, "role", i->role ? i->role : "");
    json_time(j, "created", i->created_ms);
    json_time(j, "expires", i->expires_ms);
    json_time(j, "revoked", i->revoked_ms);
}

// ---- create ---------------------------------------------------------------------------------------------------------

static void print_created(const Islr__TokenCreated *t, bool json)
{
    char time[TEXT_SIZE];
    struct json j = {0};
    if (!json) {
        printf("%s\n", t->token ? t->token : "");
        text_say("token %llu for %s (%s)%s%s; it is shown this once", (unsigned long long)t->info->id, t->info->user,
                 t->info->role, t->info->expires_ms ? ", until " : "",
                 t->info->expires_ms ? text_time(t->info->expires_ms, time) : "");
        return;
    }
    json_begin(&j, NULL, '{');
    json_info(&j, t->info);
    json_text(&j, "token", t->token);
    json_end(&j, '}');
    json_print(&j, stdout);
    free(j.text.text);
}

static int create(const char *address, Islr__CreateToken *q, bool json)
{
    struct error e;
    int code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__Envelope m = ENVELOPE(CREATE_TOKEN, create_token, q);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_TOKEN_CREATED, 0, &e);
    if (answer && !answer->token_created->info)
        error_set(&e, ERR_DAMAGED, "the server's answer is empty");
    code = answer && answer->token_created->info ? 0 : client_fail(&e);
    if (!code)
        print_created(answer->token_created, json);
    envelope_free(answer);
    caller_close(c);
    return code;
}

static int command_create(int argc, char **argv)
{
    const char *address = NULL, *user = NULL, *role = NULL, *expires = NULL;
    bool json = false;
    const struct option_row options[] = {
        {0, "user", "U", "whose runs it makes and may control", OPTION_STRING, &user},
        {0, "role", "viewer|submitter|admin|worker",
         "viewer: looks; submitter: also submits, and controls own runs; admin: everything; worker: for islrd work",
         OPTION_CHOICE, &role},
        {0, "expires", "TIME", "from then on it is not valid: 12h, 30d, 4w from now, or 2027-03-01[T12:00]",
         OPTION_STRING, &expires, .default_shown = "never"},
        OPTION_SERVER(&address),
        OPTION_JSON(&json, "{\"id\", \"user\", \"role\", \"created\", \"expires\", \"revoked\", \"token\"}"),
        {0}};
    const struct usage usage = {"islrctl token create",
                                "make a token; it is shown this once, the server keeps its hash",
                                options,
                                NULL,
                                "islrctl token create --user ann --role submitter --expires 90d",
                                NULL};
    struct error e;
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (!user || !role) {
        error_set(&e, ERR_INVALID, "a token is for somebody and something: --user and --role are needed");
        return client_fail(&e);
    }
    Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
    q.user = (char *)user;
    q.role = (char *)role;
    q.has_expires_ms = expires != NULL;
    if (expires && text_parse_until(expires, clock_wall_ms(), &q.expires_ms, &e))
        return client_fail(&e);
    return create(address, &q, json);
}

// ---- list -----------------------------------------------------------------------------------------------------------

static void add_row(struct table *t, const Islr__TokenInfo *i)
{
    char time[TEXT_SIZE];
    table_cell(t, "%llu", (unsigned long long)i->id);
    table_cell(t, "%s", i->user ? i->user : "");
    table_cell(t, "%s", i->role ? i->role : "");
    table_cell(t, "%s", text_time(i->created_ms, time));
    table_cell(t, "%s", i->expires_ms ? text_time(i->expires_ms, time) : "never");
    table_cell(t, "%s", i->revoked_ms ? "revoked" : i->expires_ms && i->expires_ms < clock_wall_ms() ? "expired" : "");
}

static int add_tokens(struct listing *l, const Islr__Envelope *m, struct error *e)
{
    if (m->body_case != ISLR__ENVELOPE__BODY_TOKEN_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of tokens", envelope_name(m));
    for (size_t i = 0; i < m->token_list->n_tokens; i++) {
        if (!l->json) {
            add_row(&l->table, m->token_list->tokens[i]);
            continue;
        }
        json_begin(&l->document, NULL, '{');
        json_info(&l->document, m->token_list->tokens[i]);
        json_end(&l->document, '}');
    }
    return 0;
}

static int command_list_tokens(int argc, char **argv)
{
    const char *address = NULL;
    static const struct table_column columns[] = {{"ID", true},       {"USER", false},    {"ROLE", false},
                                                  {"CREATED", false}, {"EXPIRES", false}, {"", false}};
    bool all = false;
    struct listing l = {.add = add_tokens};
    const struct option_row options[] = {
        {0, "all", NULL, "also those that were revoked", OPTION_FLAG, &all},
        OPTION_SERVER(&address),
        OPTION_JSON(&l.json, "{\"tokens\": [{\"id\", \"user\", \"role\", \"created\", \"expires\", \"revoked\"}]}"),
        {0}};
    const struct usage usage = {"islrctl token list", "whose tokens there are", options, NULL, "islrctl token list"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__ListTokens list = ISLR__LIST_TOKENS__INIT;
    list.has_all = 1;
    list.all = all;
    Islr__Envelope m = ENVELOPE(LIST_TOKENS, list_tokens, &list);
    listing_begin(&l, "tokens", columns, sizeof columns / sizeof *columns);
    code = listing_print(&l, c, &m);
    caller_close(c);
    return code;
}

// ---- revoke ---------------------------------------------------------------------------------------------------------

static int parse_ids(const struct option_list *names, uint64_t *ids, struct error *e)
{
    for (size_t i = 0; i < names->count; i++) {
        char *end;
        errno = 0;
        ids[i] = strtoull(names->items[i], &end, 10);
        if (*names->items[i] < '0' || *names->items[i] > '9' || *end || errno || !ids[i])
            return error_set(e, ERR_INVALID, "'%s' is no token's number (islrctl token list)", names->items[i]);
    }
    return 0;
}

static int revoke_tokens(const char *address, uint64_t *ids, size_t count)
{
    struct error e;
    int code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__RevokeTokens q = ISLR__REVOKE_TOKENS__INIT;
    q.ids = ids;
    q.n_ids = count;
    Islr__Envelope m = ENVELOPE(REVOKE_TOKENS, revoke_tokens, &q);
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_OK, 0, &e);
    code = answer ? 0 : client_fail(&e);
    envelope_free(answer);
    caller_close(c);
    return code;
}

static int command_revoke(int argc, char **argv)
{
    const char *address = NULL;
    struct option_list names = {0};
    const struct option_row options[] = {OPTION_SERVER(&address), {0}};
    const struct option_operand operands[] = {{"ID", "a token's number (islrctl token list)", .list = &names}, {0}};
    const struct usage usage = {"islrctl token revoke",
                                "make tokens invalid, at once",
                                options,
                                operands,
                                "islrctl token revoke 3",
                                "Connections that came with them end. A worker's run goes on elsewhere."};
    struct error e;
    int code;
    if (options_parse(&usage, argc, argv, &code)) {
        uint64_t *ids = xcalloc(names.count, sizeof *ids);
        code = parse_ids(&names, ids, &e) ? client_fail(&e) : revoke_tokens(address, ids, names.count);
        free(ids);
    }
    option_list_free(&names);
    return code;
}

int command_token(int argc, char **argv)
{
    static const struct command commands[] = {
        {"create", "make a token", command_create},
        {"list", "whose tokens there are", command_list_tokens},
        {"revoke", "make tokens invalid, at once", command_revoke},
        {0},
    };
    return command_main("islrctl token", "who may use the server over the network, and as what; for admins", commands,
                        argc, argv);
}
