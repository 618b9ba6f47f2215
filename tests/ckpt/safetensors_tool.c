// The C half of safetensors_foreign.py: "write FILE" writes a file of known content, "dump FILE" prints what a file
// holds, one line each: "name type shape sum-of-bits" and "@key value".
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"

static int write_known(const char *path, struct error *e)
{
    float values[24];
    for (int i = 0; i < 24; i++)
        values[i] = ldexpf((float)(i * 37 % 23) - 11, i - 12);
    values[5] = INFINITY;
    values[6] = -0.0f;
    const struct tensor tensors[] = {
        {"z.weight", TENSOR_F32, 3, {2, 3, 4}, 24, values},
        {"a.bias", TENSOR_F32, 1, {5}, 5, values + 3},
        {"scalar", TENSOR_F32, 0, {0}, 1, values + 1},
        {"empty", TENSOR_F32, 2, {0, 7}, 0, values},
        {"n\xC3\xA4me \"quoted\"", TENSOR_F32, 1, {1}, 1, values},
    };
    const struct metadata_pair metadata[] = {{"format", "pt"}, {"signs", "[\"a\\nb\", \"\xC3\xA4\"]"}};
    return safetensors_write(path, tensors, 5, metadata, 2, e);
}

static int dump(const char *path, struct error *e)
{
    static const char *const types[] = {"F32", "F16", "BF16"};
    struct safetensors file;
    if (safetensors_open(path, &file, e))
        return -1;
    for (size_t i = 0; i < file.metadata_count; i++)
        printf("@%s %s\n", file.metadata[i].key, file.metadata[i].value);
    for (size_t i = 0; i < file.count; i++) {
        const struct tensor *t = &file.tensors[i];
        char shape[128];
        float *values = xcalloc(t->count + 1, sizeof *values);
        tensor_to_f32(t, values);
        uint64_t sum = 0;
        for (size_t k = 0; k < t->count; k++) {
            uint32_t bits;
            memcpy(&bits, &values[k], sizeof bits);
            sum = (sum * 31 + bits) % 1000000007;
        }
        printf("%s %s %s %" PRIu64 "\n", t->name, types[t->type], tensor_shape_text(t, shape), sum);
        free(values);
    }
    safetensors_close(&file);
    return 0;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    if (argc != 3)
        return 2;
    if (!strcmp(argv[1], "write") ? write_known(argv[2], &e) : dump(argv[2], &e)) {
        fprintf(stderr, "%s\n", e.text);
        return (int)e.code;
    }
    return 0;
}
