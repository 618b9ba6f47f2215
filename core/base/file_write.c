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
    char *path;      // where links lead to
    char *temporary; // the file's name until it has that one; NULL: it has none
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

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? xstrdup(".") : slash == path ? xstrdup("/") : xprintf("%.*s", (int)(slash - path), path);
}

// A name beside `path` that nobody else has taken; malloc'ed, or NULL.
static char *name_beside(const char *path)
{
    uint32_t random;
    return getrandom(&random, sizeof random, 0) == sizeof random ? xprintf("%s.tmp-%08x", path, random) : NULL;
}

// A file in the directory of `path` without a name: whatever ends this process, nothing is left of it. -1: not every
// file system has such, and it is given its name by way of /proc.
static int create_nameless(const char *path, mode_t mode)
{
    int fd = -1;
#ifdef O_TMPFILE
    char *parent = parent_of(path);
    if (file_exists("/proc/self/fd"))
        fd = open(parent, O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
    free(parent);
#else
    (void)path, (void)mode;
#endif
    return fd;
}

static int name_it(int fd, const char *path, char **name)
{
    char here[40];
    snprintf(here, sizeof here, "/proc/self/fd/%d", fd);
    while ((*name = name_beside(path))) {
        if (!linkat(AT_FDCWD, here, AT_FDCWD, *name, AT_SYMLINK_FOLLOW))
            return 0;
        free(*name);
        *name = NULL;
        if (errno != EEXIST)
            break;
    }
    return -1;
}

// One that has a name from the beginning.
static int create_named(const char *path, mode_t mode, char **name)
{
    while ((*name = name_beside(path))) {
        int fd = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0)
            return fd;
        free(*name);
        *name = NULL;
        if (errno != EEXIST)
            break;
    }
    return -1;
}

static void remove_temporary(const struct file_writer *w)
{
    if (w->temporary)
        unlink(w->temporary);
}

static void writer_free(struct file_writer *w)
{
    free(w->path);
    free(w->temporary);
    free(w);
}

// The kernel takes the process's umask off the mode.
static int open_temporary(struct file_writer *w, mode_t mode, struct error *e)
{
    int fd = create_nameless(w->path, mode);
    if (fd < 0)
        fd = create_named(w->path, mode, &w->temporary);
    if (fd >= 0 && (w->stream = fdopen(fd, "w+")))
        return 0;
    error_set_errno(e, file_error_code(errno), "cannot create a file beside %s", w->path);
    if (fd >= 0)
        close(fd);
    remove_temporary(w);
    return -1;
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
    int rc = !stat(target, &st) && S_ISDIR(st.st_mode) ? error_set(e, ERR_INVALID, "%s is a directory", path)
                                                       : open_temporary(w, mode, e);
    if (!rc)
        return w;
    writer_free(w);
    return NULL;
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
    char *parent = parent_of(path);
    int rc = file_sync_dir(parent, e);
    free(parent);
    return rc;
}

int file_writer_commit(struct file_writer *w, struct error *e)
{
    int fd = fileno(w->stream);
    int failed =
        fflush(w->stream) || ferror(w->stream) || fsync(fd) || (!w->temporary && name_it(fd, w->path, &w->temporary));
    int saved = errno;
    if (fclose(w->stream) && !failed)
        failed = 1, saved = errno;
    errno = saved;
    if (failed || rename(w->temporary, w->path)) {
        error_set_errno(e, ERR_FAILED, "cannot write %s", w->path);
        remove_temporary(w);
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
    remove_temporary(w);
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
