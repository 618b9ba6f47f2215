// Reading safetensors: see safetensors.h. The header is not trusted: every number is checked before it is used.
#include "core/ckpt/safetensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/memory.h"
#include "core/ckpt/half.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are taken from the file as they are");

static const char counter_suffix[] = "num_batches_tracked";

// A tensor's bytes [begin, end) behind the header, counters included.
struct extent {
    const char *name;
    uint64_t begin, end;
};

struct reader {
    const char *name; // of the file
    const uint8_t *data;
    uint64_t data_size; // bytes behind the header
    struct safetensors *file;
    struct extent *extents;
    size_t extent_count;
    struct error *error;
};

#define damaged(r, ...) (error_set((r)->error, ERR_DAMAGED, __VA_ARGS__), error_prefix((r)->error, "%s", (r)->name))

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && !strcmp(text + n - m, suffix);
}

// Bytes of one element; 0: a type that is not read. *counter: PyTorch's BatchNorm counter, to be passed over.
static size_t read_type(const char *tensor, const char *type, enum tensor_type *out, bool *counter)
{
    *counter = !strcmp(type, "I64") && ends_with(tensor, counter_suffix);
    if (*counter)
        return 8;
    if (!strcmp(type, "F32"))
        return *out = TENSOR_F32, 4;
    if (!strcmp(type, "F16"))
        return *out = TENSOR_F16, 2;
    if (!strcmp(type, "BF16"))
        return *out = TENSOR_BF16, 2;
    return 0;
}

static int read_shape(struct reader *r, const char *name, const json_t *shape, struct tensor *t)
{
    if (!json_is_array(shape))
        return damaged(r, "tensor '%.200s' has no shape", name);
    if (json_array_size(shape) > SAFETENSORS_DIMS_MAX)
        return damaged(r, "tensor '%.200s' has %zu dimensions; at most %d are read", name, json_array_size(shape),
                       SAFETENSORS_DIMS_MAX);
    t->dims = (int)json_array_size(shape);
    t->count = 1;
    for (int i = 0; i < t->dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return damaged(r, "dimension %d of tensor '%.200s' is not a whole number from 0 on", i, name);
        t->shape[i] = json_integer_value(size);
        if (__builtin_mul_overflow(t->count, (size_t)t->shape[i], &t->count))
            return damaged(r, "tensor '%.200s' is larger than memory can be", name);
    }
    return 0;
}

static int read_extent(struct reader *r, const char *name, const json_t *offsets, struct extent *x)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return damaged(r, "tensor '%.200s' has no valid data_offsets", name);
    *x = (struct extent){name, (uint64_t)json_integer_value(begin), (uint64_t)json_integer_value(end)};
    if (x->end > r->data_size)
        return damaged(r, "tensor '%.200s' ends at byte %llu of the data, of which there are only %llu: truncated?",
                       name, (unsigned long long)x->end, (unsigned long long)r->data_size);
    return 0;
}

static int read_tensor(struct reader *r, const char *name, const json_t *info)
{
    struct tensor t = {.name = name};
    struct extent *x = &r->extents[r->extent_count];
    const char *type = json_string_value(json_object_get(info, "dtype"));
    bool counter;
    size_t bytes, size = type ? read_type(name, type, &t.type, &counter) : 0;
    if (!type)
        return damaged(r, "tensor '%.200s' has no dtype", name);
    if (!size)
        return damaged(r, "tensor '%.200s' has the type %.20s; F32, F16 and BF16 are read", name, type);
    if (read_shape(r, name, json_object_get(info, "shape"), &t) ||
        read_extent(r, name, json_object_get(info, "data_offsets"), x))
        return -1;
    if (__builtin_mul_overflow(t.count, size, &bytes) || bytes != x->end - x->begin) {
        char shape[128];
        return damaged(r, "tensor '%.200s' of type %s and shape %s has %llu bytes", name, type,
                       tensor_shape_text(&t, shape), (unsigned long long)(x->end - x->begin));
    }
    r->extent_count++;
    t.data = r->data + x->begin;
    if (!counter)
        r->file->tensors[r->file->count++] = t;
    return 0;
}

static int read_metadata(struct reader *r, json_t *map)
{
    const char *key;
    json_t *value;
    if (!json_is_object(map))
        return damaged(r, "__metadata__ is not a map of texts");
    r->file->metadata = xcalloc(json_object_size(map) + 1, sizeof *r->file->metadata);
    json_object_foreach(map, key, value)
    {
        if (!json_is_string(value))
            return damaged(r, "__metadata__ entry '%.200s' is not a text", key);
        r->file->metadata[r->file->metadata_count++] = (struct metadata_pair){key, json_string_value(value)};
    }
    return 0;
}

