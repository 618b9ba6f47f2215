// UTF-8: see utf8.h.
#include "core/base/utf8.h"

#include <string.h>

size_t utf8_length(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    if (size == 0 || (p[0] >= 0x80 && p[0] < 0xC2) || p[0] > 0xF4)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (size < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    int overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    int outside = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    return overlong || outside ? 0 : n;
}

int utf8_valid(const char *text, size_t size)
{
    while (size) {
        size_t n = utf8_length(text, size);
        if (!n)
            return 0;
        text += n;
        size -= n;
    }
    return 1;
}

void utf8_clean(char *text)
{
    size_t left = strlen(text);
    while (left) {
        size_t n = utf8_length(text, left);
        if (!n)
            *text = '?';
        text += n ? n : 1;
        left -= n ? n : 1;
    }
}

int utf8_printable(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ')
            return 0;
    return utf8_valid(text, size);
}
