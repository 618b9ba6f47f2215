// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef ISLR_BASE_UTF8_H
#define ISLR_BASE_UTF8_H

#include <stddef.h>

// Bytes of the character that begins at text (1 to 4), of which `size` bytes are there; 0 where none does.
size_t utf8_length(const char *text, size_t size);

// 1: all of it is UTF-8.
int utf8_valid(const char *text, size_t size);

void utf8_clean(char *text); // every byte that is none becomes '?'

// 1: and without control characters (those below a space): fit to be shown on a line.
int utf8_printable(const char *text, size_t size);

#endif
