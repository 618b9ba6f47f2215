// A small file system of its own, for tests of full disks. Mounting one takes root.
#ifndef ISLR_TESTS_BASE_SMALL_DISK_H
#define ISLR_TESTS_BASE_SMALL_DISK_H

// Makes the directory (a template of mkdtemp()) and mounts the file system there: size "8m". -1: that is not allowed
// here, which it says.
int small_disk_mount(char *directory, const char *size);
void small_disk_unmount(const char *directory); // the directory goes too
void small_disk_fill(const char *file);         // until there is no room; removed, it leaves that again

#endif
