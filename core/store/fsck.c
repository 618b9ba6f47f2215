// Checking a server's directory: see fsck.h. What is checked stands in fsck_pages.c, fsck_rows.c, fsck_records.c and
// fsck_files.c.
#include "core/store/fsck_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/schema.h"

static const char SQL_RUNS[] = "SELECT count(*) FROM runs";
static const char SQL_CHECKPOINTS[] = "SELECT count(*) FROM checkpoints";
static const char SQL_BYTES[] = "SELECT sum(size_bytes) FROM artifacts";
static const char SQL_BEGIN[] = "BEGIN";
static const char SQL_COMMIT[] = "COMMIT";

void fsck_found(struct fsck *f, enum fsck_kind kind, const char *format, ...)
{
    char sentence[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    f->out->notes += kind == FSCK_NOTE;
    f->out->repaired += kind == FSCK_REPAIRED;
    f->out->damaged += kind == FSCK_DAMAGE;
    f->options->found(f->options->context, kind, sentence);
}

// A part that cannot be read through is a finding too: the others are still looked at.
static int part(struct fsck *f, int (*check)(struct fsck *f, struct error *e), struct error *e)
{
    if (!check(f, e))
        return 0;
    if (e->code != ERR_DAMAGED)
        return -1;
    fsck_found(f, FSCK_DAMAGE, "%s", e->text);
    return 0;
}

static int count(struct fsck *f, const char *sql, uint64_t *out, struct error *e)
{
    int64_t n;
    if (db_number(&f->db, e, sql, 0, &n))
        return -1;
    *out = (uint64_t)n;
    return 0;
}

static int count_all(struct fsck *f, struct error *e)
{
    return count(f, SQL_RUNS, &f->out->runs, e) || count(f, SQL_CHECKPOINTS, &f->out->checkpoints, e) ||
                   count(f, SQL_BYTES, &f->total, e)
               ? -1
               : 0;
}

// The rows are read in one transaction, so that a server at work shows one moment. The files cannot be: fsck_files()
// allows for that.
static int check_database(struct fsck *f, struct error *e)
{
    if (part(f, fsck_pages, e) || db_run(&f->db, e, SQL_BEGIN))
        return -1;
    int rc = part(f, count_all, e) || part(f, fsck_rows, e) || part(f, fsck_records, e) ? -1 : 0;
    db_run(&f->db, NULL, SQL_COMMIT);
    return rc;
}

static int open_database(struct fsck *f, struct error *e)
{
    char *path = file_join(f->options->directory, "islr.db");
    int rc;
    if (!file_exists(path))
        rc =
            error_set(e, ERR_NOT_FOUND, "there is no server's state in %s: %s is missing", f->options->directory, path);
    else
        rc = db_open(&f->db, path, f->options->repair ? DB_WRITER : DB_READER, e) || schema_check(&f->db, e) ? -1 : 0;
    free(path);
    return rc;
}

int fsck(const struct fsck_options *options, struct fsck_result *out, struct error *e)
{
    struct fsck f = {.options = options, .out = out};
    memset(out, 0, sizeof *out);
    int rc = open_database(&f, e);
    if (rc && e->code == ERR_DAMAGED) { // beyond reading: that is the finding
        fsck_found(&f, FSCK_DAMAGE, "%s", e->text);
        db_close(&f.db);
        return 0;
    }
    artifact_store_name(&f.artifacts, options->directory);
    f.quarantine = file_join(options->directory, "quarantine");
    if (!rc)
        rc = check_database(&f, e) || part(&f, fsck_files, e) ? -1 : 0;
    db_close(&f.db);
    artifact_store_close(&f.artifacts);
    free(f.quarantine);
    return rc;
}
