// Backups: see backup.h.
#include "core/store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/base/tar.h"
#include "core/store/artifact.h"
#include "core/store/db.h"
#include "core/store/schema.h"

enum { COPY_SIZE = 1 << 20, HOLD_WAIT_MS = 60000, FACTS_MAX = 4096 };

static const char FACTS_NAME[] = "BACKUP", DATABASE_NAME[] = "islr.db";
static const char FACTS[] =
    "islr backup 1\ntaken_ms %" PRId64 "\nschema %d\nruns %" PRIu64 "\nartifacts %" PRIu64 "\ndatabase_sha256 %s\n";
static const char FACTS_READ[] =
    "islr backup 1\ntaken_ms %" SCNd64 "\nschema %d\nruns %" SCNu64 "\nartifacts %" SCNu64 "\ndatabase_sha256 %64s\n";

static const char SQL_WRITABLE[] = "PRAGMA query_only=OFF"; // VACUUM INTO writes, though not this database
static const char SQL_COPY[] = "VACUUM INTO ?";
static const char SQL_MARK[] = "INSERT OR REPLACE INTO settings (name, value) VALUES ('" BACKUP_SETTING "', ?)";
static const char SQL_CHECK[] = "PRAGMA integrity_check(1)";
static const char SQL_PLAIN[] = "PRAGMA journal_mode=DELETE"; // no -wal beside the copy
static const char SQL_VERSION[] = "PRAGMA user_version";
static const char SQL_RUNS[] = "SELECT count(*) FROM runs";
static const char SQL_ARTIFACTS[] = "SELECT count(*) FROM artifacts WHERE lost_ms = 0";
static const char SQL_BYTES[] = "SELECT sum(size_bytes) FROM artifacts WHERE lost_ms = 0";
static const char SQL_EACH[] = "SELECT sha256, size_bytes FROM artifacts WHERE lost_ms = 0 ORDER BY id";

struct backup {
    const struct backup_options *options;
    struct backup_facts facts;
    struct artifact_store artifacts;
    char *copy; // the database's
    struct db db;
    struct hash database_hash;
    uint64_t database_size;
    FILE *stream;
    uint64_t done, total; // bytes
    uint8_t *buffer;      // [COPY_SIZE]
};

static int step(struct backup *b, const char *doing, uint64_t bytes, struct error *e)
{
    b->done += bytes;
    if (b->options->progress && b->options->progress(b->options->context, doing, b->done, b->total))
        return error_set(e, ERR_INTERRUPTED, "interrupted; there is no backup");
    return 0;
}

// ---- the database's copy --------------------------------------------------------------------------------------------

static int hold_artifacts(const struct backup *b, int *hold, struct error *e)
{
    for (int waited = 0; (*hold = artifact_store_hold(&b->artifacts, ARTIFACT_KEEP)) < 0; waited += 50) {
        if (errno != EWOULDBLOCK)
            return error_set_errno(e, ERR_FAILED, "cannot hold the artifacts in %s", b->artifacts.artifacts);
        if (waited >= HOLD_WAIT_MS)
            return error_set(e, ERR_TIMEOUT, "the server has been removing artifacts for %d s; try again",
                             HOLD_WAIT_MS / 1000);
        clock_sleep(0.05);
    }
    return 0;
}

static int copy_database(const struct backup *b, struct error *e)
{
    struct db source;
    char *path = file_join(b->options->directory, DATABASE_NAME);
    int rc = -1;
    if (!file_exists(path))
        error_set(e, ERR_NOT_FOUND, "there is no server's state in %s: %s is missing", b->options->directory, path);
    else if (!db_open(&source, path, DB_READER, e)) {
        rc = db_run(&source, e, SQL_WRITABLE) || db_run(&source, e, SQL_COPY, db_text(b->copy)) ? -1 : 0;
        db_close(&source);
    }
    free(path);
    return rc;
}

