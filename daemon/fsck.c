// islrd fsck: database and artifacts of a server checked, in themselves and against each other. What is checked and
// what --repair does: core/store/fsck.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/options.h"
#include "core/base/progress.h"
#include "core/rpc/address.h"
#include "core/store/fsck.h"
#include "daemon/command.h"
#include "daemon/console.h"
#include "daemon/name_json.h"

struct checking {
    json_t *findings; // NULL: they are printed as they come
    struct progress progress;
};

static const char *const kinds[] = {[FSCK_NOTE] = "note", [FSCK_REPAIRED] = "repaired", [FSCK_DAMAGE] = "damage"};

static void on_found(void *context, enum fsck_kind kind, const char *sentence)
{
    struct checking *c = context;
    progress_clear(&c->progress);
    if (c->findings)
        json_array_append_new(c->findings, json_pack("{s:s, s:o}", "kind", kinds[kind], "text", name_json(sentence)));
    else
        printf("%s: %s\n", kinds[kind], sentence);
}

static int on_progress(void *context, uint64_t bytes, uint64_t total)
{
    struct checking *c = context;
    c->progress.total = (size_t)(total / 1000);
    progress_update(&c->progress, (size_t)(bytes / 1000));
    return console_stopped();
}

// Whether a server has the directory. Repairing needs it alone, so then the lock is kept.
static int look_for_server(struct fsck_options *o, struct file_lock *lock, struct error *e)
{
    char *database = file_join(o->directory, "islr.db"), *path = file_join(o->directory, "lock");
    int rc = 0;
    if (file_exists(database)) { // else fsck() says what is missing
        int held = file_lock_try(lock, path, e);
        o->serving = held > 0;
        if (held > 0 && o->repair)
            rc = error_set(e, ERR_FAILED,
                           "a server runs on %s: stop it before repairing (without --repair it may go on)",
                           o->directory);
        else if (held < 0 && o->repair)
            rc = -1;
        else if (!o->repair)
            file_lock_release(lock);
    }
    free(database);
    free(path);
    return rc;
}

static void report(const struct fsck_options *o, const struct fsck_result *r, json_t *findings)
{
    if (findings) {
        json_t *j = json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:O}", "directory", name_json(o->directory),
                              "serving", o->serving, "runs", (json_int_t)r->runs, "records", (json_int_t)r->records,
                              "checkpoints", (json_int_t)r->checkpoints, "artifacts", (json_int_t)r->artifacts, "bytes",
                              (json_int_t)r->bytes, "findings", findings);
        json_dumpf(j, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(j);
        return;
    }
    printf("%s: %" PRIu64 " runs, %" PRIu64 " records, %" PRIu64 " checkpoints, %" PRIu64 " artifacts (%.1f MB%s)%s: ",
           o->directory, r->runs, r->records, r->checkpoints, r->artifacts, (double)r->bytes / 1e6,
           o->quick ? ", sizes only" : "", o->serving ? ", beside a running server" : "");
    if (r->damaged)
        printf("%zu damaged", r->damaged);
    else
        printf("no damage");
    if (r->repaired)
        printf(", %zu repaired", r->repaired);
    printf("\n");
}

int command_fsck(int argc, char **argv)
{
    struct fsck_options o = {.found = on_found, .progress = on_progress};
    bool repair = false, quick = false, json = false;
    const struct option_row options[] = {
        {0, "dir", "DIR", "of the server", OPTION_STRING, &o.directory, .path = true,
         .default_shown = "/var/lib/islr for root, else ~/.local/state/islr"},
        {0, "repair", NULL, "do what loses nothing; no server may run on it", OPTION_FLAG, &repair},
        {0, "quick", NULL, "of artifacts check the sizes, not the SHA-256", OPTION_FLAG, &quick},
        {0, "json", NULL,
         "{\"directory\", \"serving\", \"runs\", \"records\", \"checkpoints\", \"artifacts\", \"bytes\", \"findings\": "
         "[{\"kind\": \"note|repaired|damage\", \"text\"}]}",
         OPTION_FLAG, &json},
        {0}};
    const struct usage usage = {
        "islrd fsck",
        "a server's database and artifacts checked against each other",
        options,
        NULL,
        "islrd fsck --dir /srv/islr\nislrd fsck --dir /srv/islr --repair",
        "Exit code 7: there is damage. --repair builds indexes anew, moves files that are damaged or that nothing "
        "refers to into DIR/quarantine, and marks artifacts whose file is gone as lost: `islrctl pull` then says so, "
        "and a run resumes from the resume point before. It deletes nothing. A damaged database file is not repaired: "
        "restore a backup (islrd backup --help)."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    struct file_lock lock = {.fd = -1};
    struct fsck_result result;
    struct checking c = {.findings = json ? json_array() : NULL};
    char *standard = o.directory ? NULL : address_default_directory();
    if (!o.directory)
        o.directory = standard;
    o.repair = repair;
    o.quick = quick;
    o.context = &c;
    progress_start(&c.progress, isatty(STDERR_FILENO) ? stderr : NULL, "fsck", "kB", 0);
    int rc = console_catch_signals(&e) || look_for_server(&o, &lock, &e) || fsck(&o, &result, &e) ? -1 : 0;
    progress_clear(&c.progress);
    file_lock_release(&lock);
    if (rc)
        fprintf(stderr, "islrd fsck: %s\n", e.text);
    else
        report(&o, &result, c.findings);
    json_decref(c.findings);
    free(standard);
    return rc ? (int)e.code : result.damaged ? ERR_DAMAGED : 0;
}
