// libFuzzer: headers and indices of prepared sets. The input is a byte that says what is put right (the sizes, the hashes:
// no fuzzer finds a SHA-256), the header, and what follows the frames, which are zero. What opens can be read to its last
// name and value; what does not says that it is damaged.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/data/set.h"
#include "core/data/set_format.h"
#include "tests/fuzz/wrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(x) ((x) ? (void)0 : abort())

enum { FIX_TEXT = 1, FIX_SIZE = 2, FIX_CONTENT = 4, FIX_CHECK = 8, FRAMES_MAX = 16 };

static void fix(struct set_header *h, uint8_t *file, size_t size, size_t tail, int what)
{
    uint8_t *index = file + size - tail;
    uint64_t fixed = h->clip_count * sizeof(struct set_record) + h->sign_count * sizeof(uint64_t) +
                     h->skipped_count * sizeof(struct set_skip);
    if (what & FIX_TEXT)
        h->text_size = tail - fixed;
    if (what & FIX_SIZE)
        h->file_size = size;
    if (what & FIX_CONTENT) {
        struct hasher *hash = hasher_create();
        hasher_update(hash, h, offsetof(struct set_header, source_key));
        hasher_update(hash, index, tail);
        struct hash content = hasher_finish(hash);
        memcpy(h->content, content.bytes, sizeof h->content);
    }
    if (what & FIX_CHECK) {
        struct hash check = hash_memory(h, offsetof(struct set_header, check));
        memcpy(h->check, check.bytes, sizeof h->check);
    }
    memcpy(file, h, sizeof *h);
}

static void read_all(const struct set *s)
{
    double sum = 0;
    size_t letters = 0;
    struct error e;
    DEMAND(set_count(s) > 0);
    for (size_t i = 0; i < set_count(s); i++) {
        const struct set_clip *c = set_clip(s, i);
        DEMAND(c->frames >= 1 && c->frames <= set_max_len(s));
        for (size_t k = 0; k < (size_t)c->frames * LANDMARKS * 3; k++)
            sum += c->data[k];
        letters += strlen(c->path) + strlen(set_sign_name(s, c->label));
        DEMAND(set_find(s, c->participant, c->sequence) >= 0);
    }
    for (int i = 0; i < set_sign_count(s); i++)
        letters += strlen(set_sign_name(s, i));
    for (size_t i = 0; i < set_skipped_count(s); i++)
        letters += strlen(set_skipped(s, i)->path) + strlen(set_skipped(s, i)->reason);
    DEMAND(set_verify(s, 1, &e) == 0 || e.code == ERR_DAMAGED);
    DEMAND(sum == 0 && letters < SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct set_header h = {0};
    if (size < 1)
        return 0;
    size_t head = size - 1 < sizeof h ? size - 1 : sizeof h, tail = size - 1 - head;
    memcpy(&h, data + 1, head);
    size_t frames = (size_t)(h.frame_count < FRAMES_MAX ? h.frame_count : 0) * SET_FRAME_BYTES;
    size_t total = SET_FRAMES_AT + frames + tail;
    uint8_t *file = xcalloc(1, total);
    if (tail)
        memcpy(file + total - tail, data + 1 + head, tail);
    fix(&h, file, total, tail, data[0]);
    wrap_file(file, total);
    struct error e = {ERR_NONE, ""};
    struct set *s = set_open("f", &e);
    if (s)
        read_all(s);
    else
        DEMAND(e.code == ERR_DAMAGED && *e.text);
    set_close(s);
    free(file);
    return 0;
}
