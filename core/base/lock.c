// File locks: see lock.h. Since release removes the file, who gets the lock checks that the file it locked is still the
// one of that name; otherwise two processes could hold locks on two files in succession under one name.
#include "core/base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

int file_lock_try(struct file_lock *lock, const char *path, struct error *e)
{
    *lock = (struct file_lock){.fd = -1};
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return error_set_errno(e, errno == EACCES ? ERR_DENIED : ERR_FAILED, "cannot create the lock %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int saved = errno;
            close(fd);
            if (saved == EWOULDBLOCK)
                return 1;
            if (saved == EINTR)
                continue;
            errno = saved;
            return error_set_errno(e, ERR_FAILED, "cannot lock %s", path);
        }
        struct stat held, named;
        if (!fstat(fd, &held) && !stat(path, &named) && held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
            *lock = (struct file_lock){fd, xstrdup(path)};
            return 0;
        }
        close(fd); // the holder before us removed it
    }
}

void file_lock_release(struct file_lock *lock)
{
    if (!lock->path)
        return;
    unlink(lock->path);
    close(lock->fd);
    free(lock->path);
    *lock = (struct file_lock){.fd = -1};
}
