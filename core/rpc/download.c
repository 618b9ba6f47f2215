// An artifact into a file: see download.h.
#include "core/rpc/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/fetch.h"

struct download {
    struct peer *peer;
    struct download_options options;
    char *path, *part;
    int fd;
    struct hasher *hasher;
    uint64_t have;
    int resumed; // the part held bytes of an earlier try
    struct fetch *fetch;
};

static void release(struct download *d)
{
    if (d->fd >= 0)
        close(d->fd); // and with it the lock
    hasher_destroy(d->hasher);
    free(d->path);
    free(d->part);
    free(d);
}

// ---- the part -------------------------------------------------------------------------------------------------------

static int open_part(struct download *d, struct error *e)
{
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->fd < 0)
        return error_set_errno(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cannot write %s", d->part);
    if (flock(d->fd, LOCK_EX | LOCK_NB))
        return error_set(e, ERR_FAILED, "another process is downloading to %s", d->part);
    return 0;
}

static int empty_part(struct download *d, struct error *e)
{
    if (ftruncate(d->fd, 0) || lseek(d->fd, 0, SEEK_SET) < 0)
        return error_set_errno(e, ERR_FAILED, "cannot write %s", d->part);
    hasher_destroy(d->hasher);
    d->hasher = hasher_create();
    d->have = 0;
    d->resumed = 0;
    return 0;
}

// Hashes what an earlier try left; the descriptor then stands behind it.
static int resume_part(struct download *d, struct error *e)
{
    struct stat st;
    if (fstat(d->fd, &st))
        return error_set_errno(e, ERR_FAILED, "cannot read %s", d->part);
    if (st.st_size == 0 || (uint64_t)st.st_size > d->options.size)
        return empty_part(d, e);
    d->hasher = hasher_create();
    d->resumed = 1;
    size_t size = 1 << 20;
    char *buffer = xmalloc(size);
    ssize_t n;
    while ((n = read(d->fd, buffer, size)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        hasher_update(d->hasher, buffer, (size_t)n);
        d->have += (uint64_t)n;
    }
    free(buffer);
    return n < 0 ? error_set_errno(e, ERR_FAILED, "cannot read %s", d->part) : 0;
}

static int write_part(struct download *d, const uint8_t *data, size_t size, struct error *e)
{
    hasher_update(d->hasher, data, size);
    while (size) {
        ssize_t n = write(d->fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(e, ERR_FAILED, "cannot write %s", d->part);
        d->have += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

// The part is complete: the file, if its hash is right. 1: it was not, but a part from earlier may be to blame; all of
// it is to be fetched again.
static int finish_part(struct download *d, struct error *e)
{
    struct hash found = hasher_finish(d->hasher);
    d->hasher = NULL;
    if (!hash_equal(&found, &d->options.sha256)) {
        if (d->resumed)
            return empty_part(d, e) ? -1 : 1;
        unlink(d->part);
        return error_set(e, ERR_DAMAGED, "%s: what the server sent does not have the SHA-256 that it should", d->path);
    }
    if (fsync(d->fd) || rename(d->part, d->path))
        return error_set_errno(e, ERR_FAILED, "cannot write %s", d->path);
    char *copy = xstrdup(d->path), *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = 0;
    int rc = file_sync_dir(slash ? copy : ".", e);
    free(copy);
    return rc;
}

// ---- the transfer ---------------------------------------------------------------------------------------------------

static int take_data(void *context, const uint8_t *data, size_t size, struct error *e)
{
    struct download *d = context;
    if (write_part(d, data, size, e))
        return -1;
    if (d->options.on_progress)
        d->options.on_progress(d->options.context, d->have);
    return 0;
}

static void end(struct download *d, const struct error *why)
{
    struct download_options options = d->options;
    struct error copy = *why;
    release(d);
    options.on_end(options.context, &copy);
}

static void fetched(void *context, const struct error *why);

static int fetch_rest(struct download *d, struct error *e)
{
    static const struct fetch_events events = {take_data, fetched};
    struct fetch_range range = {d->options.sha256, d->have, d->options.size, d->options.as};
    d->fetch = fetch_start(d->peer, &range, &events, d, e);
    return d->fetch ? 0 : -1;
}

static void fetched(void *context, const struct error *why)
{
    struct download *d = context;
    struct error e = *why;
    d->fetch = NULL;
    if (e.code == ERR_NONE && finish_part(d, &e) == 1 && !fetch_rest(d, &e))
        return;
    if (e.code != ERR_NONE && d->have == 0)
        unlink(d->part);
    end(d, &e);
}

struct download *download_start(struct peer *p, const struct download_options *options, struct error *e)
{
    struct download *d = xcalloc(1, sizeof *d);
    char hex[65];
    hash_to_hex(&options->sha256, hex);
    d->peer = p;
    d->options = *options;
    d->path = xstrdup(options->path);
    d->part = xprintf("%s.%.16s.part", options->path, hex);
    d->fd = -1;
    e->code = ERR_NONE;
    int rc = open_part(d, e) || resume_part(d, e) ? -1 : 1;
    if (rc == 1 && d->have == options->size)
        rc = finish_part(d, e); // an earlier try was stopped just before its end, or the artifact is empty
    if (rc == 1 && d->have < options->size && !fetch_rest(d, e))
        return d;
    release(d);
    return NULL;
}

void download_cancel(struct download *d)
{
    if (d->fetch)
        fetch_cancel(d->fetch);
    release(d);
}