static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end; // empty ones before what begins at the same byte
}

static int check_extents(struct reader *r)
{
    qsort(r->extents, r->extent_count, sizeof *r->extents, compare_extents);
    uint64_t at = 0;
    for (size_t i = 0; i < r->extent_count; i++) {
        const struct extent *x = &r->extents[i];
        if (x->begin != at)
            return damaged(r, "%s before tensor '%.200s', at byte %llu of the data",
                           x->begin > at ? "there is a hole" : "tensors overlap", x->name,
                           (unsigned long long)(x->begin > at ? at : x->begin));
        at = x->end;
    }
    if (at != r->data_size)
        return damaged(r, "%llu bytes follow the last tensor", (unsigned long long)(r->data_size - at));
    return 0;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const struct metadata_pair *)a)->key, ((const struct metadata_pair *)b)->key);
}

static int read_entries(struct reader *r, json_t *header)
{
    struct safetensors *file = r->file;
    const char *key;
    json_t *value;
    size_t count = json_object_size(header);
    r->extents = xcalloc(count + 1, sizeof *r->extents);
    file->tensors = xcalloc(count + 1, sizeof *file->tensors);
    json_object_foreach(header, key, value)
    {
        if (!strcmp(key, "__metadata__") ? read_metadata(r, value) : read_tensor(r, key, value))
            return -1;
    }
    if (check_extents(r))
        return -1;
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_tensors);
    if (file->metadata)
        qsort(file->metadata, file->metadata_count, sizeof *file->metadata, compare_pairs);
    return 0;
}

static int read_header(struct reader *r, const uint8_t *bytes, size_t size)
{
    uint64_t length;
    if (size < sizeof length)
        return damaged(r, "%zu bytes are no safetensors file", size);
    memcpy(&length, bytes, sizeof length);
    if (length > SAFETENSORS_HEADER_MAX)
        return damaged(r, "a safetensors header of %llu bytes; at most %d are allowed: is it another kind of file?",
                       (unsigned long long)length, SAFETENSORS_HEADER_MAX);
    if (length > size - sizeof length)
        return damaged(r, "the header has %llu bytes, but only %zu follow: truncated?", (unsigned long long)length,
                       size - sizeof length);
    const char *text = (const char *)bytes + sizeof length;
    if (length == 0 || text[0] != '{')
        return damaged(r, "the header does not begin with '{'");
    json_error_t fault;
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    if (!header)
        return damaged(r, "the header is not JSON: %s (byte %d)", fault.text, fault.position);
    r->file->header = header;
    r->data = bytes + sizeof length + length;
    r->data_size = r->file->data_size = size - sizeof length - length;
    return read_entries(r, header);
}

int safetensors_parse(const char *name, const void *data, size_t size, struct safetensors *file, struct error *e)
{
    *file = (struct safetensors){0};
    struct reader r = {.name = name, .file = file, .error = e};
    int rc = read_header(&r, data, size);
    free(r.extents);
    if (rc)
        safetensors_close(file);
    return rc;
}

int safetensors_open(const char *path, struct safetensors *file, struct error *e)
{
    struct file_map map;
    *file = (struct safetensors){0};
    if (file_map_open(path, &map, e))
        return -1;
    if (safetensors_parse(path, map.data, map.size, file, e)) {
        file_map_close(&map);
        return -1;
    }
    file->map = map;
    return 0;
}

void safetensors_close(struct safetensors *file)
{
    free(file->tensors);
    free(file->metadata);
    json_decref(file->header);
    if (file->map.data)
        file_map_close(&file->map);
    *file = (struct safetensors){0};
}

const struct tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    const struct tensor key = {.name = name};
    return file->count ? bsearch(&key, file->tensors, file->count, sizeof key, compare_tensors) : NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (!strcmp(file->metadata[i].key, key))
            return file->metadata[i].value;
    return NULL;
}

void tensor_to_f32(const struct tensor *t, float *out)
{
    const uint8_t *p = t->data; // may be at an odd address
    if (t->type == TENSOR_F32) {
        if (t->count)
            memcpy(out, p, t->count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, sizeof bits);
        out[i] = t->type == TENSOR_F16 ? half_from_f16(bits) : half_from_bf16(bits);
    }
}

const char *tensor_shape_text(const struct tensor *t, char text[128])
{
    size_t n = (size_t)snprintf(text, 128, "[");
    for (int i = 0; i < t->dims && n < 100; i++)
        n += (size_t)snprintf(text + n, 128 - n, "%s%lld", i ? "," : "", (long long)t->shape[i]);
    snprintf(text + n, 128 - n, "]");
    return text;
}
