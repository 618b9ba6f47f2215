// libFuzzer: safetensors headers from strangers. The input is the header's text; a right length stands before it, and
// as many bytes of data behind it as the last byte says. What is accepted must be readable to its last element.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct safetensors *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor *t = &file->tensors[i];
        char shape[128];
        float *out = xcalloc(t->count + 1, sizeof *out);
        tensor_to_f32(t, out);
        tensor_shape_text(t, shape);
        if (safetensors_find(file, t->name) != t)
            abort();
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const size_t tail = data[size - 1];
    uint64_t length = size - 1;
    uint8_t *bytes = xcalloc(1, sizeof length + size - 1 + tail); // its own block: a byte too far is seen
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + sizeof length, data, size - 1);
    struct safetensors file;
    struct error e;
    if (safetensors_parse("f", bytes, sizeof length + size - 1 + tail, &file, &e) == 0) {
        read_all(&file);
        safetensors_close(&file);
    } else if (e.code != ERR_DAMAGED) {
        abort();
    }
    free(bytes);
    return 0;
}
