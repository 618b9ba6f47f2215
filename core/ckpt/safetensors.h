// safetensors files (https://github.com/huggingface/safetensors, "Format"): u64 little-endian length of the header, the
// header (JSON), the tensors' bytes without holes. Read by mapping; written as F32 only, atomically and with the same
// bytes for the same content.
#ifndef ISLR_CKPT_SAFETENSORS_H
#define ISLR_CKPT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/file.h"

enum {
    SAFETENSORS_HEADER_MAX = 100000000, // bytes, the format's own bound
    SAFETENSORS_DIMS_MAX = 8
};

enum tensor_type { TENSOR_F32, TENSOR_F16, TENSOR_BF16 };

struct tensor {
    const char *name;
    enum tensor_type type;
    int dims; // 0: a scalar
    int64_t shape[SAFETENSORS_DIMS_MAX];
    size_t count;     // of elements
    const void *data; // little-endian, C order; not necessarily aligned in files of others: use tensor_to_f32()
};

struct metadata_pair {
    const char *key, *value;
};

// An open file, which must not be changed (it may be replaced) while it is. Everything it points to lives until
// safetensors_close().
struct safetensors {
    struct tensor *tensors; // sorted by name (bytewise)
    size_t count;
    struct metadata_pair *metadata; // sorted by key
    size_t metadata_count;
    size_t data_size; // bytes of all tensors in the file
    struct file_map map;
    void *header; // the parsed JSON, which names, keys and values point into
};

// Maps and checks the whole header: sizes, types, names, holes, overlaps, duplicates. A file that is not a whole
// safetensors file is ERR_DAMAGED with what is wrong and where. Tensors named *num_batches_tracked of type I64 are
// passed over (PyTorch's BatchNorm counters); any other type than F32, F16 and BF16 is an error.
int safetensors_open(const char *path, struct safetensors *file, struct error *e);
void safetensors_close(struct safetensors *file);

// The same from memory, which must outlive `file`; `name` is for messages. (file->map stays empty.)
int safetensors_parse(const char *name, const void *data, size_t size, struct safetensors *file, struct error *e);

const struct tensor *safetensors_find(const struct safetensors *file, const char *name); // NULL: not there
const char *safetensors_metadata(const struct safetensors *file, const char *key);       // NULL: not there

// Converts all elements; out [count].
void tensor_to_f32(const struct tensor *t, float *out);
// "[512,1024]"
const char *tensor_shape_text(const struct tensor *t, char text[128]);

// Writes F32 tensors in the order given (type must be TENSOR_F32), with `metadata` (may be NULL). Names must differ
// and, as keys and values, be UTF-8. The header is padded with spaces so that the data begins at a multiple of 8.
int safetensors_write(const char *path, const struct tensor *tensors, size_t count,
                      const struct metadata_pair *metadata, size_t metadata_count, struct error *e);

#endif