static int check_copy(struct db *db, struct error *e)
{
    int rc;
    sqlite3_stmt *q = db_query(db, e, SQL_CHECK);
    if (!q || (rc = db_step(db, q, e)) < 0)
        return -1;
    const char *text = rc ? (const char *)sqlite3_column_text(q, 0) : NULL;
    if (text && strcmp(text, "ok"))
        rc = error_set(e, ERR_DAMAGED, "the server's database is damaged (%s); `islrd fsck` says more", text);
    else
        rc = 0;
    db_reset(q);
    return rc;
}

// The copy is checked, marked, and closed so that all of it is in the one file.
static int prepare_copy(struct backup *b, struct error *e)
{
    char taken[32];
    int64_t version = 0, runs = 0, artifacts = 0, bytes = 0;
    struct stat st;
    snprintf(taken, sizeof taken, "%" PRId64, b->facts.taken_ms);
    if (db_open(&b->db, b->copy, DB_WRITER, e) || schema_check(&b->db, e) || check_copy(&b->db, e) ||
        db_run(&b->db, e, SQL_MARK, db_text(taken)) || db_number(&b->db, e, SQL_VERSION, 0, &version) ||
        db_number(&b->db, e, SQL_RUNS, 0, &runs) || db_number(&b->db, e, SQL_ARTIFACTS, 0, &artifacts) ||
        db_number(&b->db, e, SQL_BYTES, 0, &bytes) || db_script(&b->db, SQL_PLAIN, e))
        return -1;
    db_close(&b->db);
    if (hash_file(b->copy, &b->database_hash, e))
        return -1;
    if (stat(b->copy, &st))
        return error_set_errno(e, ERR_FAILED, "cannot read %s", b->copy);
    b->database_size = (uint64_t)st.st_size;
    b->facts.schema = (int)version;
    b->facts.runs = (uint64_t)runs;
    b->facts.artifacts = (uint64_t)artifacts;
    b->total = b->database_size + (uint64_t)bytes;
    return 0;
}

// ---- writing --------------------------------------------------------------------------------------------------------

// A file into the archive. What is copied is hashed: ERR_DAMAGED unless it is what `wanted` says.
static int put_file(struct backup *b, const char *path, const char *name, uint64_t size, const struct hash *wanted,
                    struct error *e)
{
    FILE *in = fopen(path, "rbe");
    if (!in)
        return error_set_errno(e, errno == ENOENT ? ERR_DAMAGED : ERR_FAILED, "cannot read %s", path);
    struct hasher *hasher = hasher_create();
    uint64_t left = size;
    int rc = tar_begin_entry(b->stream, name, size, b->facts.taken_ms / 1000, e);
    while (!rc && left) {
        size_t n = fread(b->buffer, 1, left < COPY_SIZE ? (size_t)left : COPY_SIZE, in);
        if (!n)
            break;
        hasher_update(hasher, b->buffer, n);
        if (fwrite(b->buffer, 1, n, b->stream) != n)
            rc = error_set_errno(e, ERR_FAILED, "cannot write the backup");
        else
            rc = step(b, "copying", n, e);
        left -= n;
    }
    struct hash got = hasher_finish(hasher);
    if (!rc && (left || fgetc(in) != EOF || !hash_equal(&got, wanted)))
        rc = error_set(e, ERR_DAMAGED, "%s is damaged: it is not the content it had; `islrd fsck` finds all such files",
                       path);
    fclose(in);
    return rc ? -1 : tar_end_entry(b->stream, size, e);
}

static int put_facts(struct backup *b, struct error *e)
{
    char hex[65];
    hash_to_hex(&b->database_hash, hex);
    char *text = xprintf(FACTS, b->facts.taken_ms, b->facts.schema, b->facts.runs, b->facts.artifacts, hex);
    size_t size = strlen(text);
    int rc = tar_begin_entry(b->stream, FACTS_NAME, size, b->facts.taken_ms / 1000, e);
    if (!rc && fwrite(text, 1, size, b->stream) != size)
        rc = error_set_errno(e, ERR_FAILED, "cannot write the backup");
    free(text);
    return rc ? -1 : tar_end_entry(b->stream, size, e);
}

