// Files of the fuzzer's making: see wrap.h.
#include "tests/fuzz/wrap.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

static const uint8_t *content;
static size_t content_size;

void wrap_file(const uint8_t *data, size_t size)
{
    content = data;
    content_size = size;
}

int __wrap_file_map_open(const char *path, struct file_map *map, struct error *e);
int __wrap_file_map_open(const char *path, struct file_map *map, struct error *e)
{
    (void)path;
    (void)e;
    uint8_t *copy = xmalloc(content_size ? content_size : 1);
    memcpy(copy, content, content_size);
    *map = (struct file_map){copy, content_size};
    return 0;
}

void __wrap_file_map_close(struct file_map *map);
void __wrap_file_map_close(struct file_map *map)
{
    free((uint8_t *)map->data);
    *map = (struct file_map){0};
}

int __wrap_parallel_for(int threads, size_t count, int (*work)(void *context, size_t item, int thread), void *context);
int __wrap_parallel_for(int threads, size_t count, int (*work)(void *context, size_t item, int thread), void *context)
{
    (void)threads;
    for (size_t i = 0; i < count; i++) {
        int rc = work(context, i, 0);
        if (rc)
            return rc;
    }
    return 0;
}
