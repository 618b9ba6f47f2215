// libFuzzer: resume points. The input is a byte that says which hashes are put right, and the file up to its last hash.
// What opens is whole: every section can be read, found by its name and no other.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/resume_format.h"
#include "tests/fuzz/wrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(x) ((x) ? (void)0 : abort())

enum { FIX_SECTIONS = 1, FIX_TABLE = 2, HEAD = 24, ROW = 48, ROWS_MAX = 64 };

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// The table's end; `rows` gets where each begins. As far as it makes sense.
static size_t walk(const uint8_t *file, size_t size, size_t rows[ROWS_MAX], size_t *count)
{
    size_t at = HEAD;
    *count = 0;
    while (size >= HEAD && *count < ROWS_MAX && *count < u64_at(file + 16) && at <= size && size - at >= ROW) {
        uint64_t length = u64_at(file + at + 40);
        if (length > size - at - ROW)
            break;
        rows[(*count)++] = at;
        at += ROW + length + resume_padding(length, 8);
    }
    return at < size ? at : size;
}

static void fix(uint8_t *file, size_t size, int what)
{
    size_t rows[ROWS_MAX], count, table = walk(file, size, rows, &count), at = table;
    for (size_t i = 0; what & FIX_SECTIONS && i < count; i++) {
        uint64_t bytes = u64_at(file + rows[i]);
        at += resume_padding(at, RESUME_ALIGN);
        if (at > size || bytes > size - at)
            break;
        struct hash h = hash_memory(file + at, bytes);
        memcpy(file + rows[i] + 8, h.bytes, sizeof h.bytes);
        at += bytes;
    }
    if (what & FIX_TABLE) {
        struct hash h = hash_memory(file, table);
        memcpy(file + size, h.bytes, sizeof h.bytes);
    }
}

static void read_all(const struct resume_point *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct resume_section *s = &p->sections[i];
        struct error e;
        uint8_t *copy = xmalloc(s->size + 1);
        DEMAND(resume_find(p, s->name) == s && (uintptr_t)s->data % 8 == 0);
        DEMAND(resume_read(p, s->name, copy, s->size, &e) == 0);
        DEMAND(resume_read(p, s->name, copy, s->size + 1, &e) == -1 && e.code == ERR_DAMAGED);
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t total = size - 1 + sizeof(struct hash);
    uint8_t *file = xcalloc(1, total);
    memcpy(file, data + 1, size - 1);
    fix(file, size - 1, data[0]);
    wrap_file(file, total);
    struct resume_point point;
    struct error e = {ERR_NONE, ""};
    if (resume_open_file("f", &point, &e) == 0) {
        read_all(&point);
        resume_close(&point);
    } else {
        DEMAND(e.code == ERR_DAMAGED && *e.text);
    }
    free(file);
    return 0;
}
