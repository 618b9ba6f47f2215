// The sign map: see signs.h.
#include "core/data/signs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/utf8.h"

static const size_t MAX_BYTES = (size_t)64 << 20;

static int fill_names(const char *path, json_t *map, int count, char **names, struct error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        if (!utf8_printable(name, strlen(name)))
            return error_set(e, ERR_INVALID, "%s: a sign's name has control characters", path);
        if (!json_is_integer(value))
            return error_set(e, ERR_INVALID, "%s: the class index of \"%s\" is not an integer", path, name);
        json_int_t i = json_integer_value(value);
        if (i < 0 || i >= count)
            return error_set(e, ERR_INVALID, "%s: the class index %lld of \"%s\" is outside 0..%d (there are %d signs)",
                             path, (long long)i, name, count - 1, count);
        if (names[i])
            return error_set(e, ERR_INVALID, "%s: \"%s\" and \"%s\" have the same class index %lld", path, names[i],
                             name, (long long)i);
        names[i] = xstrdup(name);
    }
    return 0;
}

int signs_read(const char *path, int *count, char ***names, struct hash *hash, struct error *e)
{
    char *data;
    size_t size;
    if (file_read(path, MAX_BYTES, &data, &size, e))
        return -1;
    if (hash)
        *hash = hash_memory(data, size);
    size_t skip = size >= 3 && !memcmp(data, "\xEF\xBB\xBF", 3) ? 3 : 0; // a byte order mark
    json_error_t fault;
    json_t *map = json_loadb(data + skip, size - skip, JSON_REJECT_DUPLICATES, &fault);
    free(data);
    int rc;
    if (!map)
        rc = error_set(e, ERR_INVALID, "%s, line %d, column %d: %s", path, fault.line, fault.column, fault.text);
    else if (!json_is_object(map) || !json_object_size(map) || json_object_size(map) > SIGNS_MAX)
        rc = error_set(e, ERR_INVALID, "%s is not an object of 1 to %d signs with their class indices", path,
                       (int)SIGNS_MAX);
    else {
        *count = (int)json_object_size(map);
        *names = xcalloc((size_t)*count, sizeof **names);
        rc = fill_names(path, map, *count, *names, e);
        if (rc) {
            signs_free(*count, *names);
            *count = 0;
            *names = NULL;
        }
    }
    json_decref(map);
    return rc;
}

void signs_free(int count, char **names)
{
    for (int i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}

struct sign_index {
    int count;
    struct entry {
        const char *name;
        int label;
    } entries[]; // by name
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

struct sign_index *sign_index_create(int count, char *const *names)
{
    struct sign_index *index = xmalloc(sizeof *index + (size_t)count * sizeof *index->entries);
    index->count = count;
    for (int i = 0; i < count; i++)
        index->entries[i] = (struct entry){names[i], i};
    qsort(index->entries, (size_t)count, sizeof *index->entries, compare_entries);
    return index;
}

int sign_index_find(const struct sign_index *index, const char *name)
{
    struct entry key = {name, 0};
    const struct entry *found =
        bsearch(&key, index->entries, (size_t)index->count, sizeof *index->entries, compare_entries);
    return found ? found->label : -1;
}

void sign_index_free(struct sign_index *index)
{
    free(index);
}
