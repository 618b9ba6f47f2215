// What people read: see text.h.
#define _XOPEN_SOURCE 700
#include "client/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"

const char *text_time(int64_t ms, char text[TEXT_SIZE])
{
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    if (ms <= 0 || !localtime_r(&seconds, &tm) || !strftime(text, TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm))
        strcpy(text, "-");
    return text;
}

const char *text_bytes(uint64_t n, char text[TEXT_SIZE])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    if (n < 1000) {
        snprintf(text, TEXT_SIZE, "%u B", (unsigned)n);
        return text;
    }
    double v = (double)n / 1000;
    int unit = 0;
    for (; v >= 999.95 && unit < 4; unit++)
        v /= 1000;
    snprintf(text, TEXT_SIZE, "%.1f %s", v, units[unit]);
    return text;
}

const char *text_cut(const char *text, int most, char out[CUT_SIZE])
{
    const char *end = text;
    for (int n = 0; *end && (n < most || ((unsigned char)*end & 0xc0) == 0x80); end++)
        n += ((unsigned char)*end & 0xc0) != 0x80;
    snprintf(out, CUT_SIZE, "%.*s%s", (int)(end - text), text, *end ? ".." : "");
    return out;
}

// The control characters of ASCII and, in UTF-8, of U+0080 to U+009F. Tabs stay.
void text_print(FILE *stream, const char *text)
{
    if (!isatty(fileno(stream))) {
        fputs(text, stream);
        return;
    }
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if ((*s < 0x20 && *s != '\t') || *s == 0x7f) {
            fputc('?', stream);
        } else if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) {
            fputc('?', stream);
            s++;
        } else {
            fputc(*s, stream);
        }
    }
}

static int parse_ago(const char *text, int64_t now_ms, int64_t *ms)
{
    static const struct {
        char letter;
        int seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
    char *end;
    double v = strtod(text, &end);
    if (end == text || v < 0 || v > 1e6 || !*end || end[1] || !isdigit((unsigned char)*text))
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (*end == units[i].letter) {
            *ms = now_ms - (int64_t)(v * units[i].seconds * 1000);
            return 0;
        }
    return -1;
}

int text_parse_time(const char *text, int64_t now_ms, int64_t *ms, struct error *e)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%d"};
    if (!parse_ago(text, now_ms, ms))
        return 0;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end) {
            *ms = (int64_t)mktime(&tm) * 1000;
            return 0;
        }
    }
    return error_set(e, ERR_INVALID, "'%s' is no time: 90s, 15m, 2h, 3d, 1w ago, or 2026-03-01 or 2026-03-01T12:00",
                     text);
}

// ---- tables ---------------------------------------------------------------------------------------------------------

static void add_cell(struct table *t, char *text)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = xrealloc(t->cells, t->capacity, sizeof *t->cells);
    }
    t->cells[t->count++] = text;
}

void table_column(struct table *t, const char *title, bool right)
{
    t->right[t->columns++] = right;
    add_cell(t, xstrdup(title));
}

void table_cell(struct table *t, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    for (char *s = n < 0 ? NULL : text; s && (s = strchr(s, '\n'));)
        *s = ' ';
    add_cell(t, n < 0 ? xstrdup("?") : text);
}

// Columns on the screen, taking every character for one wide.
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void table_print(struct table *t, FILE *stream)
{
    int widths[TABLE_COLUMNS] = {0};
    for (size_t i = 0; i < t->count; i++) {
        int w = width_of(t->cells[i]), c = (int)(i % (size_t)t->columns);
        widths[c] = w > widths[c] ? w : widths[c];
    }
    for (size_t i = 0; i < t->count; i++) {
        int c = (int)(i % (size_t)t->columns), last = c == t->columns - 1, gap = widths[c] - width_of(t->cells[i]);
        if (t->right[c])
            fprintf(stream, "%*s", gap, "");
        text_print(stream, t->cells[i]);
        if (!t->right[c] && !last)
            fprintf(stream, "%*s", gap, "");
        fputs(last ? "\n" : "  ", stream);
        free(t->cells[i]);
    }
    free(t->cells);
    memset(t, 0, sizeof *t);
}
