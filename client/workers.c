// islrctl workers: ranks, hosts, devices, what they do.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/json.h"
#include "client/listing.h"
#include "client/server.h"
#include "client/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"

static void add_json(struct json *j, const Islr__WorkerInfo *w)
{
    json_begin(j, NULL, '{');
    json_integer(j, "worker", (int64_t)w->worker);
    json_text(j, "world", w->world ? w->world : "");
    json_integer(j, "rank", w->rank);
    json_integer(j, "size", w->size);
    json_text(j, "host", w->host ? w->host : "");
    json_integer(j, "pid", w->pid);
    json_text(j, "device", w->device ? w->device : "");
    json_text(j, "device_name", w->device_name ? w->device_name : "");
    json_integer(j, "threads", w->threads);
    json_time(j, "since", w->since_ms);
    json_integer(j, "run", (int64_t)w->run);
    json_text(j, "doing", w->doing ? w->doing : "");
    json_integer(j, "step", (int64_t)w->step);
    json_time(j, "last_contact", w->last_contact_ms);
    json_integer(j, "quiet_seconds", w->quiet_ms / 1000);
    json_text(j, "health", w->health ? w->health : "");
    json_end(j, '}');
}

static void add_row(struct table *t, const Islr__WorkerInfo *w)
{
    char time[TEXT_SIZE];
    table_cell(t, "%llu", (unsigned long long)w->worker);
    table_cell(t, "%.8s", w->world ? w->world : "");
    table_cell(t, "%u/%u", w->rank, w->size);
    table_cell(t, "%s", w->host ? w->host : "");
    table_cell(t, "%u", w->pid);
    table_cell(t, "%s", w->device_name && *w->device_name ? w->device_name : w->device ? w->device : "");
    table_cell(t, "%u", w->threads);
    if (w->run)
        table_cell(t, "run %llu, step %llu%s%s", (unsigned long long)w->run, (unsigned long long)w->step,
                   w->doing && *w->doing ? ": " : "", w->doing ? w->doing : "");
    else
        table_cell(t, "idle");
    table_cell(t, "%s", text_time(w->last_contact_ms, time));
    table_cell(t, "%s", w->health ? w->health : "");
}

static int add_workers(struct listing *l, const Islr__Envelope *m, struct error *e)
{
    struct strbuf *notes = l->context; // lines
    if (m->body_case != ISLR__ENVELOPE__BODY_WORKER_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of workers", envelope_name(m));
    for (size_t i = 0; i < m->worker_list->n_notes; i++)
        strbuf_printf(notes, "%s\n", m->worker_list->notes[i]);
    for (size_t i = 0; i < m->worker_list->n_workers; i++) {
        if (l->json)
            add_json(&l->document, m->worker_list->workers[i]);
        else
            add_row(&l->table, m->worker_list->workers[i]);
    }
    return 0;
}

static void add_notes(struct listing *l)
{
    const struct strbuf *notes = l->context;
    if (!l->json) {
        text_print_lines(stderr, notes->text ? notes->text : "");
        return;
    }
    json_begin(&l->document, "notes", '[');
    for (char *line = notes->text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        json_text(&l->document, NULL, line);
    }
    json_end(&l->document, ']');
}

int command_workers(int argc, char **argv)
{
    const char *address = NULL;
    static const struct table_column columns[] = {
        {"WORKER", true},  {"WORLD", false},  {"RANK", true},  {"HOST", false},         {"PID", true},
        {"DEVICE", false}, {"THREADS", true}, {"DOES", false}, {"LAST CONTACT", false}, {"HEALTH", false}};
    struct strbuf notes = {0};
    struct listing l = {.add = add_workers, .more = add_notes, .context = &notes};
    const struct option_row options[] = {
        OPTION_SERVER(&address),
        OPTION_JSON(&l.json,
                    "{\"workers\": [{\"worker\", \"world\", \"rank\", \"size\", \"host\", \"pid\", \"device\", "
                    "\"device_name\", \"threads\", \"since\", \"run\" (0: idle), \"doing\", \"step\", "
                    "\"last_contact\", \"quiet_seconds\" (since it did something), \"health\" (\"ok\", else what is "
                    "wrong)}], \"notes\": [worlds that lack ranks, ranks that get nowhere]}"),
        {0}};
    const struct usage usage = {"islrctl workers", "ranks, hosts, devices and what they do", options, NULL,
                                "islrctl workers"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct caller *c = server_connect(address, &code);
    if (!c)
        return code;
    Islr__ListWorkers list = ISLR__LIST_WORKERS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_WORKERS, list_workers, &list);
    listing_begin(&l, "workers", columns, sizeof columns / sizeof *columns);
    code = listing_print(&l, c, &m);
    free(notes.text);
    caller_close(c);
    return code;
}
