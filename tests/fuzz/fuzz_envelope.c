// libFuzzer: bytes from a stranger's connection. The first byte chooses how they are cut into pieces; the rest is a
// stream of frames. However it is cut, the same messages come out; what unpacks is within its memory, packs and unpacks
// to itself, and can be asked what it is.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/envelope.h"
#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(x) ((x) ? (void)0 : abort())

enum { LIMIT = 2000 }; // small, so that a fuzzer finds its way to it

static void check_accepted(const Islr__Envelope *m)
{
    size_t size, again_size;
    struct error e;
    (void)envelope_is_reply(m);
    (void)envelope_is_last_reply(m);
    DEMAND(*envelope_name(m));
    if (m->body_case == ISLR__ENVELOPE__BODY_FAULT)
        DEMAND(envelope_fault_error(m->fault, &e) == -1 && *e.text);
    // What came with numbers written at length or fields given twice is another text the first time only.
    uint8_t *frame = envelope_pack(m, RPC_FRAME_MAX, &size, &e);
    DEMAND(frame);
    Islr__Envelope *back =
        envelope_unpack(frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, (size_t)64 * RPC_FRAME_MAX, &e);
    DEMAND(back);
    uint8_t *again = envelope_pack(back, RPC_FRAME_MAX, &again_size, &e);
    DEMAND(again && again_size == size && !memcmp(frame, again, size));
    envelope_free(back);
    free(frame);
    free(again);
}

// What a connection makes of the stream: a digest of all bodies, and whether it was given up.
struct outcome {
    uint64_t digest;
    int refused;
    size_t frames;
};

static struct outcome read_stream(const uint8_t *data, size_t size, size_t piece, int check)
{
    struct frame_reader r = {.limit = LIMIT};
    struct outcome o = {14695981039346656037u, 0, 0};
    struct error e;
    while (size && !o.refused) {
        size_t n = size < piece ? size : piece, left = n;
        uint8_t *copy = xmalloc(n);
        memcpy(copy, data, n);
        const uint8_t *at = copy;
        int rc;
        while ((rc = frame_reader_take(&r, &at, &left, &e)) > 0) {
            DEMAND(r.length >= 1 && r.length <= LIMIT && r.capacity <= 64 << 10);
            for (uint32_t i = 0; i < r.length; i++)
                o.digest = (o.digest ^ r.body[i]) * 1099511628211u;
            o.frames++;
            Islr__Envelope *m = check ? envelope_unpack(r.body, r.length, RPC_UNPACK_FACTOR * LIMIT, &e) : NULL;
            if (m)
                check_accepted(m);
            envelope_free(m);
        }
        o.refused = rc < 0;
        free(copy);
        data += n;
        size -= n;
    }
    frame_reader_free(&r);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct outcome whole = read_stream(data + 1, size - 1, size, 1);
    struct outcome pieces = read_stream(data + 1, size - 1, 1 + data[0] % 97, 0);
    DEMAND(whole.digest == pieces.digest && whole.refused == pieces.refused && whole.frames == pieces.frames);
    return 0;
}
