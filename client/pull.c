// islrctl pull: a run's checkpoints and predictions into files. A transfer that breaks goes on where it stopped, in
// this call or in the next one; a file is there under its name only when it is whole and its SHA-256 is right.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/rpc/artifact_name.h"
#include "client/checkpoints.h"
#include "client/command.h"
#include "client/run.h"
#include "client/server.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/rpc/retrieve.h"

static const double PATIENCE_SECONDS = 60; // a server that is away, or sends nothing, is tried again for so long

struct pull {
    const char *address, *name, *directory;
    bool list, json;
    struct server server;
    struct retrieval retrieval;
    struct json document;
    struct progress progress; // of the file under way
};

// ---- one file -------------------------------------------------------------------------------------------------------

static void on_progress(void *context, uint64_t have)
{
    struct pull *p = context;
    progress_update(&p->progress, (size_t)(have / 1000));
}

static int make_parent(const char *path, struct error *e)
{
    char *copy = xstrdup(path), *slash = strrchr(copy, '/');
    int rc = 0;
    if (slash && slash != copy) {
        *slash = 0;
        rc = file_make_dirs(copy, e);
    }
    free(copy);
    return rc;
}

static int pull_file(struct pull *p, const Islr__CheckpointInfo *c, const char *path, struct error *e)
{
    struct hash hash;
    if (c->sha256.len != sizeof hash.bytes)
        return error_set(e, ERR_DAMAGED, "the server's hash of checkpoint %llu is no SHA-256",
                         (unsigned long long)c->id);
    memcpy(hash.bytes, c->sha256.data, sizeof hash.bytes);
    progress_start(&p->progress, isatty(STDERR_FILENO) ? stderr : NULL, path, "kB", (size_t)(c->size_bytes / 1000));
    int rc = make_parent(path, e) || retrieve_file(&p->retrieval, path, &hash, c->size_bytes, e) ? -1 : 0;
    progress_clear(&p->progress);
    if (rc && (e->code == ERR_UNREACHABLE || e->code == ERR_TIMEOUT))
        error_prefix(e, "%s is not complete; the same command goes on with it", path);
    return rc;
}

// ---- all that were asked for ----------------------------------------------------------------------------------------

static void report(struct pull *p, const Islr__CheckpointInfo *c, const char *path)
{
    if (!p->json) {
        printf("%s\n", path);
        fflush(stdout);
        return;
    }
    json_begin(&p->document, NULL, '{');
    json_text(&p->document, "path", path);
    run_json_checkpoint(&p->document, c);
    json_end(&p->document, '}');
}

// Into p->directory, or `below` there.
static int pull_run(struct pull *p, uint64_t run, const char *what, const char *below, struct error *e)
{
    struct artifact_choice choice = {0};
    struct caller *c = retrieval_caller(&p->retrieval, e);
    Islr__Envelope *answer = c ? retrieve_checkpoints(&p->retrieval, run, e) : NULL;
    int rc = answer ? artifact_choose(answer->checkpoint_list, run, what, &choice, e) : -1;
    char *directory = *below ? file_join(p->directory, below) : xstrdup(p->directory);
    for (size_t i = 0; i < choice.count && !rc; i++) {
        char *path =
            !strcmp(directory, ".") ? xstrdup(choice.items[i].path) : file_join(directory, choice.items[i].path);
        rc = pull_file(p, choice.items[i].info, path, e);
        if (!rc)
            report(p, choice.items[i].info, path);
        free(path);
    }
    artifact_choice_free(&choice);
    envelope_free(answer);
    free(directory);
    return rc;
}

// ---- groups ---------------------------------------------------------------------------------------------------------
// What a group has made itself (the joined predictions) lies where it lies for other runs; its runs' files in a directory
// for each, named by what the run has of its own: fold-0, train.lr=1e-4.

struct member {
    uint64_t run;
    char *directory;
};

struct members {
    const char *group; // its name
    struct member *items;
    size_t count;
};

static char *directory_of(const struct members *m, const Islr__RunSummary *r)
{
    size_t n = strlen(m->group);
    const char *own = r->name && !strncmp(r->name, m->group, n) && r->name[n] == '/' ? r->name + n + 1 : "";
    if (!*own || *own == '.')
        return xprintf("run-%llu", (unsigned long long)r->run);
    char *name = xstrdup(own);
    for (char *at = name; *at; at++)
        if (*at == '/' || (unsigned char)*at < 0x20)
            *at = '_';
    return name;
}

