// Which files a job may have a worker read: see work_allow.h.
#include "daemon/work_allow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/reference.h"

int work_allowed_add(struct work_allowed *a, const char *directory, struct error *e)
{
    char *root = realpath(directory, NULL);
    if (!root)
        return error_set_errno(e, ERR_INVALID, "--allow %s", directory);
    a->roots = xrealloc(a->roots, a->count + 1, sizeof *a->roots);
    a->roots[a->count++] = root;
    return 0;
}

void work_allowed_free(struct work_allowed *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->roots[i]);
    free(a->roots);
    memset(a, 0, sizeof *a);
}

static int is_below(const char *path, const char *root)
{
    size_t n = strlen(root);
    return !strcmp(root, "/") || (!strncmp(path, root, n) && (path[n] == '/' || !path[n]));
}

static int check_path(const struct work_allowed *a, const char *field, const char *path, struct error *e)
{
    char *real = *path ? realpath(path, NULL) : NULL;
    int fine = real == NULL;
    for (size_t i = 0; i < a->count && !fine; i++)
        fine = is_below(real, a->roots[i]);
    free(real);
    return fine ? 0
                : error_set(e, ERR_DENIED, "%s: %s is not among what this worker lets jobs read (its --allow)", field,
                            path);
}

int work_allowed_check(const struct work_allowed *a, const Islr__JobSpec *job, struct error *e)
{
    if (!a->count)
        return 0;
    if (check_path(a, "data.path", job->data->path, e) || check_path(a, "data.fold_file", job->data->fold_file, e))
        return -1;
    char name[32], **field;
    struct reference reference; // a bad one fails when it is to be fetched
    for (size_t i = 0; (field = reference_field((Islr__JobSpec *)job, i, name)); i++)
        if (!reference_parse(*field, &reference, NULL) && reference.kind == REFERENCE_NONE &&
            check_path(a, name, *field, e))
            return -1;
    return 0;
}
