// An attempt's records on disk: see work_spool.h. Each is a u32 big-endian length and the packed record.
#include "daemon/work_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"

enum { PUNCH_BYTES = 4 << 20 };

struct spool {
    int fd;
    char *path;
    uint64_t size;           // the adding thread's
    atomic_ullong count;     // stored after the bytes are there
    atomic_ullong forgotten; // bytes of it that nobody needs any more
    uint64_t punched;        // .. and that the disk has back: the reading thread's
};

struct spool *spool_create(const char *path, struct error *e)
{
    struct spool *s = xcalloc(1, sizeof *s);
    s->path = xstrdup(path);
    s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (s->fd >= 0)
        return s;
    error_set_errno(e, ERR_FAILED, "cannot create %s", path);
    spool_destroy(s);
    return NULL;
}

void spool_destroy(struct spool *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->path);
    free(s);
}

uint64_t spool_count(const struct spool *s)
{
    return atomic_load_explicit(&s->count, memory_order_acquire);
}

uint64_t spool_waiting(const struct spool *s)
{
    return s->size - atomic_load_explicit(&s->forgotten, memory_order_relaxed);
}

void spool_forget(struct spool *s, const struct spool_cursor *before)
{
    atomic_store_explicit(&s->forgotten, before->offset, memory_order_relaxed);
    uint64_t size = before->offset - s->punched;
    if (size < PUNCH_BYTES)
        return;
    size -= size % PUNCH_BYTES;
    // Not all file systems can do it: then the disk keeps what it has.
    if (!fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->punched, (off_t)size))
        s->punched += size;
}

static int write_all(const struct spool *s, const uint8_t *data, size_t size, struct error *e)
{
    uint64_t at = s->size;
    while (size) {
        ssize_t n = pwrite(s->fd, data, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(e, ERR_FAILED, "cannot write %s", s->path);
        data += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int spool_add(struct spool *s, Islr__Record *r, struct error *e)
{
    uint64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    r->has_seq = 1;
    r->seq = count + 1;
    size_t length = islr__record__get_packed_size(r);
    if (length > RPC_FRAME_MAX / 2)
        return error_set(e, ERR_INVALID, "a record of %zu bytes is too large", length);
    uint8_t *bytes = xmalloc(FRAME_HEADER_SIZE + length);
    frame_put_header(bytes, (uint32_t)length);
    islr__record__pack(r, bytes + FRAME_HEADER_SIZE);
    int rc = write_all(s, bytes, FRAME_HEADER_SIZE + length, e);
    free(bytes);
    if (rc)
        return -1;
    s->size += FRAME_HEADER_SIZE + length;
    atomic_store_explicit(&s->count, count + 1, memory_order_release);
    return 0;
}

static int read_all(const struct spool *s, uint64_t at, uint8_t *out, size_t size, struct error *e)
{
    while (size) {
        ssize_t n = pread(s->fd, out, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(e, ERR_FAILED, "cannot read %s", s->path);
        if (n == 0)
            return error_set(e, ERR_DAMAGED, "%s is shorter than it was", s->path);
        out += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_length(const struct spool *s, uint64_t offset, uint32_t *length, struct error *e)
{
    uint8_t h[FRAME_HEADER_SIZE];
    if (read_all(s, offset, h, sizeof h, e))
        return -1;
    *length = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    if (*length == 0 || *length > RPC_FRAME_MAX / 2)
        return error_set(e, ERR_DAMAGED, "%s is damaged at byte %llu", s->path, (unsigned long long)offset);
    return 0;
}

static int read_one(const struct spool *s, const struct spool_cursor *at, uint32_t length, Islr__Record **out,
                    struct error *e)
{
    uint8_t *bytes = xmalloc(length);
    int rc = read_all(s, at->offset + FRAME_HEADER_SIZE, bytes, length, e);
    *out = rc ? NULL : islr__record__unpack(NULL, length, bytes);
    free(bytes);
    if (!rc && (!*out || (*out)->seq != at->seq)) {
        if (*out)
            islr__record__free_unpacked(*out, NULL);
        rc = error_set(e, ERR_DAMAGED, "%s is damaged at byte %llu", s->path, (unsigned long long)at->offset);
    }
    return rc;
}

int spool_read(const struct spool *s, struct spool_cursor *at, Islr__Record **out, size_t most, size_t bytes,
               struct error *e)
{
    uint64_t count = spool_count(s);
    size_t n = 0, taken = 0;
    while (n < most && at->seq <= count) {
        uint32_t length;
        if (read_length(s, at->offset, &length, e))
            break;
        if (n && taken + length > bytes)
            return (int)n;
        if (read_one(s, at, length, &out[n], e))
            break;
        n++;
        taken += length;
        at->seq++;
        at->offset += FRAME_HEADER_SIZE + length;
    }
    if (n == most || at->seq > count)
        return (int)n;
    while (n)
        islr__record__free_unpacked(out[--n], NULL);
    return -1;
}

int spool_skip(const struct spool *s, struct spool_cursor *at, uint64_t seq, struct error *e)
{
    while (at->seq < seq) {
        uint32_t length;
        if (at->seq > spool_count(s))
            return error_set(e, ERR_DAMAGED, "%s has no record %llu", s->path, (unsigned long long)seq - 1);
        if (read_length(s, at->offset, &length, e))
            return -1;
        at->seq++;
        at->offset += FRAME_HEADER_SIZE + length;
    }
    return 0;
}
