// The artifacts' files against their rows. See fsck.h.
#include "core/store/fsck_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"

enum { BUSY_S = 15 * 60 }; // beside a server: a file as young as this may be about to get its row

static const char SQL_EACH[] = "SELECT id, sha256, size_bytes, lost_ms FROM artifacts ORDER BY id";
static const char SQL_STILL[] = "SELECT count(*) FROM artifacts WHERE id = ?";
static const char SQL_BY_HASH[] = "SELECT id FROM artifacts WHERE sha256 = ?";
static const char SQL_LOST[] = "UPDATE artifacts SET lost_ms = ? WHERE id = ?";
static const char SQL_EVENTS[] = "INSERT INTO events (run_id, time_ms, text)"
                                 " SELECT run_id, ?2, printf(?3, what, step) FROM checkpoints WHERE artifact_id = ?1";
static const char SQL_USES[] = "SELECT what, run_id, step, (SELECT count(*) FROM checkpoints WHERE artifact_id = ?1)"
                               " FROM checkpoints WHERE artifact_id = ?1 ORDER BY id LIMIT 1";

struct row {
    int64_t id;
    struct hash hash;
    uint64_t size;
    int lost;
    enum artifact_state state; // of its file
};

// ---- rows without a whole file --------------------------------------------------------------------------------------

// "the soup of run 3, step 120", for the sentence.
static int used_by(struct fsck *f, int64_t id, char text[200], struct error *e)
{
    sqlite3_stmt *q = db_query(&f->db, e, SQL_USES, db_int(id));
    int rc = q ? db_step(&f->db, q, e) : -1;
    snprintf(text, 200, "nothing refers to it");
    if (rc > 0) {
        int64_t others = sqlite3_column_int64(q, 3) - 1;
        int n = snprintf(text, 200, "%s of run %lld, step %lld", sqlite3_column_text(q, 0),
                         (long long)sqlite3_column_int64(q, 1), (long long)sqlite3_column_int64(q, 2));
        if (others && n < 150)
            snprintf(text + n, 200 - (size_t)n, " and %lld more", (long long)others);
        db_reset(q);
    }
    return rc < 0 ? -1 : 0;
}

// Out of the way, under the name of what it should have been and a number that is free.
static int put_aside(struct fsck *f, const char *path, const char *name, char **where, struct error *e)
{
    if (file_make_dirs(f->quarantine, e))
        return -1;
    char *target = file_join(f->quarantine, name);
    for (int i = 1; file_exists(target); i++) {
        free(target);
        target = xprintf("%s/%s.%d", f->quarantine, name, i);
    }
    *where = target;
    if (rename(path, target))
        return error_set_errno(e, ERR_FAILED, "cannot move %s to %s", path, target);
    return file_sync_dir(f->quarantine, e);
}

static int mark(struct fsck *f, const struct row *r, int lost, const char *event, struct error *e)
{
    int64_t now = clock_wall_ms();
    return db_run(&f->db, e, SQL_LOST, db_int(lost ? now : 0), db_int(r->id)) ||
                   db_run(&f->db, e, SQL_EVENTS, db_int(r->id), db_int(now), db_text(event))
               ? -1
               : 0;
}

static int repair_row(struct fsck *f, const struct row *r, const char *hex, const char *wrong, const char *uses,
                      struct error *e)
{
    char *path = artifact_path(&f->artifacts, &r->hash), *where = NULL;
    int rc = r->state == ARTIFACT_MISSING ? 0 : put_aside(f, path, hex, &where, e);
    if (!rc)
        rc = mark(f, r, 1, "its file (%s, step %d) was found gone or damaged by islrd fsck", e);
    if (!rc)
        fsck_found(f, FSCK_REPAIRED, "the artifact %.12s (%s) %s; it is marked as lost%s%s", hex, uses, wrong,
                   where ? ", what was there is now " : "", where ? where : "");
    free(where);
    free(path);
    return rc;
}

static int tell_row(struct fsck *f, const struct row *r, struct error *e)
{
    static const char *const wrongs[] = {
        [ARTIFACT_WHOLE] = "is whole",
        [ARTIFACT_MISSING] = "is missing: its file is gone",
        [ARTIFACT_WRONG_SIZE] = "is damaged: its file has not the size that the database knows",
        [ARTIFACT_WRONG_CONTENT] = "is damaged: its content has not the SHA-256 that it had",
    };
    char hex[65], uses[200];
    int64_t still;
    hash_to_hex(&r->hash, hex);
    if (db_number(&f->db, e, SQL_STILL, 0, &still, db_int(r->id)) || used_by(f, r->id, uses, e))
        return -1;
    if (!still) // collected by the server meanwhile
        return 0;
    if (r->lost && r->state == ARTIFACT_MISSING) {
        fsck_found(f, FSCK_NOTE, "the artifact %.12s (%s) is lost, as was found before", hex, uses);
        return 0;
    }
    if (f->options->repair)
        return repair_row(f, r, hex, wrongs[r->state], uses, e);
    fsck_found(f, FSCK_DAMAGE, "the artifact %.12s (%s) %s", hex, uses, wrongs[r->state]);
    return 0;
}

static int tell_back(struct fsck *f, const struct row *r, struct error *e)
{
    char hex[65], uses[200];
    hash_to_hex(&r->hash, hex);
    if (used_by(f, r->id, uses, e))
        return -1;
    if (!f->options->repair) {
        fsck_found(f, FSCK_NOTE, "the artifact %.12s (%s) was lost and is whole again; --repair says so to the server",
                   hex, uses);
        return 0;
    }
    fsck_found(f, FSCK_REPAIRED, "the artifact %.12s (%s) was lost and is whole again", hex, uses);
    return mark(f, r, 0, "its file (%s, step %d) was lost and is whole again", e);
}

