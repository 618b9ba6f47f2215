// Writing safetensors: see safetensors.h.
#include "core/ckpt/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/memory.h"

static int check_tensor(const struct tensor *t, struct error *e)
{
    size_t count = 1, bytes;
    if (t->type != TENSOR_F32)
        return error_set(e, ERR_FAILED, "tensor '%s' is not F32, the one type that is written", t->name);
    if (t->dims < 0 || t->dims > SAFETENSORS_DIMS_MAX)
        return error_set(e, ERR_FAILED, "tensor '%s' has %d dimensions", t->name, t->dims);
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(count, (size_t)t->shape[i], &count))
            return error_set(e, ERR_FAILED, "tensor '%s' has an impossible shape", t->name);
    if (count != t->count || __builtin_mul_overflow(count, sizeof(float), &bytes))
        return error_set(e, ERR_FAILED, "tensor '%s' has %zu elements, but its shape has %zu", t->name, t->count,
                         count);
    return 0;
}

// {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}
static json_t *tensor_info(const struct tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->dims; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + t->count * sizeof(float)));
}

static int add_tensors(json_t *header, const struct tensor *tensors, size_t count, struct error *e)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tensor *t = &tensors[i];
        if (check_tensor(t, e))
            return -1;
        if (!strcmp(t->name, "__metadata__") || json_object_get(header, t->name))
            return error_set(e, ERR_FAILED, "two tensors are called '%s', or the name is reserved", t->name);
        if (json_object_set_new(header, t->name, tensor_info(t, at)))
            return error_set(e, ERR_FAILED, "the name of tensor %zu is not UTF-8", i);
        at += t->count * sizeof(float);
    }
    return 0;
}

static int add_metadata(json_t *header, const struct metadata_pair *pairs, size_t count, struct error *e)
{
    json_t *map = json_object();
    json_object_set_new(header, "__metadata__", map);
    for (size_t i = 0; i < count; i++) {
        if (json_object_get(map, pairs[i].key))
            return error_set(e, ERR_FAILED, "metadata '%s' is given twice", pairs[i].key);
        if (json_object_set_new(map, pairs[i].key, json_string(pairs[i].value)))
            return error_set(e, ERR_FAILED, "metadata '%s' is not UTF-8", pairs[i].key);
    }
    return 0;
}

// The header's text, padded with spaces to a multiple of 8 bytes; NULL on failure.
static char *make_header(const struct tensor *tensors, size_t count, const struct metadata_pair *metadata,
                         size_t metadata_count, uint64_t *size, struct error *e)
{
    json_t *header = json_object();
    char *text = NULL, *padded = NULL;
    if ((metadata_count && add_metadata(header, metadata, metadata_count, e)) || add_tensors(header, tensors, count, e))
        goto out;
    text = json_dumps(header, JSON_COMPACT);
    if (!text) {
        error_set(e, ERR_FAILED, "the header cannot be made");
        goto out;
    }
    size_t n = strlen(text);
    *size = (n + 7) / 8 * 8;
    if (*size > SAFETENSORS_HEADER_MAX) {
        error_set(e, ERR_FAILED, "the header would have %llu bytes; at most %d are allowed", (unsigned long long)*size,
                  SAFETENSORS_HEADER_MAX);
        goto out;
    }
    padded = xprintf("%-*s", (int)*size, text);
out:
    free(text);
    json_decref(header);
    return padded;
}

int safetensors_write(const char *path, const struct tensor *tensors, size_t count,
                      const struct metadata_pair *metadata, size_t metadata_count, struct error *e)
{
    uint64_t size;
    char *header = make_header(tensors, count, metadata, metadata_count, &size, e);
    if (!header)
        return error_prefix(e, "%s", path);
    struct file_writer *w = file_writer_open(path, e);
    if (!w) {
        free(header);
        return -1;
    }
    FILE *f = file_writer_stream(w);
    int failed = fwrite(&size, sizeof size, 1, f) != 1 || fwrite(header, 1, size, f) != size;
    for (size_t i = 0; i < count && !failed; i++)
        failed = tensors[i].count && fwrite(tensors[i].data, sizeof(float), tensors[i].count, f) != tensors[i].count;
    free(header);
    if (failed) {
        error_set_errno(e, ERR_FAILED, "cannot write %s", path);
        file_writer_abandon(w);
        return -1;
    }
    return file_writer_commit(w, e);
}
