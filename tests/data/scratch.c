// Scratch directories of tests: see scratch.h.
#include "tests/data/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

int scratch_setup(void **state)
{
    const char *parent = getenv("TMPDIR");
    char *path = xprintf("%s/islr-data-XXXXXX", parent && *parent ? parent : "/tmp");
    *state = mkdtemp(path);
    return *state ? 0 : -1;
}

int scratch_teardown(void **state)
{
    struct error e;
    int rc = file_remove_tree(*state, &e);
    free(*state);
    return rc;
}

char *scratch_path(void **state, const char *name)
{
    return file_join(*state, name);
}

char *scratch_write(void **state, const char *name, const char *text)
{
    char *path = scratch_path(state, name);
    scratch_write_bytes(path, text, strlen(text));
    return path;
}

void scratch_write_bytes(const char *path, const void *data, size_t size)
{
    remove(path); // file systems take care to flush a file that is written over, which takes time
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) {
        perror(path);
        abort();
    }
}
