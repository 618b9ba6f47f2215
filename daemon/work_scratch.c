// Where a run's files are kept while it is worked on: see work_scratch.h.
#include "daemon/work_scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "daemon/work_net.h"

// 1: somebody else works there.
static int lock_and_make(struct scratch *s, char *directory, struct error *e)
{
    char *name = xprintf("%s.lock", directory);
    int rc = file_lock_try(&s->lock, name, e);
    free(name);
    if (!rc && file_make_dirs(directory, e)) {
        file_lock_release(&s->lock);
        rc = -1;
    }
    if (rc)
        free(directory);
    else
        s->directory = directory;
    return rc;
}

static int is_old(const char *path)
{
    struct stat st;
    return !stat(path, &st) && st.st_mtime + SCRATCH_DAYS * 24 * 3600 < time(NULL);
}

// The newest of the directory and what is directly in it: a run that goes on touches its metrics and resume points.
static int is_abandoned(const char *directory)
{
    DIR *d = opendir(directory);
    int old = d && is_old(directory);
    for (struct dirent *entry; old && (entry = readdir(d));) {
        char *path = file_join(directory, entry->d_name);
        old = strcmp(entry->d_name, "..") ? is_old(path) : 1;
        free(path);
    }
    if (d)
        closedir(d);
    return old;
}

static void sweep_one(const char *directory, const struct log *log)
{
    struct file_lock lock;
    struct error e;
    char *name = xprintf("%s.lock", directory);
    if (is_abandoned(directory) && !file_lock_try(&lock, name, NULL)) {
        log_info(log, "removing %s: not touched for %d days", directory, SCRATCH_DAYS);
        if (file_remove_tree(directory, &e))
            log_warn(log, "%s", e.text);
        file_lock_release(&lock);
    }
    free(name);
}

static void sweep(const char *base, const struct log *log)
{
    DIR *d = opendir(base);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (strncmp(entry->d_name, "run-", 4) || strstr(entry->d_name, ".lock"))
            continue;
        char *path = file_join(base, entry->d_name);
        sweep_one(path, log);
        free(path);
    }
    if (d)
        closedir(d);
}

int scratch_open(struct scratch *s, const char *base, const struct work_task *t, const struct log *log, struct error *e)
{
    char *below = file_join(base, *t->server_id ? t->server_id : "server");
    int rc = file_make_dirs(below, e);
    if (!rc) {
        sweep(below, log);
        rc = lock_and_make(s, xprintf("%s/run-%llu", below, (unsigned long long)t->run), e);
    }
    if (rc == 1) {
        log_warn(log, "run %llu: an earlier attempt still works in its directory", (unsigned long long)t->run);
        rc = lock_and_make(s, xprintf("%s/run-%llu.%u", below, (unsigned long long)t->run, t->attempt), e);
    }
    if (rc == 1)
        rc = error_set(e, ERR_FAILED, "%s/run-%llu.%u is in use", below, (unsigned long long)t->run, t->attempt);
    free(below);
    return rc;
}
