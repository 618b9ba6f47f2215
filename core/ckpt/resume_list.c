// The directory of resume points: see resume_format.h.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/ckpt/resume_format.h"

// "point-<step>" and then exactly `rest`, or something that begins with it. -1: no such name.
static int parse_name(const char *name, const char *rest, int prefix, uint64_t *step)
{
    if (strncmp(name, "point-", 6))
        return -1;
    const char *digits = name + 6;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 20 || (n > 1 && *digits == '0'))
        return -1;
    errno = 0;
    *step = strtoull(digits, NULL, 10);
    if (errno)
        return -1;
    return prefix ? strncmp(digits + n, rest, strlen(rest)) : strcmp(digits + n, rest);
}

static int compare_steps(const void *a, const void *b)
{
    const struct resume_file *x = a, *y = b;
    return x->step > y->step ? -1 : x->step < y->step;
}

static DIR *open_directory(const char *directory, struct error *e)
{
    DIR *d = opendir(directory);
    if (!d)
        error_set_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot read the directory %s", directory);
    return d;
}

int resume_list(const char *directory, struct resume_listing *out, struct error *e)
{
    *out = (struct resume_listing){0};
    DIR *d = open_directory(directory, e);
    if (!d)
        return -1;
    for (struct dirent *entry; (entry = readdir(d));) {
        uint64_t step;
        if (parse_name(entry->d_name, RESUME_SUFFIX, 0, &step))
            continue;
        out->items = xrealloc(out->items, out->count + 1, sizeof *out->items);
        out->items[out->count++] = (struct resume_file){file_join(directory, entry->d_name), step};
    }
    closedir(d);
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_steps);
    return 0;
}

void resume_listing_free(struct resume_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->items[i].path);
    free(listing->items);
    *listing = (struct resume_listing){0};
}

int resume_remove_temporaries(const char *directory, struct error *e)
{
    int rc = 0;
    DIR *d = open_directory(directory, e);
    if (!d)
        return -1;
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        uint64_t step;
        if (parse_name(entry->d_name, RESUME_SUFFIX ".tmp-", 1, &step))
            continue;
        if (unlinkat(dirfd(d), entry->d_name, 0) && errno != ENOENT)
            rc = error_set_errno(e, ERR_FAILED, "cannot remove %s/%s", directory, entry->d_name);
    }
    closedir(d);
    return rc;
}