static int put_artifact(struct backup *b, const struct hash *hash, uint64_t size, struct error *e)
{
    char hex[65], name[TAR_NAME_MAX + 1];
    hash_to_hex(hash, hex);
    snprintf(name, sizeof name, "artifacts/%.2s/%s", hex, hex);
    char *path = artifact_path(&b->artifacts, hash);
    int rc = put_file(b, path, name, size, hash, e);
    free(path);
    return rc;
}

static int put_artifacts(struct backup *b, struct error *e)
{
    struct hash hash;
    int rc;
    if (db_open(&b->db, b->copy, DB_READER, e))
        return -1;
    sqlite3_stmt *q = db_query(&b->db, e, SQL_EACH);
    if (!q)
        return -1;
    while ((rc = db_step(&b->db, q, e)) > 0) {
        if (sqlite3_column_bytes(q, 0) != (int)sizeof hash.bytes)
            return error_set(e, ERR_DAMAGED, "the hash of an artifact in the database is damaged");
        memcpy(hash.bytes, sqlite3_column_blob(q, 0), sizeof hash.bytes);
        if (put_artifact(b, &hash, (uint64_t)sqlite3_column_int64(q, 1), e))
            return -1;
    }
    return rc;
}

// ---- verifying ------------------------------------------------------------------------------------------------------

struct seen {
    int facts, database;
    uint64_t artifacts;
    struct hash database_hash;
};

static int get_facts(struct backup *b, const struct tar_entry *entry, struct seen *seen, struct error *e)
{
    char text[FACTS_MAX + 1], hex[65] = "";
    if (entry->size > FACTS_MAX || fread(text, 1, (size_t)entry->size, b->stream) != entry->size)
        return error_set(e, ERR_DAMAGED, "the backup is damaged: its facts cannot be read");
    text[entry->size] = 0;
    if (sscanf(text, FACTS_READ, &b->facts.taken_ms, &b->facts.schema, &b->facts.runs, &b->facts.artifacts, hex) != 5 ||
        hash_from_hex(hex, &b->database_hash))
        return error_set(e, ERR_DAMAGED, "the backup is damaged, or written by a newer islrd: its facts are not known");
    seen->facts = 1;
    return 0;
}

static int get_hash(struct backup *b, const struct tar_entry *entry, struct hash *out, struct error *e)
{
    struct hasher *hasher = hasher_create();
    uint64_t left = entry->size;
    int rc = 0;
    while (!rc && left) {
        size_t n = fread(b->buffer, 1, left < COPY_SIZE ? (size_t)left : COPY_SIZE, b->stream);
        if (!n) {
            rc = error_set(e, ERR_DAMAGED, "the backup is cut off within %s", entry->name);
            break;
        }
        hasher_update(hasher, b->buffer, n);
        left -= n;
        rc = step(b, "verifying", n, e);
    }
    *out = hasher_finish(hasher);
    return rc;
}

static int check_entry(struct backup *b, const struct tar_entry *entry, struct seen *seen, struct error *e)
{
    struct hash got, named;
    const char *slash = strrchr(entry->name, '/');
    if (!strcmp(entry->name, FACTS_NAME))
        return get_facts(b, entry, seen, e);
    if (get_hash(b, entry, &got, e))
        return -1;
    if (!strcmp(entry->name, DATABASE_NAME)) {
        seen->database++;
        seen->database_hash = got;
        return 0;
    }
    if (strncmp(entry->name, "artifacts/", 10) || !slash || hash_from_hex(slash + 1, &named))
        return error_set(e, ERR_DAMAGED, "the backup holds %s, which belongs in none", entry->name);
    if (!hash_equal(&got, &named))
        return error_set(e, ERR_DAMAGED, "the backup is damaged: %s is not the content that its name says",
                         entry->name);
    seen->artifacts++;
    return 0;
}

