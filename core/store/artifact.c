// Artifacts: see artifact.h.
#include "core/store/artifact.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"

enum { COPY_SIZE = 1 << 20 };

struct artifact_upload {
    const struct artifact_store *store;
    struct hash hash;
    uint64_t total, have;
    char *path; // of the part
    int fd;
    struct hasher *hasher; // of the first `have` bytes
};

// ---- the directories ------------------------------------------------------------------------------------------------

// Calls `visit` for every entry but "." and ".."; stops at a non-zero return, which it returns.
static int each_entry(const char *directory, int (*visit)(void *context, const char *path, const char *name),
                      void *context, struct error *e)
{
    DIR *d = opendir(directory);
    if (!d)
        return error_set_errno(e, ERR_FAILED, "cannot read the directory %s", directory);
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *path = file_join(directory, entry->d_name);
        rc = visit(context, path, entry->d_name);
        free(path);
    }
    closedir(d);
    return rc;
}

static int remove_entry(void *context, const char *path, const char *name)
{
    (void)context;
    (void)name;
    file_remove_tree(path, NULL);
    return 0;
}

static int remove_stale_part(void *context, const char *path, const char *name)
{
    (void)name;
    struct stat st;
    if (!lstat(path, &st) && st.st_mtime < *(const time_t *)context)
        file_remove_tree(path, NULL);
    return 0;
}

void artifact_empty_trash(const struct artifact_store *s)
{
    each_entry(s->trash, remove_entry, NULL, NULL);
}

void artifact_store_name(struct artifact_store *s, const char *directory)
{
    s->artifacts = file_join(directory, "artifacts");
    s->incoming = file_join(directory, "incoming");
    s->trash = file_join(directory, "trash");
}

int artifact_store_open(struct artifact_store *s, const char *directory, struct error *e)
{
    artifact_store_name(s, directory);
    time_t stale = time(NULL) - ARTIFACT_STALE_PART_S;
    if (file_make_dirs(s->artifacts, e) || file_make_dirs(s->incoming, e) || file_make_dirs(s->trash, e) ||
        file_sync_dir(directory, e) || each_entry(s->incoming, remove_stale_part, &stale, e)) {
        artifact_store_close(s);
        return -1;
    }
    artifact_empty_trash(s);
    return 0;
}

void artifact_store_close(struct artifact_store *s)
{
    free(s->artifacts);
    free(s->incoming);
    free(s->trash);
    memset(s, 0, sizeof *s);
}

