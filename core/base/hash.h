// SHA-256 (OpenSSL's EVP) of memory, streams and files.
#ifndef ISLR_BASE_HASH_H
#define ISLR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

struct hash {
    uint8_t bytes[32];
};

struct hasher; // a SHA-256 under way

struct hasher *hasher_create(void); // aborts when out of memory, as xmalloc does
void hasher_update(struct hasher *h, const void *data, size_t size);
struct hash hasher_finish(struct hasher *h); // frees h
void hasher_destroy(struct hasher *h);       // gives up without a result; NULL is fine

struct hash hash_memory(const void *data, size_t size);
int hash_file(const char *path, struct hash *out, struct error *e);
void hash_to_hex(const struct hash *h, char text[65]);
int hash_from_hex(const char *text, struct hash *out);      // -1 unless 64 hex digits
int hash_equal(const struct hash *a, const struct hash *b); // in a time that says nothing of where they differ

const char *hash_library(void); // the library in use: "OpenSSL 3.0.11 19 Sep 2023"

#endif