// Looks at one file. 1: there is something to tell.
static int inspect(struct fsck *f, struct row *r, struct error *e)
{
    if (artifact_inspect(&f->artifacts, &r->hash, r->size, !f->options->quick, &r->state, e))
        return -1;
    f->out->artifacts++;
    f->out->bytes += r->size;
    if (f->options->progress && f->options->progress(f->options->context, f->out->bytes, f->total))
        return error_set(e, ERR_INTERRUPTED, "interrupted");
    return r->state != ARTIFACT_WHOLE || r->lost;
}

// The rows that are to be told are collected first: telling may change the table that is being read.
static int collect_rows(struct fsck *f, struct row **rows, size_t *count, struct error *e)
{
    int rc, wrong = 0;
    sqlite3_stmt *q = db_query(&f->db, e, SQL_EACH);
    if (!q)
        return -1;
    while ((rc = db_step(&f->db, q, e)) > 0) {
        struct row r = {.id = sqlite3_column_int64(q, 0), .size = (uint64_t)sqlite3_column_int64(q, 2)};
        r.lost = sqlite3_column_int64(q, 3) != 0;
        if (sqlite3_column_bytes(q, 1) != (int)sizeof r.hash.bytes)
            continue; // told by fsck_rows()
        memcpy(r.hash.bytes, sqlite3_column_blob(q, 1), sizeof r.hash.bytes);
        if ((wrong = inspect(f, &r, e)) < 0) {
            db_reset(q);
            return -1;
        }
        if (wrong) {
            *rows = xrealloc(*rows, *count + 1, sizeof **rows);
            (*rows)[(*count)++] = r;
        }
    }
    return rc;
}

static int check_rows(struct fsck *f, struct error *e)
{
    struct row *rows = NULL;
    size_t count = 0;
    int rc = collect_rows(f, &rows, &count, e);
    for (size_t i = 0; i < count && !rc; i++)
        rc = rows[i].state == ARTIFACT_WHOLE ? tell_back(f, &rows[i], e) : tell_row(f, &rows[i], e);
    free(rows);
    return rc;
}

// ---- files without a row --------------------------------------------------------------------------------------------

// Calls `visit` for every name in a directory; a missing directory has none.
static int each_name(struct fsck *f, const char *directory,
                     int (*visit)(struct fsck *f, const char *path, const char *name, struct error *e), struct error *e)
{
    DIR *d = opendir(directory);
    if (!d)
        return errno == ENOENT ? 0 : error_set_errno(e, ERR_FAILED, "cannot read the directory %s", directory);
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *path = file_join(directory, entry->d_name);
        rc = visit(f, path, entry->d_name, e);
        free(path);
    }
    closedir(d);
    return rc;
}

static int is_young(const char *path)
{
    struct stat st;
    return lstat(path, &st) || st.st_ctime + BUSY_S > time(NULL);
}

// 1: a file of the store, in its place, with a row.
static int has_row(struct fsck *f, const char *path, const char *name, struct error *e)
{
    struct hash hash;
    int64_t id;
    if (hash_from_hex(name, &hash))
        return 0;
    char *expected = artifact_path(&f->artifacts, &hash);
    int there = !strcmp(expected, path);
    free(expected);
    if (!there)
        return 0;
    if (db_number(&f->db, e, SQL_BY_HASH, 0, &id, db_blob(hash.bytes, sizeof hash.bytes)))
        return -1;
    return id != 0;
}

static int visit_file(struct fsck *f, const char *path, const char *name, struct error *e)
{
    int known = has_row(f, path, name, e);
    if (known || (f->options->serving && is_young(path)))
        return known < 0 ? -1 : 0;
    if (!f->options->repair) {
        fsck_found(f, FSCK_NOTE, "nothing in the database knows the file %s", path);
        return 0;
    }
    char *where = NULL;
    int rc = put_aside(f, path, name, &where, e);
    if (!rc)
        fsck_found(f, FSCK_NOTE, "nothing in the database knows the file %s; it is now %s", path, where);
    free(where);
    return rc;
}

static int visit_shard(struct fsck *f, const char *path, const char *name, struct error *e)
{
    struct stat st;
    if (lstat(path, &st) || !S_ISDIR(st.st_mode))
        return visit_file(f, path, name, e);
    return each_name(f, path, visit_file, e);
}

static int visit_part(struct fsck *f, const char *path, const char *name, struct error *e)
{
    (void)name;
    (void)e;
    if (!is_young(path))
        fsck_found(f, FSCK_NOTE,
                   "the upload %s broke off; it goes on if it is sent again, else a start of the server "
                   "a day later removes it",
                   path);
    return 0;
}

static int visit_trash(struct fsck *f, const char *path, const char *name, struct error *e)
{
    (void)name;
    (void)e;
    if (!f->options->serving)
        fsck_found(f, FSCK_NOTE, "%s was about to be removed; the next start of the server does it", path);
    return 0;
}

static int visit_quarantine(struct fsck *f, const char *path, const char *name, struct error *e)
{
    (void)name;
    (void)e;
    fsck_found(f, FSCK_NOTE, "%s was put aside by islrd fsck --repair", path);
    return 0;
}

int fsck_files(struct fsck *f, struct error *e)
{
    return each_name(f, f->quarantine, visit_quarantine, e) || check_rows(f, e) ||
                   each_name(f, f->artifacts.artifacts, visit_shard, e) ||
                   each_name(f, f->artifacts.incoming, visit_part, e) ||
                   each_name(f, f->artifacts.trash, visit_trash, e)
               ? -1
               : 0;
}
