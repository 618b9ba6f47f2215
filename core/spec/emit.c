// Pieces of JSON: see emit.h.
#include "core/spec/emit.h"

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

void emit_double(struct strbuf *b, double v)
{
    char text[40] = "0"; // also for -0: equal jobs are equal bytes
    for (int digits = 15; digits <= 17 && v != 0; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    strbuf_printf(b, "%s", text);
}
