// islrctl limits: what users may have at a time, their shares, and what they have had.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/listing.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/memory.h"

struct limits {
    const char *address, *user;
    bool everyone, json;
    struct option_list settings;
};

// ---- setting --------------------------------------------------------------------------------------------------------

struct wish {
    Islr__SetLimits set;
    Islr__Value *values;
    char **names; // of all of them
    size_t count;
};

static int parse_one(struct wish *w, const char *text, struct error *e)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return error_set(e, ERR_INVALID, "'%s' is not NAME=VALUE", text);
    char *name = w->names[w->count++] = xprintf("%.*s", (int)(equals - text), text), *end;
    if (!strcmp(equals + 1, "default")) {
        w->set.unset[w->set.n_unset++] = name;
        return 0;
    }
    errno = 0;
    double value = strtod(equals + 1, &end);
    if (!equals[1] || *end || errno)
        return error_set(e, ERR_INVALID, "%s must be a number or `default`, not '%s'", name, equals + 1);
    Islr__Value *v = &w->values[w->set.n_limits];
    islr__value__init(v);
    v->name = name;
    v->has_value = 1;
    v->value = value;
    w->set.limits[w->set.n_limits++] = v;
    return 0;
}

static int set_limits(const struct limits *l, struct caller *c, struct error *e)
{
    struct wish w = {.set = ISLR__SET_LIMITS__INIT};
    size_t count = l->settings.count;
    int rc = 0;
    w.set.user = l->everyone ? (char *)"" : (char *)l->user;
    w.values = xcalloc(count, sizeof *w.values);
    w.names = xcalloc(count, sizeof *w.names);
    w.set.limits = xcalloc(count, sizeof *w.set.limits);
    w.set.unset = xcalloc(count, sizeof *w.set.unset);
    for (size_t i = 0; i < count && !rc; i++)
        rc = parse_one(&w, l->settings.items[i], e);
    Islr__Envelope m = ENVELOPE(SET_LIMITS, set_limits, &w.set);
    Islr__Envelope *answer = rc ? NULL : rpc_call(c, &m, ISLR__ENVELOPE__BODY_OK, 0, e);
    rc = answer ? 0 : -1;
    envelope_free(answer);
    for (size_t i = 0; i < w.count; i++)
        free(w.names[i]);
    free(w.names);
    free(w.values);
    free(w.set.limits);
    free(w.set.unset);
    return rc;
}

// ---- showing --------------------------------------------------------------------------------------------------------

static double limit_of(const Islr__UserLimits *u, const char *name)
{
    for (size_t i = 0; i < u->n_limits; i++)
        if (u->limits[i]->name && !strcmp(u->limits[i]->name, name))
            return u->limits[i]->value;
    return 0;
}

static void add_json(struct json *j, const Islr__UserLimits *u)
{
    json_begin(j, NULL, '{');
    if (u->user && *u->user)
        json_text(j, "user", u->user);
    else
        json_null(j, "user");
    json_begin(j, "limits", '{');
    for (size_t i = 0; i < u->n_limits; i++)
        json_number(j, u->limits[i]->name, u->limits[i]->value);
    json_end(j, '}');
    json_begin(j, "own", '[');
    for (size_t i = 0; i < u->n_own; i++)
        json_text(j, NULL, u->own[i]);
    json_end(j, ']');
    if (u->user && *u->user) {
        json_integer(j, "running", u->running);
        json_integer(j, "ranks", u->ranks);
        json_integer(j, "queued", u->queued);
        json_number(j, "used_seconds", u->used_seconds);
    }
    json_end(j, '}');
}

// "3 of 4", "3"; of everybody the limit alone.
static void add_cell(struct table *t, int everybody, uint32_t has, double most)
{
    char text[TEXT_SIZE] = "-";
    if (most > 0)
        snprintf(text, sizeof text, "%.0f", most);
    if (everybody)
        table_cell(t, "%s", text);
    else if (most > 0)
        table_cell(t, "%u of %s", has, text);
    else
        table_cell(t, "%u", has);
}

