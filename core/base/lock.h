// A lock between processes, held through a file: it goes when the holder ends, however it ends. (flock: also between
// hosts on NFS, where the kernel turns it into a byte-range lock.)
#ifndef ISLR_BASE_LOCK_H
#define ISLR_BASE_LOCK_H

#include "core/base/error.h"

struct file_lock {
    int fd;
    char *path;
};

// Creates the file if need be and locks it. Returns 1 if another process has it (nothing is held then), 0 when held,
// -1 on failure.
int file_lock_try(struct file_lock *lock, const char *path, struct error *e);
void file_lock_release(struct file_lock *lock); // removes the file; does nothing if the lock is not held

#endif
