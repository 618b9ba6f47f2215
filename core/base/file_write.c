// Writing files whole: see file.h.
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

struct file_writer {
    FILE *stream;
    char *path, *temporary; // path: where links lead to
};

// Nothing can be put in its place: a pipe, a terminal, a device, or a descriptor that somebody else writes to as well.
static int is_stream(const char *path)
{
    struct stat st;
    return !strncmp(path, "/proc/", 6) || !strncmp(path, "/dev/fd/", 8) || !strcmp(path, "/dev/stdout") ||
           !strcmp(path, "/dev/stderr") || (!stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
}

// Where the links lead that stand in place of the file, also if nothing is there yet; malloc'ed, NULL: failed.
static char *follow(const char *path, struct error *e)
{
    enum { LINKS_MAX = 40 }; // Linux's own limit
    char *at = xstrdup(path), target[PATH_MAX];
    for (int i = 0; i < LINKS_MAX; i++) {
        ssize_t n = readlink(at, target, sizeof target - 1);
        if (n < 0) // no link, or nothing, or the open that follows says why
            return at;
        target[n] = 0;
        const char *slash = strrchr(at, '/');
        char *next = *target == '/' || !slash ? xstrdup(target) : xprintf("%.*s%s", (int)(slash + 1 - at), at, target);
        free(at);
        at = next;
    }
    free(at);
    error_set(e, ERR_FAILED, "%s: too many links follow each other", path);
    return NULL;
}

// A new file beside `path`; the kernel takes the process's umask off its mode.
static int create_beside(const char *path, mode_t mode, char **name)
{
    for (;;) {
        uint32_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return -1;
        *name = xprintf("%s.tmp-%08x", path, random);
        int fd = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
        free(*name);
    }
}

static void writer_free(struct file_writer *w)
{
    free(w->path);
    free(w->temporary);
    free(w);
}

static struct file_writer *open_writer(const char *path, mode_t mode, struct error *e)
{
    struct stat st;
    char *target = is_stream(path) ? NULL : follow(path, e);
    if (is_stream(path))
        error_set(e, ERR_INVALID, "%s is no regular file: this can only be written to one", path);
    if (!target)
        return NULL;
    struct file_writer *w = xcalloc(1, sizeof *w);
    w->path = target;
    int fd = -1;
    if (!stat(target, &st) && S_ISDIR(st.st_mode)) {
        error_set(e, ERR_INVALID, "%s is a directory", path);
    } else if ((fd = create_beside(target, mode, &w->temporary)) < 0 || !(w->stream = fdopen(fd, "w+"))) {
        error_set_errno(e, file_error_code(errno), "cannot create a file beside %s", target);
        if (fd >= 0) {
            close(fd);
            unlink(w->temporary);
        }
    }
    if (!w->stream) {
        writer_free(w);
        return NULL;
    }
    return w;
}

struct file_writer *file_writer_open(const char *path, struct error *e)
{
    return open_writer(path, 0666, e);
}

FILE *file_writer_stream(struct file_writer *w)
{
    return w->stream;
}

static int sync_parent(const char *path, struct error *e)
{
    char *copy = xstrdup(path), *slash = strrchr(copy, '/');
    const char *parent = !slash ? "." : slash == copy ? "/" : (*slash = 0, copy);
    int rc = file_sync_dir(parent, e);
    free(copy);
    return rc;
}

int file_writer_commit(struct file_writer *w, struct error *e)
{
    int failed = fflush(w->stream) || ferror(w->stream) || fsync(fileno(w->stream));
    int saved = errno;
    if (fclose(w->stream) && !failed)
        failed = 1, saved = errno;
    errno = saved;
    if (failed || rename(w->temporary, w->path)) {
        error_set_errno(e, ERR_FAILED, "cannot write %s", w->path);
        unlink(w->temporary);
        writer_free(w);
        return -1;
    }
    int rc = sync_parent(w->path, e);
    writer_free(w);
    return rc;
}

void file_writer_abandon(struct file_writer *w)
{
    if (!w)
        return;
    fclose(w->stream);
    unlink(w->temporary);
    writer_free(w);
}

static int write_whole(struct file_writer *w, const void *data, size_t size, struct error *e)
{
    if (!w)
        return -1;
    if (size && fwrite(data, 1, size, w->stream) != size) {
        error_set_errno(e, ERR_FAILED, "cannot write %s", w->path);
        file_writer_abandon(w);
        return -1;
    }
    return file_writer_commit(w, e);
}

static int write_stream(const char *path, const char *data, size_t size, struct error *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(e, file_error_code(errno), "cannot open %s", path);
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        data += n;
        size -= (size_t)n;
    }
    if (size)
        error_set_errno(e, ERR_FAILED, "cannot write %s", path);
    close(fd);
    return size ? -1 : 0;
}

int file_write_atomic(const char *path, const void *data, size_t size, struct error *e)
{
    return is_stream(path) ? write_stream(path, data, size, e) : write_whole(open_writer(path, 0666, e), data, size, e);
}

int file_write_secret(const char *path, const void *data, size_t size, struct error *e)
{
    return write_whole(open_writer(path, 0600, e), data, size, e);
}
