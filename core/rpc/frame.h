// Frames: a u32 big-endian length and that many bytes, taken apart from a byte stream that arrives in any pieces.
#ifndef ISLR_RPC_FRAME_H
#define ISLR_RPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#define FRAME_HEADER_SIZE 4

// Zero-initialise and set `limit`. The body's buffer grows with the bytes that arrive, never ahead of them by more than
// their number (at least 4 KiB), so a header alone costs its sender nothing of our memory.
struct frame_reader {
    uint32_t limit; // longest body accepted; may be changed between frames
    uint8_t header[FRAME_HEADER_SIZE];
    uint32_t header_have;
    uint32_t length; // of the body under way, once the header is complete
    uint8_t *body;   // of the frame that frame_reader_take() has just completed; reused by the next
    uint32_t body_have, capacity;
};

// Takes bytes from the front of (*data, *size), which it moves on. Returns 1 when a frame is complete (body and length
// are valid until the next call; call again for the rest of the bytes), 0 when all bytes are taken and more are needed,
// -1 with ERR_DAMAGED for a length of 0 or over the limit (the stream is then useless).
int frame_reader_take(struct frame_reader *r, const uint8_t **data, size_t *size, struct error *e);

// 1 in the middle of a frame: at the stream's end that is a truncation, and its time is limited.
int frame_reader_partial(const struct frame_reader *r);

void frame_reader_free(struct frame_reader *r);

void frame_put_header(uint8_t header[FRAME_HEADER_SIZE], uint32_t length);

#endif
