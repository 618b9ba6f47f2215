// NumPy's .npy files: see npy.h. Format: numpy/lib/format.py.
#include "core/base/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

int npy_write_f32(const char *path, const float *data, int dims, const int64_t *shape, struct error *e)
{
    struct strbuf header = {0};
    size_t count = 1;
    strbuf_printf(&header, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < dims; i++) {
        strbuf_printf(&header, i + 1 < dims ? "%lld, " : dims == 1 ? "%lld," : "%lld", (long long)shape[i]);
        count *= (size_t)shape[i];
    }
    strbuf_printf(&header, "), }");
    while ((10 + header.length + 1) % 64)
        strbuf_add(&header, " ", 1);
    strbuf_add(&header, "\n", 1);
    uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)header.length, (uint8_t)(header.length >> 8)};
    struct file_writer *w = file_writer_open(path, e);
    int rc = -1;
    if (w) {
        FILE *f = file_writer_stream(w);
        fwrite(magic, 1, sizeof magic, f);
        fwrite(header.text, 1, header.length, f);
        fwrite(data, sizeof *data, count, f); // a short write shows as ferror() in commit
        rc = file_writer_commit(w, e);
    }
    free(header.text);
    return rc;
}

static int parse_header(const char *path, const char *header, int *dims, int64_t shape[8], size_t *count,
                        struct error *e)
{
    const char *p = strstr(header, "'shape': (");
    if (!strstr(header, "'descr': '<f4'") || !strstr(header, "'fortran_order': False") || !p)
        return error_set(e, ERR_DAMAGED, "%s: not a float32 array in C order", path);
    *dims = 0;
    *count = 1;
    for (p += strlen("'shape': ("); *p && *p != ')';) {
        char *end;
        long long n = strtoll(p, &end, 10);
        if (end == p || n < 0 || *dims == 8 || __builtin_mul_overflow(*count, (size_t)n, count))
            return error_set(e, ERR_DAMAGED, "%s: bad shape in the npy header", path);
        shape[(*dims)++] = n;
        p = end;
        while (*p == ',' || *p == ' ')
            p++;
    }
    return 0;
}

int npy_read_f32(const char *path, float **data, int *dims, int64_t shape[8], struct error *e)
{
    struct file_map map;
    if (file_map_open(path, &map, e))
        return -1;
    int rc = -1;
    size_t count = 0, header_size = map.size >= 10 ? (size_t)(map.data[8] | map.data[9] << 8) : 0;
    char *header = xcalloc(1, header_size + 1);
    if (map.size < 10 + header_size || map.size < 10 || memcmp(map.data, "\x93NUMPY\x01", 7)) {
        error_set(e, ERR_DAMAGED, "%s is not a .npy file of format 1.0", path);
    } else {
        memcpy(header, map.data + 10, header_size);
        if (!parse_header(path, header, dims, shape, &count, e)) {
            if (count > (map.size - 10 - header_size) / sizeof **data) {
                error_set(e, ERR_DAMAGED, "%s is truncated", path);
            } else {
                *data = xmalloc(count * sizeof **data + 1);
                memcpy(*data, map.data + 10 + header_size, count * sizeof **data);
                rc = 0;
            }
        }
    }
    free(header);
    file_map_close(&map);
    return rc;
}