int artifact_store_hold(const struct artifact_store *s, enum artifact_hold hold)
{
    int fd = open(s->artifacts, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !flock(fd, (hold == ARTIFACT_KEEP ? LOCK_SH : LOCK_EX) | LOCK_NB))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

char *artifact_path(const struct artifact_store *s, const struct hash *hash)
{
    char hex[65];
    hash_to_hex(hash, hex);
    return xprintf("%s/%.2s/%s", s->artifacts, hex, hex);
}

// ---- uploads --------------------------------------------------------------------------------------------------------

// Hashes what a broken upload has left; a part longer than the whole is none.
static int take_up(struct artifact_upload *u, struct error *e)
{
    struct stat st;
    if (fstat(u->fd, &st))
        return error_set_errno(e, ERR_FAILED, "cannot read %s", u->path);
    if ((uint64_t)st.st_size > u->total && ftruncate(u->fd, 0))
        return error_set_errno(e, ERR_FAILED, "cannot write %s", u->path);
    uint8_t *buffer = xmalloc(COPY_SIZE);
    ssize_t n;
    while ((n = read(u->fd, buffer, COPY_SIZE)) > 0) {
        hasher_update(u->hasher, buffer, (size_t)n);
        u->have += (uint64_t)n;
    }
    free(buffer);
    return n < 0 ? error_set_errno(e, ERR_FAILED, "cannot read %s", u->path) : 0;
}

struct artifact_upload *artifact_upload_open(const struct artifact_store *s, const struct hash *hash, uint64_t run,
                                             uint64_t total, struct error *e)
{
    char hex[65];
    hash_to_hex(hash, hex);
    struct artifact_upload *u = xcalloc(1, sizeof *u);
    u->store = s;
    u->hash = *hash;
    u->total = total;
    u->path = xprintf("%s/%s-%llu.part", s->incoming, hex, (unsigned long long)run);
    u->hasher = hasher_create();
    u->fd = open(u->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (u->fd < 0)
        error_set_errno(e, ERR_FAILED, "cannot open %s", u->path);
    else if (!take_up(u, e))
        return u;
    artifact_upload_suspend(u);
    return NULL;
}

uint64_t artifact_upload_have(const struct artifact_upload *u)
{
    return u->have;
}

int artifact_upload_write(struct artifact_upload *u, uint64_t offset, const void *data, size_t size, struct error *e)
{
    if (offset > u->total || size > u->total - offset)
        return error_set(e, ERR_INVALID, "an upload of %llu bytes cannot have %zu bytes at %llu",
                         (unsigned long long)u->total, size, (unsigned long long)offset);
    if (offset > u->have || offset + size <= u->have)
        return 0;
    const uint8_t *fresh = (const uint8_t *)data + (u->have - offset);
    size -= (size_t)(u->have - offset);
    while (size) {
        ssize_t n = pwrite(u->fd, fresh, size, (off_t)u->have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set_errno(e, ERR_FAILED, "cannot write %s", u->path);
        hasher_update(u->hasher, fresh, (size_t)n);
        u->have += (uint64_t)n;
        fresh += n;
        size -= (size_t)n;
    }
    return 0;
}

void artifact_upload_suspend(struct artifact_upload *u)
{
    if (!u)
        return;
    if (u->fd >= 0)
        close(u->fd);
    hasher_destroy(u->hasher);
    free(u->path);
    free(u);
}

static int verify(struct artifact_upload *u, struct error *e)
{
    if (u->have != u->total)
        return error_set(e, ERR_INVALID, "an upload of %llu bytes has only %llu", (unsigned long long)u->total,
                         (unsigned long long)u->have);
    struct hash got = hasher_finish(u->hasher);
    u->hasher = NULL;
    if (hash_equal(&got, &u->hash))
        return 0;
    unlink(u->path);
    char wanted[65], hex[65];
    hash_to_hex(&u->hash, wanted);
    hash_to_hex(&got, hex);
    return error_set(e, ERR_DAMAGED, "an upload of %llu bytes has the SHA-256 %s, not %s as announced",
                     (unsigned long long)u->total, hex, wanted);
}

// The shard directory may be new, so its own entry is made durable too.
static int publish(const struct artifact_upload *u, struct error *e)
{
    char *path = artifact_path(u->store, &u->hash), *shard = xstrdup(path);
    *strrchr(shard, '/') = 0;
    int fresh = !file_exists(shard);
    int rc = file_make_dirs(shard, e);
    if (!rc && rename(u->path, path))
        rc = error_set_errno(e, ERR_FAILED, "cannot move %s to %s", u->path, path);
    if (!rc)
        rc = file_sync_dir(shard, e);
    if (!rc && fresh)
        rc = file_sync_dir(u->store->artifacts, e);
    free(shard);
    free(path);
    return rc;
}

int artifact_upload_commit(struct artifact_upload *u, struct error *e)
{
    int rc = verify(u, e);
    if (!rc && fchmod(u->fd, 0440))
        rc = error_set_errno(e, ERR_FAILED, "cannot write %s", u->path);
    if (!rc && fsync(u->fd))
        rc = error_set_errno(e, ERR_FAILED, "cannot sync %s", u->path);
    if (!rc)
        rc = publish(u, e);
    artifact_upload_suspend(u);
    return rc;
}

// ---- complete ones --------------------------------------------------------------------------------------------------

int artifact_read(const struct artifact_store *s, const struct hash *hash, uint64_t total, uint64_t offset, void *out,
                  size_t size, size_t *got, struct error *e)
{
    char *path = artifact_path(s, hash);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;
    struct stat st;
    *got = 0;
    if (fd < 0 && errno == ENOENT)
        rc = error_set(e, ERR_DAMAGED, "the artifact %s is missing on the server: somebody removed its file", path);
    else if (fd < 0 || fstat(fd, &st))
        rc = error_set_errno(e, ERR_FAILED, "cannot read %s", path);
    else if ((uint64_t)st.st_size != total)
        rc = error_set(e, ERR_DAMAGED, "the artifact %s has %lld bytes instead of %llu", path, (long long)st.st_size,
                       (unsigned long long)total);
    while (!rc && *got < size) {
        ssize_t n = pread(fd, (char *)out + *got, size - *got, (off_t)(offset + *got));
        if (n < 0 && errno != EINTR)
            rc = error_set_errno(e, ERR_FAILED, "cannot read %s", path);
        if (n == 0)
            break;
        if (n > 0)
            *got += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

int artifact_inspect(const struct artifact_store *s, const struct hash *hash, uint64_t total, int verify,
                     enum artifact_state *out, struct error *e)
{
    char *path = artifact_path(s, hash);
    struct stat st;
    struct hash got;
    int rc = 0;
    *out = ARTIFACT_WHOLE;
    if (lstat(path, &st)) {
        *out = ARTIFACT_MISSING;
        rc = errno == ENOENT || errno == ENOTDIR ? 0 : error_set_errno(e, ERR_FAILED, "cannot read %s", path);
    } else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != total) {
        *out = ARTIFACT_WRONG_SIZE;
    } else if (verify && !(rc = hash_file(path, &got, e)) && !hash_equal(&got, hash)) {
        *out = ARTIFACT_WRONG_CONTENT;
    }
    free(path);
    return rc;
}

int artifact_discard(const struct artifact_store *s, const struct hash *hash, struct error *e)
{
    char hex[65];
    hash_to_hex(hash, hex);
    char *path = artifact_path(s, hash), *target = file_join(s->trash, hex);
    int rc = rename(path, target) && errno != ENOENT ? error_set_errno(e, ERR_FAILED, "cannot remove %s", path) : 0;
    free(path);
    free(target);
    return rc;
}

struct sweep {
    const struct artifact_store *store;
    int (*known)(void *context, const struct hash *hash);
    void *context;
    struct error *e;
    int discarded;
};

static int sweep_file(void *context, const char *path, const char *name)
{
    struct sweep *w = context;
    struct hash hash;
    (void)path;
    if (hash_from_hex(name, &hash))
        return 0; // not ours: leave it
    int known = w->known(w->context, &hash);
    if (known)
        return known < 0 ? -1 : 0;
    w->discarded++;
    return artifact_discard(w->store, &hash, w->e);
}

static int sweep_shard(void *context, const char *path, const char *name)
{
    struct sweep *w = context;
    return strlen(name) == 2 ? each_entry(path, sweep_file, w, w->e) : 0;
}

int artifact_sweep(const struct artifact_store *s, int (*known)(void *context, const struct hash *hash), void *context,
                   struct error *e)
{
    struct sweep w = {s, known, context, e, 0};
    int rc = each_entry(s->artifacts, sweep_shard, &w, e);
    return rc ? -1 : w.discarded;
}
