// Copies through pinned memory: see staging.h.
#include "kernels/cuda/staging.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { HALVES = 2, HALF = 4 << 20, DOWN = 1 << 20, PIECE_ALIGN = 64, DELIVERIES = 256 };

// Uploads fill one half after the other; a half is filled again when what was read from it has been copied.
struct half {
    char *memory;
    size_t used;
    cudaEvent_t copied; // recorded when the half was full
};

struct delivery {
    void *host;
    const char *staged;
    size_t size;
};

struct staging {
    struct half up[HALVES];
    int half; // being filled
    char *down;
    size_t down_used;
    struct delivery delivery[DELIVERIES];
    int deliveries;
};

void staging_destroy(struct staging *t)
{
    if (!t)
        return;
    for (int i = 0; i < HALVES; i++) {
        if (t->up[i].memory)
            cudaFreeHost(t->up[i].memory);
        if (t->up[i].copied)
            cudaEventDestroy(t->up[i].copied);
    }
    if (t->down)
        cudaFreeHost(t->down);
    free(t);
}

// The stream's staging memory, made on first use; NULL: a failure was kept.
static struct staging *staging_of(struct stream *s)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    if (c->staging)
        return c->staging;
    struct staging *t = xcalloc(1, sizeof *t);
    cudaError_t rc = cudaMallocHost((void **)&t->down, DOWN);
    for (int i = 0; i < HALVES && !rc; i++) {
        rc = cudaMallocHost((void **)&t->up[i].memory, HALF);
        if (!rc)
            rc = cudaEventCreateWithFlags(&t->up[i].copied, cudaEventDisableTiming);
    }
    if (cuda_check(s, rc, "pinned host memory for copies")) {
        staging_destroy(t);
        return NULL;
    }
    return c->staging = t;
}

static size_t aligned(size_t size)
{
    return (size + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
}

// ---- to the device ------------------------------------------------------------------------------------------------

static void turn_half(struct stream *s, struct staging *t)
{
    cuda_check(s, cudaEventRecord(t->up[t->half].copied, cuda_stream_of(s)), "mark an upload");
    t->half = (t->half + 1) % HALVES;
    struct half *next = &t->up[t->half];
    if (next->used) // never so on the first round
        cuda_check(s, cudaEventSynchronize(next->copied), "wait for an upload");
    next->used = 0;
}

void staging_upload(struct stream *s, void *device, const void *host, size_t size)
{
    struct staging *t = size ? staging_of(s) : NULL;
    while (t && size && cuda_ok(s)) {
        if (t->up[t->half].used == HALF)
            turn_half(s, t);
        struct half *half = &t->up[t->half];
        size_t room = HALF - half->used, piece = size < room ? size : room;
        memcpy(half->memory + half->used, host, piece);
        cuda_check(s,
                   cudaMemcpyAsync(device, half->memory + half->used, piece, cudaMemcpyHostToDevice, cuda_stream_of(s)),
                   "upload");
        half->used += aligned(piece);
        device = (char *)device + piece;
        host = (const char *)host + piece;
        size -= piece;
    }
}

// ---- to the host --------------------------------------------------------------------------------------------------

void staging_deliver(struct stream *s, int failed)
{
    struct staging *t = ((struct cuda_stream *)s)->staging;
    if (!t)
        return;
    for (int i = 0; i < t->deliveries && !failed; i++)
        memcpy(t->delivery[i].host, t->delivery[i].staged, t->delivery[i].size);
    t->deliveries = 0;
    t->down_used = 0;
}

void staging_download(struct stream *s, void *host, const void *device, size_t size)
{
    struct staging *t = size ? staging_of(s) : NULL;
    while (t && size && cuda_ok(s)) {
        if (t->down_used == DOWN || t->deliveries == DELIVERIES) {
            cudaError_t rc = cuda_check(s, cudaStreamSynchronize(cuda_stream_of(s)), "download");
            staging_deliver(s, rc != cudaSuccess);
        }
        size_t room = DOWN - t->down_used, piece = size < room ? size : room;
        char *staged = t->down + t->down_used;
        if (cuda_check(s, cudaMemcpyAsync(staged, device, piece, cudaMemcpyDeviceToHost, cuda_stream_of(s)),
                       "download"))
            return;
        t->delivery[t->deliveries++] = (struct delivery){host, staged, piece};
        t->down_used += aligned(piece);
        device = (const char *)device + piece;
        host = (char *)host + piece;
        size -= piece;
    }
}
