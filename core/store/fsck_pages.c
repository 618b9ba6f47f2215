// SQLite's own checks: pages, b-trees, indexes, foreign keys. See fsck.h.
#include "core/store/fsck_internal.h"

#include <string.h>

static const char SQL_INTEGRITY[] = "PRAGMA integrity_check(100)";
static const char SQL_FOREIGN[] = "PRAGMA foreign_key_check";
static const char SQL_REINDEX[] = "REINDEX";

// What integrity_check says of an index whose table is whole. Building it anew from the table loses nothing.
static int is_index_only(const char *text)
{
    return !!strstr(text, "missing from index") || !strncmp(text, "wrong # of entries in index", 27) ||
           !strncmp(text, "non-unique entry in index", 25);
}

struct integrity {
    size_t faults, index_faults;
};

static int integrity(struct fsck *f, int tell, struct integrity *out, struct error *e)
{
    int rc;
    memset(out, 0, sizeof *out);
    sqlite3_stmt *q = db_query(&f->db, e, SQL_INTEGRITY);
    if (!q)
        return -1;
    while ((rc = db_step(&f->db, q, e)) > 0) {
        const char *text = (const char *)sqlite3_column_text(q, 0);
        if (!strcmp(text, "ok"))
            continue;
        out->faults++;
        out->index_faults += is_index_only(text);
        if (tell)
            fsck_found(f, FSCK_DAMAGE, "the database file is damaged: %s; stop the server and restore a backup", text);
    }
    return rc;
}

static int foreign_keys(struct fsck *f, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(&f->db, e, SQL_FOREIGN);
    if (!q)
        return -1;
    while ((rc = db_step(&f->db, q, e)) > 0)
        fsck_found(f, FSCK_DAMAGE, "row %lld of the table %s refers to a row of %s that is not there",
                   (long long)sqlite3_column_int64(q, 1), sqlite3_column_text(q, 0), sqlite3_column_text(q, 2));
    return rc;
}

int fsck_pages(struct fsck *f, struct error *e)
{
    struct integrity before, after;
    if (integrity(f, 0, &before, e))
        return -1;
    int reindex = f->options->repair && before.faults && before.faults == before.index_faults;
    if (reindex) {
        if (db_script(&f->db, SQL_REINDEX, e) || integrity(f, 1, &after, e))
            return -1;
        if (!after.faults)
            fsck_found(f, FSCK_REPAIRED, "indexes of the database did not match their tables; they were built anew");
    } else if (before.faults && integrity(f, 1, &before, e)) {
        return -1;
    }
    return foreign_keys(f, e);
}
