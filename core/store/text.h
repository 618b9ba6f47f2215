// Texts of a fixed size.
#ifndef ISLR_STORE_TEXT_H
#define ISLR_STORE_TEXT_H

#include <stddef.h>
#include <string.h>

// Copies as much of a text as fits, whole characters of UTF-8 only.
static inline void text_fit(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);
    if (n >= size) {
        n = size - 1;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(out, text, n);
    out[n] = 0;
}

#endif
