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

static int pull_all(struct pull *p, const Islr__CheckpointList *list, uint64_t run, const char *what, struct error *e)
{
    struct artifact_choice choice = {0};
    int rc = artifact_choose(list, run, what, &choice, e);
    json_begin(&p->document, NULL, '{');
    json_integer(&p->document, "run", (int64_t)run);
    json_begin(&p->document, "files", '[');
    for (size_t i = 0; i < choice.count && !rc; i++) {
        char *path =
            !strcmp(p->directory, ".") ? xstrdup(choice.items[i].path) : file_join(p->directory, choice.items[i].path);
        rc = pull_file(p, choice.items[i].info, path, e);
        if (!rc)
            report(p, choice.items[i].info, path);
        free(path);
    }
    json_end(&p->document, ']');
    json_end(&p->document, '}');
    if (p->json && !rc)
        json_print(&p->document, stdout);
    artifact_choice_free(&choice);
    return rc;
}

static int pull_named(struct pull *p, struct error *e)
{
    char *name = xstrdup(p->name), *colon = strchr(name, ':');
    const char *what = colon ? colon + 1 : "soup";
    uint64_t run;
    Islr__Envelope *answer = NULL;
    int rc = -1;
    if (colon)
        *colon = 0;
    struct caller *c = retrieval_caller(&p->retrieval, e);
    if (c && !run_find(c, name, &run, e))
        answer = checkpoints_get(c, run, e);
    if (answer && p->list)
        checkpoints_print(run, answer->checkpoint_list, p->json);
    if (answer)
        rc = p->list ? 0 : pull_all(p, answer->checkpoint_list, run, what, e);
    envelope_free(answer);
    caller_close(p->retrieval.caller);
    free(name);
    return rc;
}

int command_pull(int argc, char **argv)
{
    struct pull p = {.directory = "."};
    const struct option_row options[] = {
        OPTION_SERVER(&p.address),
        {'o', "out", "DIR", "where to; made if missing", OPTION_STRING, &p.directory},
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
        "A transfer that breaks goes on where it stopped, by itself or with the same command again. Files are checked "
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