static void add_row(struct table *t, const Islr__UserLimits *u)
{
    int everybody = !u->user || !*u->user;
    table_cell(t, "%s", everybody ? "(everyone)" : u->user);
    table_cell(t, "%g", limit_of(u, "share"));
    add_cell(t, everybody, u->running, limit_of(u, "running"));
    add_cell(t, everybody, u->ranks, limit_of(u, "ranks"));
    add_cell(t, everybody, u->queued, limit_of(u, "queued"));
    if (everybody)
        table_cell(t, "-");
    else
        table_cell(t, "%.2f", u->used_seconds / 3600);
}

static int add_users(struct listing *list, const Islr__Envelope *m, struct error *e)
{
    const struct limits *l = list->context;
    if (m->body_case != ISLR__ENVELOPE__BODY_LIMIT_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of limits", envelope_name(m));
    for (size_t i = 0; i < m->limit_list->n_users; i++) {
        const Islr__UserLimits *u = m->limit_list->users[i];
        if (l->user && u->user && *u->user && strcmp(u->user, l->user))
            continue;
        if (list->json)
            add_json(&list->document, u);
        else
            add_row(&list->table, u);
    }
    return 0;
}

static int show_limits(struct limits *l, struct caller *c)
{
    static const struct table_column columns[] = {{"USER", false}, {"SHARE", true},  {"RUNNING", true},
                                                  {"RANKS", true}, {"QUEUED", true}, {"USED RANK-HOURS", true}};
    struct listing list = {.json = l->json, .add = add_users, .context = l};
    Islr__GetLimits get = ISLR__GET_LIMITS__INIT;
    Islr__Envelope m = ENVELOPE(GET_LIMITS, get_limits, &get);
    listing_begin(&list, "users", columns, sizeof columns / sizeof *columns);
    return listing_print(&list, c, &m);
}

// ---- the command ----------------------------------------------------------------------------------------------------

static int run(struct limits *l)
{
    struct error e = {ERR_NONE, ""};
    int code;
    if (l->settings.count && !l->everyone == !l->user) {
        error_set(&e, ERR_INVALID, "whose limits? (--user NAME or --everyone)");
        return client_fail(&e);
    }
    struct caller *c = server_connect(l->address, &code);
    if (!c)
        return code;
    int rc = l->settings.count ? set_limits(l, c, &e) : 0;
    code = rc ? client_fail(&e) : show_limits(l, c);
    caller_close(c);
    return code;
}

int command_limits(int argc, char **argv)
{
    struct limits l = {0};
    const struct option_row options[] = {
        {0, "user", "NAME", "of this user alone", OPTION_STRING, &l.user},
        {0, "everyone", NULL, "of all who have none of their own", OPTION_FLAG, &l.everyone},
        OPTION_SERVER(&l.address),
        OPTION_JSON(&l.json, "{\"users\": [{\"user\" (null: everyone), \"limits\": {\"running\", \"ranks\", "
                             "\"queued\" (0: none), \"share\"}, \"own\": [those set for this user], \"running\", "
                             "\"ranks\", \"queued\", \"used_seconds\"}]}"),
        {0}};
    const struct option_operand operands[] = {
        {"NAME=VALUE", "sets a limit; `default`: as everyone", true, .list = &l.settings}, {0}};
    const struct usage usage = {
        "islrctl limits",
        "what users may have at a time, their shares, and what they have had",
        options,
        operands,
        "islrctl limits --everyone running=8 ranks=32 queued=1000\nislrctl limits --user ann share=2 ranks=default",
        "running: runs under way at a time; ranks: of all of them together; queued: runs that wait, more are refused. "
        "0 "
        "is no limit. share: among users who want more than there is, each gets the machine in this proportion; "
        "USED RANK-HOURS is what counts there, and half of it is forgotten every week. Limits are set by admins, hold "
        "at once, and stay when the server is started again; what runs already goes on."};
    int code;
    if (options_parse(&usage, argc, argv, &code))
        code = run(&l);
    option_list_free(&l.settings);
    return code;
}
