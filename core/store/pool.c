// Memory that is freed all at once: see pool.h.
#include "core/store/pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { CHUNK = 16 << 10, ALIGNMENT = _Alignof(max_align_t) };

struct pool_chunk {
    struct pool_chunk *next;
    size_t used, capacity;
    _Alignas(max_align_t) unsigned char data[];
};

void *pool_alloc(struct pool *p, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct pool_chunk *c = p->chunks;
    if (!c || c->capacity - c->used < rounded) {
        size_t capacity = rounded > CHUNK / 4 ? rounded : CHUNK;
        c = xmalloc(sizeof *c + capacity);
        c->used = 0;
        c->capacity = capacity;
        // a chunk of its own for a large piece goes behind the one that still has room
        struct pool_chunk **at = p->chunks && capacity != CHUNK ? &p->chunks->next : &p->chunks;
        c->next = *at;
        *at = c;
    }
    void *out = memset(c->data + c->used, 0, rounded);
    c->used += rounded;
    p->total += rounded;
    return out;
}

void *pool_copy(struct pool *p, const void *data, size_t size)
{
    return size ? memcpy(pool_alloc(p, size), data, size) : NULL;
}

char *pool_text(struct pool *p, const char *text)
{
    return pool_copy(p, text, strlen(text) + 1);
}

void *pool_room(struct pool *p, void *array, size_t count, size_t width)
{
    if (count & (count - 1))
        return array;
    void *larger = pool_alloc(p, (count ? 2 * count : 1) * width);
    return count ? memcpy(larger, array, count * width) : larger;
}

void pool_free(struct pool *p)
{
    while (p->chunks) {
        struct pool_chunk *next = p->chunks->next;
        free(p->chunks);
        p->chunks = next;
    }
    p->total = 0;
}

static void *allocate(void *data, size_t size)
{
    return pool_alloc(data, size);
}

static void release(void *data, void *p)
{
    (void)data;
    (void)p;
}

ProtobufCMessage *pool_unpack(struct pool *p, const ProtobufCMessageDescriptor *type, const void *data, size_t size)
{
    ProtobufCAllocator allocator = {allocate, release, p};
    return protobuf_c_message_unpack(type, &allocator, size, size ? data : (const void *)"");
}
