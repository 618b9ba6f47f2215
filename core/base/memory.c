// Allocation that does not fail: see memory.h.
#include "core/base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p, size_t size)
{
    if (!p && size) {
        fprintf(stderr, "out of memory: %zu bytes wanted\n", size);
        abort();
    }
    return p;
}

static size_t product(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        must(NULL, SIZE_MAX);
    return total;
}

void *xmalloc(size_t size)
{
    return must(malloc(size), size);
}

void *xcalloc(size_t count, size_t size)
{
    return must(calloc(count, size), product(count, size));
}

void *xrealloc(void *p, size_t count, size_t size)
{
    size_t total = product(count, size);
    return must(realloc(p, total ? total : 1), total);
}

void *xaligned(size_t alignment, size_t size)
{
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    void *p = must(aligned_alloc(alignment, rounded ? rounded : alignment), size);
    return memset(p, 0, rounded);
}

char *xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(xmalloc(size), text, size);
}

char *xprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = must(NULL, 1);
    va_end(args);
    return text;
}

static void reserve(struct strbuf *b, size_t more)
{
    size_t wanted = b->length + more + 1;
    if (wanted <= b->capacity)
        return;
    b->capacity = wanted > 2 * b->capacity ? wanted : 2 * b->capacity;
    b->text = xrealloc(b->text, b->capacity, 1);
}

void strbuf_add(struct strbuf *b, const void *data, size_t size)
{
    reserve(b, size);
    memcpy(b->text + b->length, data, size);
    b->length += size;
    b->text[b->length] = 0;
}

void strbuf_vprintf(struct strbuf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    reserve(b, 32); // what most need: a second pass is seldom
    size_t room = b->capacity - b->length;
    size_t n = (size_t)vsnprintf(b->text + b->length, room, format, args);
    if (n >= room) {
        reserve(b, n);
        vsnprintf(b->text + b->length, n + 1, format, again);
    }
    b->length += n;
    va_end(again);
}

void strbuf_printf(struct strbuf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    strbuf_vprintf(b, format, args);
    va_end(args);
}