static int take_member(void *context, const Islr__Envelope *a, struct error *e)
{
    struct members *m = context;
    if (a->body_case != ISLR__ENVELOPE__BODY_RUN_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of runs", envelope_name(a));
    for (size_t i = 0; i < a->run_list->n_runs; i++) {
        const Islr__RunSummary *r = a->run_list->runs[i];
        m->items = xrealloc(m->items, m->count + 1, sizeof *m->items);
        m->items[m->count++] = (struct member){r->run, directory_of(m, r)};
    }
    return 0;
}

// A group's runs are pulled as they are: of a sweep over k-folds each is a group in its turn.
static int pull_whole(struct pull *p, uint64_t run, const char *what, const char *below, struct error *e);

static int pull_members(struct pull *p, const Islr__RunSummary *group, const char *what, const char *below,
                        struct error *e)
{
    struct members m = {.group = group->name ? group->name : ""};
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope request = ENVELOPE(LIST_RUNS, list_runs, &list);
    struct caller *c = retrieval_caller(&p->retrieval, e);
    list.has_parent = list.has_limit = 1;
    list.parent = group->run;
    list.limit = 0;
    int rc = c ? rpc_stream(c, &request, 0, take_member, &m, e) : -1;
    for (size_t i = 0; i < m.count; i++) {
        char *directory = *below ? file_join(below, m.items[i].directory) : xstrdup(m.items[i].directory);
        rc = rc || pull_whole(p, m.items[i].run, what, directory, e) ? -1 : 0;
        free(directory);
        free(m.items[i].directory);
    }
    free(m.items);
    return rc;
}

static bool is_own(const char *what)
{
    return !strncmp(what, "predictions", 11) || !strcmp(what, "summary");
}

static int pull_whole(struct pull *p, uint64_t run, const char *what, const char *below, struct error *e)
{
    struct caller *c = retrieval_caller(&p->retrieval, e);
    Islr__Envelope *answer = c ? run_get(c, run, e) : NULL;
    if (!answer)
        return -1;
    const Islr__RunSummary *s = answer->run_detail->summary;
    bool group = s->group && *s->group;
    int rc = 0;
    if (!group || is_own(what) || (!strcmp(what, "all") && answer->run_detail->n_checkpoints))
        rc = pull_run(p, run, what, below, e);
    if (!rc && group && !is_own(what))
        rc = pull_members(p, s, what, below, e);
    envelope_free(answer);
    return rc;
}

static int pull_printed(struct pull *p, uint64_t run, const char *what, struct error *e)
{
    json_begin(&p->document, NULL, '{');
    json_integer(&p->document, "run", (int64_t)run);
    json_begin(&p->document, "files", '[');
    int rc = pull_whole(p, run, what, "", e);
    json_end(&p->document, ']');
    json_end(&p->document, '}');
    if (p->json && !rc)
        json_print(&p->document, stdout);
    return rc;
}

static int list_run(struct pull *p, struct caller *c, uint64_t run, struct error *e)
{
    Islr__Envelope *answer = checkpoints_get(c, run, e);
    if (answer)
        checkpoints_print(run, answer->checkpoint_list, p->json);
    envelope_free(answer);
    return answer ? 0 : -1;
}

static int pull_named(struct pull *p, struct error *e)
{
    char *name = xstrdup(p->name), *colon = strchr(name, ':');
    const char *what = colon ? colon + 1 : "soup";
    uint64_t run = 0;
    if (colon)
        *colon = 0;
    struct caller *c = retrieval_caller(&p->retrieval, e);
    int rc = !c || run_find(c, name, &run, e) ? -1 : 0;
    if (!rc)
        rc = p->list ? list_run(p, c, run, e) : pull_printed(p, run, what, e);
    caller_close(p->retrieval.caller);
    free(name);
    return rc;
}

int command_pull(int argc, char **argv)
{
    struct pull p = {.directory = "."};
    const struct option_row options[] = {
        OPTION_SERVER(&p.address),
        {'o', "out", "DIR", "where to; made if missing", OPTION_PATH, &p.directory},
        {0, "list", NULL, "only show what there is", OPTION_FLAG, &p.list},
        OPTION_JSON(&p.json, "{\"run\", \"files\": [{\"path\", and the fields of `checkpoints`}]}; with --list as "
                             "`checkpoints`"),
        {0}};
    const struct option_operand operands[] = {{"RUN[:WHAT]", ARTIFACT_WHATS "; soup by default", .value = &p.name},
                                              {0}};
    const struct usage usage = {
        "islrctl pull",
        "fetch a run's checkpoints and predictions; prints the files' paths",
        options,
        operands,
        "islrctl pull @last:soup -o models\nislrctl pull 12:all -o run12",
        "Of a group the runs' files go into a directory for each (fold-0, ..). A transfer that breaks goes on where it "
        "stopped, by itself or with the same command again. Files are checked "
        "against their SHA-256 and replaced only when whole."};
    struct error e = {ERR_NONE, ""};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (server_find(p.address, &p.server, &e))
        return client_fail(&e);
    p.retrieval = (struct retrieval){.address = &p.server.address,
                                     .token = p.server.token,
                                     .patience_seconds = PATIENCE_SECONDS,
                                     .context = &p,
                                     .on_progress = on_progress};
    code = pull_named(&p, &e) ? client_fail(&e) : 0;
    server_free(&p.server);
    free(p.document.text.text);
    return code;
}
