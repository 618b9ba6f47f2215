// Cores: see cores.h.
#include "core/base/cores.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"

// ---- quotas of control groups ---------------------------------------------------------------------------------------

struct tightest {
    double quota; // 0: none yet
    uint64_t group;
};

// The two numbers of a group's quota and period; 0: the directory has no such file, or no limit.
static double read_quota(const char *directory, const char *quota_file, const char *period_file)
{
    double quota = 0, period = 0;
    char *path = file_join(directory, quota_file), *text = NULL;
    size_t size;
    if (!file_read(path, 4096, &text, &size, NULL)) // "max 100000", "150000 100000"; version 1: "-1"
        sscanf(text, "%lf %lf", &quota, &period);
    free(path);
    free(text);
    text = NULL;
    if (period_file) {
        path = file_join(directory, period_file);
        if (!file_read(path, 4096, &text, &size, NULL))
            sscanf(text, "%lf", &period);
        free(path);
        free(text);
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

static void look_at(struct tightest *t, const char *directory, int version)
{
    struct stat st;
    double quota = version == 2 ? read_quota(directory, "cpu.max", NULL)
                                : read_quota(directory, "cpu.cfs_quota_us", "cpu.cfs_period_us");
    if (quota <= 0 || (t->quota > 0 && quota >= t->quota) || stat(directory, &st))
        return;
    t->quota = quota;
    t->group = (uint64_t)st.st_ino ^ (uint64_t)st.st_dev << 48;
}

// The group at `path` of a hierarchy and all above it. In a container, some of the path may lie outside of what is
// mounted.
static void look_up(struct tightest *t, const char *mount, const char *path, int version)
{
    char *directory = xprintf("%s%s", mount, path);
    size_t root = strlen(mount);
    for (;;) {
        look_at(t, directory, version);
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < root)
            break;
        *slash = 0;
    }
    free(directory);
}

static int has_controller(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ','))
            return 1;
    return 0;
}

double cores_quota(const char *membership, const char *mounts, uint64_t *group)
{
    struct tightest t = {0, 0};
    char *copy = xstrdup(membership), *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        char *mount = xprintf("%s/%s", mounts, controllers), *unified = file_join(mounts, "unified");
        if (*controllers) { // version 1
            if (has_controller(controllers, "cpu"))
                look_up(&t, mount, path, 1);
        } else {
            look_up(&t, file_exists(unified) ? unified : mounts, path, 2);
        }
        free(mount);
        free(unified);
    }
    free(copy);
    *group = t.group;
    return t.quota;
}

// ---- masks ----------------------------------------------------------------------------------------------------------

static int may_run_on(const struct cores *c, size_t cpu)
{
    return (int)(c->mask[cpu / 64] >> cpu % 64 & 1);
}

void cores_get(struct cores *mine)
{
    char *text;
    size_t size;
    memset(mine, 0, sizeof *mine);
    if (sched_getaffinity(0, sizeof mine->mask, (cpu_set_t *)mine->mask)) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        for (long i = 0; i < online && i < CORES_MAX; i++)
            mine->mask[i / 64] |= (uint64_t)1 << i % 64;
    }
    if (file_read("/proc/self/cgroup", 1 << 20, &text, &size, NULL))
        return;
    mine->quota = cores_quota(text, "/sys/fs/cgroup", &mine->group);
    free(text);
}

int cores_share(const struct cores *mine, const struct cores *all, size_t count)
{
    double share = 0;
    for (size_t cpu = 0; cpu < CORES_MAX; cpu++) {
        int sharing = 0;
        for (size_t i = 0; may_run_on(mine, cpu) && i < count; i++)
            sharing += may_run_on(&all[i], cpu);
        share += sharing ? 1.0 / sharing : 0;
    }
    int sharing = 0;
    for (size_t i = 0; i < count; i++)
        sharing += all[i].quota > 0 && all[i].group == mine->group;
    if (mine->quota > 0 && sharing && mine->quota / sharing < share)
        share = mine->quota / sharing;
    return share > 1 ? (int)(share + 1e-6) : 1; // six thirds are two
}

int cores_count(const struct cores *mine)
{
    return cores_share(mine, mine, 1);
}
