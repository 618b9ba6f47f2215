// Frames: see frame.h.
#include "core/rpc/frame.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum {
    FIRST_CAPACITY = 4096,
    KEPT_CAPACITY = 64 << 10 // a larger buffer is given back before the next frame
};

void frame_put_header(uint8_t header[FRAME_HEADER_SIZE], uint32_t length)
{
    header[0] = (uint8_t)(length >> 24);
    header[1] = (uint8_t)(length >> 16);
    header[2] = (uint8_t)(length >> 8);
    header[3] = (uint8_t)length;
}

static uint32_t least(size_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

static int take_header(struct frame_reader *r, const uint8_t **data, size_t *size, struct error *e)
{
    uint32_t n = least(*size, FRAME_HEADER_SIZE - r->header_have);
    memcpy(r->header + r->header_have, *data, n);
    r->header_have += n;
    *data += n;
    *size -= n;
    if (r->header_have < FRAME_HEADER_SIZE)
        return 0;
    const uint8_t *h = r->header;
    r->length = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    r->body_have = 0;
    if (r->length == 0 || r->length > r->limit)
        return error_set(e, ERR_DAMAGED, "a frame of %u bytes was announced; 1 to %u are allowed here", r->length,
                         r->limit);
    if (r->capacity > KEPT_CAPACITY) {
        free(r->body);
        r->body = NULL;
        r->capacity = 0;
    }
    return 1;
}

static void make_room(struct frame_reader *r, uint32_t arriving)
{
    uint32_t wanted = r->body_have + arriving;
    if (wanted <= r->capacity)
        return;
    uint32_t grown = r->capacity ? 2 * r->capacity : FIRST_CAPACITY;
    if (grown < wanted)
        grown = wanted;
    r->capacity = grown < r->length || grown < FIRST_CAPACITY ? grown : r->length;
    r->body = xrealloc(r->body, r->capacity, 1);
}

int frame_reader_take(struct frame_reader *r, const uint8_t **data, size_t *size, struct error *e)
{
    if (r->header_have == FRAME_HEADER_SIZE && r->body_have == r->length)
        r->header_have = 0; // the frame handed out last is done with
    if (r->header_have < FRAME_HEADER_SIZE) {
        int rc = take_header(r, data, size, e);
        if (rc <= 0)
            return rc;
    }
    uint32_t n = least(*size, r->length - r->body_have);
    make_room(r, n);
    if (n)
        memcpy(r->body + r->body_have, *data, n);
    r->body_have += n;
    *data += n;
    *size -= n;
    return r->body_have == r->length;
}

int frame_reader_partial(const struct frame_reader *r)
{
    return r->header_have > 0 && !(r->header_have == FRAME_HEADER_SIZE && r->body_have == r->length);
}

void frame_reader_free(struct frame_reader *r)
{
    free(r->body);
    memset(r, 0, sizeof *r);
}
