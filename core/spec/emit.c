// Pieces of JSON: see emit.h.
#include "core/spec/emit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

void emit_string(struct strbuf *b, const char *text)
{
    size_t left = strlen(text);
    strbuf_add(b, "\"", 1);
    while (left) {
        size_t n = utf8_length(text, left);
        unsigned char c = (unsigned char)*text;
        if (n == 0)
            strbuf_add(b, "\xEF\xBF\xBD", 3);
        else if (c == '"' || c == '\\')
            strbuf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            strbuf_printf(b, "\\u%04x", c);
        else
            strbuf_add(b, text, n);
        text += n ? n : 1;
        left -= n ? n : 1;
    }
    strbuf_add(b, "\"", 1);
}

// What a job mostly holds: at most six places, none of them beyond a double's 15 digits, so the text is what %.15g makes
// of it. 1: put down.
static int put_short(struct strbuf *b, double v)
{
    char text[24], *end = text + sizeof text, *at = end;
    double r = nearbyint(v * 1e6);
    if (!(fabs(r) < 1e12) || r / 1e6 != v || fabs(v) < 1e-4)
        return 0;
    unsigned long long n = (unsigned long long)fabs(r);
    int places = 6;
    for (; places && n % 10 == 0; places--)
        n /= 10;
    for (int digits = 0; n || digits <= places; digits++, n /= 10) {
        if (digits && digits == places)
            *--at = '.';
        *--at = (char)('0' + n % 10);
    }
    if (v < 0)
        *--at = '-';
    strbuf_add(b, at, (size_t)(end - at));
    return 1;
}

void emit_double(struct strbuf *b, double v)
{
    char text[40] = "0"; // also for -0: equal jobs are equal bytes
    if (put_short(b, v))
        return;
    for (int digits = 15; digits <= 17 && v != 0; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    strbuf_add(b, text, strlen(text));
}
