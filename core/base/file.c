// Files: see file.h.
#include "core/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

enum error_code file_error_code(int number)
{
    return number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND : number == EACCES ? ERR_DENIED : ERR_FAILED;
}

int file_read(const char *path, size_t limit, char **data, size_t *size, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, file_error_code(errno), "cannot open %s", path);
    char *buffer = NULL;
    size_t length = 0, capacity = 0;
    for (;;) {
        if (length + 1 >= capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            buffer = xrealloc(buffer, capacity, 1);
        }
        ssize_t n = read(fd, buffer + length, capacity - length - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_set_errno(e, ERR_FAILED, "cannot read %s", path);
            break;
        }
        length += (size_t)n;
        if (length > limit) {
            error_set(e, ERR_INVALID, "%s is larger than the %zu bytes allowed", path, limit);
            break;
        }
        if (n == 0) {
            close(fd);
            buffer[length] = 0;
            *data = buffer;
            *size = length;
            return 0;
        }
    }
    close(fd);
    free(buffer);
    return -1;
}

int file_map_open(const char *path, struct file_map *map, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is refused below, not waited for
    if (fd < 0)
        return error_set_errno(e, file_error_code(errno), "cannot open %s", path);
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return error_set(e, ERR_INVALID, "%s is not a regular file", path);
    }
    map->size = (size_t)st.st_size;
    map->data = NULL;
    if (map->size) {
        void *p = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            close(fd);
            return error_set_errno(e, ERR_FAILED, "cannot map %s", path);
        }
        map->data = p;
    }
    close(fd);
    return 0;
}

void file_map_close(struct file_map *map)
{
    if (map->data)
        munmap((void *)map->data, map->size);
    map->data = NULL;
    map->size = 0;
}

int file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int file_make_dirs(const char *path, struct error *e)
{
    if (!*path)
        return error_set(e, ERR_INVALID, "the name of a directory is empty");
    char *copy = xstrdup(path);
    int rc = 0;
    for (char *p = copy + 1; !rc; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            rc = error_set_errno(e, file_error_code(errno), "cannot create the directory %s", copy);
        *p = c;
        if (!c)
            break;
    }
    struct stat st;
    if (!rc && (stat(path, &st) || !S_ISDIR(st.st_mode)))
        rc = error_set(e, ERR_INVALID, "%s is not a directory", path);
    free(copy);
    return rc;
}

int file_writable_dir(const char *path, struct error *e)
{
    if (access(path, W_OK | X_OK))
        return error_set_errno(e, file_error_code(errno), "cannot write in the directory %s", path);
    return 0;
}

int file_remove_tree(const char *path, struct error *e)
{
    if (!unlink(path) || errno == ENOENT)
        return 0;
    DIR *d = opendir(path);
    if (!d)
        return error_set_errno(e, ERR_FAILED, "cannot remove %s", path);
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *child = file_join(path, entry->d_name);
        rc = file_remove_tree(child, e);
        free(child);
    }
    closedir(d);
    if (!rc && rmdir(path))
        rc = error_set_errno(e, ERR_FAILED, "cannot remove %s", path);
    return rc;
}

int file_sync_dir(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, file_error_code(errno), "cannot open the directory %s", path);
    int rc = fsync(fd);
    if (rc)
        error_set_errno(e, ERR_FAILED, "cannot sync the directory %s", path);
    close(fd);
    return rc;
}

char *file_join(const char *directory, const char *name)
{
    size_t n = strlen(directory);
    return xprintf("%s%s%s", directory, n && directory[n - 1] == '/' ? "" : "/", name);
}

char *file_absolute(const char *path, struct error *e)
{
    if (*path == '/')
        return xstrdup(path);
    char *here = getcwd(NULL, 0);
    if (!here) {
        error_set_errno(e, ERR_FAILED, "cannot tell the current directory");
        return NULL;
    }
    char *absolute = file_join(here, path);
    free(here);
    return absolute;
}
