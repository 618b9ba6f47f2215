// Allocation that does not fail: host memory of ordinary size running out ends the program with a sentence (there is
// nothing sensible left to do). Sizes that come from a file or a peer are checked before they get here.
#ifndef ISLR_BASE_MEMORY_H
#define ISLR_BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);           // zeroed; aborts on overflow
void *xrealloc(void *p, size_t count, size_t size); // aborts on overflow
void *xaligned(size_t alignment, size_t size);      // zeroed; free() it
char *xstrdup(const char *text);
char *xprintf(const char *format, ...) __attribute__((format(printf, 1, 2))); // free() it

// A growing text; `text` is NUL-terminated once anything was added. Zero-initialise; free(b.text) at the end.
struct strbuf {
    char *text;
    size_t length, capacity;
};
void strbuf_add(struct strbuf *b, const void *data, size_t size);
void strbuf_printf(struct strbuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#endif
