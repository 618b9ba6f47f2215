// islrd backup: a server's whole state as one file, also while it serves. What the file is: core/store/backup.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "core/base/options.h"
#include "core/base/progress.h"
#include "core/rpc/address.h"
#include "core/store/backup.h"
#include "daemon/command.h"
#include "daemon/console.h"
#include "daemon/name_json.h"

struct backing_up {
    struct progress progress;
    const char *doing; // what the bar shows
    bool bar;
};

static int on_progress(void *context, const char *doing, uint64_t done, uint64_t total)
{
    struct backing_up *b = context;
    if (b->bar && b->doing != doing) {
        progress_clear(&b->progress);
        progress_start(&b->progress, stderr, doing, "kB", (size_t)(total / 1000));
    }
    b->doing = doing;
    if (b->bar)
        progress_update(&b->progress, (size_t)(done / 1000));
    return console_stopped();
}

static void report(const char *path, const struct backup_facts *f, bool json)
{
    if (json) {
        json_t *j = json_pack("{s:o, s:I, s:i, s:I, s:I, s:I}", "path", name_json(path), "taken_ms",
                              (json_int_t)f->taken_ms, "schema", f->schema, "runs", (json_int_t)f->runs, "artifacts",
                              (json_int_t)f->artifacts, "bytes", (json_int_t)f->bytes);
        json_dumpf(j, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(j);
        return;
    }
    char when[32];
    time_t taken = (time_t)(f->taken_ms / 1000);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&taken, &tm));
    printf("%s: the state of %s, %" PRIu64 " runs and %" PRIu64 " artifacts, %.1f MB, verified\n", path, when, f->runs,
           f->artifacts, (double)f->bytes / 1e6);
}

int command_backup(int argc, char **argv)
{
    const char *directory = NULL, *out = NULL, *verify = NULL;
    bool json = false;
    const struct option_row options[] = {
        {'o', "out", "FILE", "the backup; made whole or not at all", OPTION_STRING, &out, .path = true},
        {0, "dir", "DIR", "of the server; it may be running", OPTION_STRING, &directory, .path = true,
         .default_shown = "/var/lib/islr for root, else ~/.local/state/islr"},
        {0, "verify", "FILE", "make none; check that this one is whole", OPTION_STRING, &verify, .path = true},
        {0, "json", NULL, "{\"path\", \"taken_ms\", \"schema\", \"runs\", \"artifacts\", \"bytes\"}", OPTION_FLAG,
         &json},
        {0}};
    const struct usage usage = {
        "islrd backup",
        "a server's whole state as one file, also while it serves",
        options,
        NULL,
        "islrd backup --dir /srv/islr --out /backup/islr-monday.tar\nislrd backup --verify /backup/islr-monday.tar",
        "The file is a tar archive of the database and of every artifact, of one moment. It is read back and verified "
        "before it gets its name.\n\n"
        "To restore, into an empty directory:\n"
        "  mkdir DIR && tar -xf FILE -C DIR && islrd fsck --dir DIR && islrd serve --dir DIR\n"
        "The server goes on from the moment of the backup: runs that were under way then are queued again and resume "
        "from their last resume point in the backup. What happened later is not in it, and the numbers of runs that "
        "were submitted later are given again."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    struct backing_up b = {.bar = isatty(STDERR_FILENO)};
    char *standard = directory ? NULL : address_default_directory();
    struct backup_options o = {.directory = directory ? directory : standard,
                               .out = verify ? verify : out,
                               .progress = on_progress,
                               .context = &b};
    struct backup_facts facts;
    umask(0027); // whoever may not read the server's directory may not read its backup
    int rc = console_catch_signals(&e);
    if (!rc && !out == !verify)
        rc = error_set(&e, ERR_INVALID, "either --out FILE, the backup to make, or --verify FILE is needed");
    else if (!rc)
        rc = verify ? backup_verify(&o, &facts, &e) : backup_write(&o, &facts, &e);
    progress_clear(&b.progress);
    if (rc)
        fprintf(stderr, "islrd backup: %s\n", e.text);
    else
        report(o.out, &facts, json);
    free(standard);
    return rc ? (int)e.code : 0;
}
