// What of a machine's cores a process may use: its affinity mask, and the time that control groups leave it. Processes
// that work together on one machine, as ranks do, share out what they have in common.
#ifndef ISLR_BASE_CORES_H
#define ISLR_BASE_CORES_H

#include <stddef.h>
#include <stdint.h>

enum { CORES_MAX = 8192 }; // as many as Linux can be built for

// No pointers: processes send it to each other.
struct cores {
    uint64_t mask[CORES_MAX / 64]; // may be run on
    double quota;                  // cores' worth of time; 0: no limit
    uint64_t group;                // of what the quota is: processes of the same number share it
};

void cores_get(struct cores *mine);

// Threads for this process alone, and where `count` processes of the machine do the same, of which this is one: each core
// is shared by those that may run on it, each quota by those in its group. At least 1.
int cores_count(const struct cores *mine);
int cores_share(const struct cores *mine, const struct cores *all, size_t count);

// The tightest quota of the control groups (cpu.max of version 2, cfs_quota_us of version 1) that `membership` (in the
// form of /proc/self/cgroup) names below `mounts` (/sys/fs/cgroup), their parents included; 0: none.
double cores_quota(const char *membership, const char *mounts, uint64_t *group);

#endif
