// Memory that is freed all at once: what one read from the database produces. Private to core/store and its callers.
#ifndef ISLR_STORE_POOL_H
#define ISLR_STORE_POOL_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

struct pool_chunk;

// Zero-initialise; pool_free() at the end (it may then be used anew).
struct pool {
    struct pool_chunk *chunks;
    size_t total; // bytes handed out
};

void *pool_alloc(struct pool *p, size_t size); // zeroed, aligned for anything
char *pool_text(struct pool *p, const char *text);
void *pool_copy(struct pool *p, const void *data, size_t size); // NULL for no bytes
void pool_free(struct pool *p);

// An array that grows by one: returns it, or a larger copy when it is full (at 0, 1, 2, 4, .. elements).
void *pool_room(struct pool *p, void *array, size_t count, size_t width);

// Unpacks a message into the pool; NULL when the bytes are none. Never free_unpacked() it.
ProtobufCMessage *pool_unpack(struct pool *p, const ProtobufCMessageDescriptor *type, const void *data, size_t size);

#endif