static int verify(struct backup *b, struct error *e)
{
    struct seen seen = {0};
    struct tar_entry entry;
    int rc;
    b->done = 0;
    while ((rc = tar_next(b->stream, &entry, e)) > 0)
        if (check_entry(b, &entry, &seen, e) || tar_skip_padding(b->stream, entry.size, e))
            return -1;
    if (rc < 0)
        return -1;
    if (!seen.facts || seen.database != 1 || !hash_equal(&seen.database_hash, &b->database_hash))
        return error_set(e, ERR_DAMAGED, "the backup is damaged: its database is not the one that was copied");
    if (seen.artifacts != b->facts.artifacts)
        return error_set(e, ERR_DAMAGED, "the backup is damaged: it holds %" PRIu64 " artifacts, not %" PRIu64,
                         seen.artifacts, b->facts.artifacts);
    return 0;
}

// From the disk, not from the cache.
static int verify_written(struct backup *b, struct error *e)
{
    if (fflush(b->stream) || fsync(fileno(b->stream)))
        return error_set_errno(e, ERR_FAILED, "cannot write the backup");
    posix_fadvise(fileno(b->stream), 0, 0, POSIX_FADV_DONTNEED);
    off_t size = ftello(b->stream);
    if (size < 0 || fseeko(b->stream, 0, SEEK_SET))
        return error_set_errno(e, ERR_FAILED, "cannot read the backup");
    b->facts.bytes = (uint64_t)size;
    return verify(b, e);
}

static int write_archive(struct backup *b, struct error *e)
{
    return step(b, "copying", 0, e) || put_facts(b, e) ||
                   put_file(b, b->copy, DATABASE_NAME, b->database_size, &b->database_hash, e) || put_artifacts(b, e) ||
                   tar_end(b->stream, e) || verify_written(b, e)
               ? -1
               : 0;
}

int backup_write(const struct backup_options *options, struct backup_facts *out, struct error *e)
{
    struct backup b = {.options = options, .buffer = xmalloc(COPY_SIZE)};
    int hold = -1;
    artifact_store_name(&b.artifacts, options->directory);
    b.facts.taken_ms = clock_wall_ms();
    b.copy = xprintf("%s.tmp-%ld.db", options->out, (long)getpid());
    struct file_writer *w = file_writer_open(options->out, e);
    int rc = w ? 0 : -1;
    if (w) {
        b.stream = file_writer_stream(w);
        fchmod(fileno(b.stream), 0640); // what may not be read in the server's directory may not be read here
    }
    if (!rc && file_exists(b.artifacts.artifacts)) // no server has started there yet: the copy will say so
        rc = hold_artifacts(&b, &hold, e);
    if (!rc)
        rc = copy_database(&b, e) || prepare_copy(&b, e) || write_archive(&b, e) ? -1 : 0;
    db_close(&b.db);
    unlink(b.copy);
    if (hold >= 0)
        close(hold);
    if (rc)
        file_writer_abandon(w);
    else
        rc = file_writer_commit(w, e);
    artifact_store_close(&b.artifacts);
    free(b.copy);
    free(b.buffer);
    *out = b.facts;
    return rc;
}

int backup_verify(const struct backup_options *options, struct backup_facts *out, struct error *e)
{
    struct backup b = {.options = options};
    struct stat st;
    b.stream = fopen(options->out, "rbe");
    if (!b.stream)
        return error_set_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot open %s", options->out);
    b.buffer = xmalloc(COPY_SIZE);
    b.facts.bytes = b.total = fstat(fileno(b.stream), &st) ? 0 : (uint64_t)st.st_size;
    int rc = verify(&b, e);
    if (rc)
        error_prefix(e, "%s", options->out);
    fclose(b.stream);
    free(b.buffer);
    *out = b.facts;
    return rc;
}
