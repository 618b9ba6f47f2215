// Full disks: see small_disk.h.
#include "tests/base/small_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int small_disk_mount(char *directory, const char *size)
{
    char option[32];
    snprintf(option, sizeof option, "size=%s", size);
    if (!mkdtemp(directory)) {
        perror(directory);
        abort();
    }
    if (!mount("none", directory, "tmpfs", 0, option))
        return 0;
    rmdir(directory);
    printf("no small file system can be mounted here: full disks are not tested\n");
    return -1;
}

void small_disk_unmount(const char *directory)
{
    umount2(directory, MNT_DETACH);
    rmdir(directory);
}

void small_disk_fill(const char *file)
{
    char block[4096];
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    memset(block, 1, sizeof block);
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
}
