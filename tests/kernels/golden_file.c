// Golden files for tests over the harness: see golden_file.h.
#include "tests/kernels/golden_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"

struct golden_file {
    struct safetensors file;
};

struct golden_file *golden_file_open(const char *name)
{
    struct error e = {0};
    struct golden_file *f = xcalloc(1, sizeof *f);
    char *path = xprintf("%s/%s.safetensors", GOLDEN_DIR, name);
    int rc = safetensors_open(path, &f->file, &e);
    free(path);
    if (rc)
        fail_msg("%s", e.text);
    return f;
}

void golden_file_close(struct golden_file *f)
{
    safetensors_close(&f->file);
    free(f);
}

const float *golden_file_values(const struct golden_file *f, size_t *count, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const struct tensor *t = safetensors_find(&f->file, name);
    if (!t || t->type != TENSOR_F32) {
        fail_msg("the golden file has no tensor %s", name);
        return NULL;
    }
    *count = t->count;
    return t->data;
}

const char *golden_file_key(const struct golden_file *f, size_t i)
{
    return i < f->file.metadata_count ? f->file.metadata[i].key : NULL;
}

json_t *golden_file_json(const struct golden_file *f, const char *key)
{
    const char *text = safetensors_metadata(&f->file, key);
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!value)
        fail_msg("the golden file's metadata has no %s", key);
    return value;
}
