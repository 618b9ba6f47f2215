// A directory of its own for a test, removed at the end.
#ifndef ISLR_TESTS_DATA_SCRATCH_H
#define ISLR_TESTS_DATA_SCRATCH_H

#include <stddef.h>

// cmocka's group setup and teardown: *state is the directory's path.
int scratch_setup(void **state);
int scratch_teardown(void **state);

char *scratch_path(void **state, const char *name);                        // free() it
char *scratch_write(void **state, const char *name, const char *text);     // a file of that text; its path, free() it
void scratch_write_bytes(const char *path, const void *data, size_t size); // not synced

#endif
