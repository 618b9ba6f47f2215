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

// The last digits of a number, without printf: a list may have many thousands of lines.
static char *put_digits(char *at, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + digits;
}

const char *text_time(int64_t ms, char text[TEXT_SIZE])
{
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    if (ms <= 0 || !localtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900) {
        strcpy(text, "-");
        return text;
    }
    const struct {
        int value, digits;
        char behind;
    } parts[] = {{tm.tm_year + 1900, 4, '-'}, {tm.tm_mon + 1, 2, '-'}, {tm.tm_mday, 2, ' '},
                 {tm.tm_hour, 2, ':'},        {tm.tm_min, 2, ':'},     {tm.tm_sec, 2, 0}};
    char *at = text;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        at = put_digits(at, (uint64_t)parts[i].value, parts[i].digits);
        *at++ = parts[i].behind;
    }
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
static void put_harmless(struct strbuf *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if ((*s < 0x20 && *s != '\t') || *s == 0x7f) {
            strbuf_add(out, "?", 1);
        } else if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) {
            strbuf_add(out, "?", 1);
            s++;
        } else {
            strbuf_add(out, s, 1);
        }
    }
}

void text_print(FILE *stream, const char *text)
{
    struct strbuf out = {0};
    if (!isatty(fileno(stream))) {
        fputs(text, stream);
        return;
    }
    put_harmless(&out, text);
    fwrite(out.text, 1, out.length, stream);
    free(out.text);
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

static int parse_moment(const char *text, int64_t *ms)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);
        if (end && !*end) {
            *ms = (int64_t)mktime(&tm) * 1000;
            return 0;
        }
    }
    return -1;
}

int text_parse_time(const char *text, int64_t now_ms, int64_t *ms, struct error *e)
{
    if (!parse_ago(text, now_ms, ms) || !parse_moment(text, ms))
        return 0;
    return error_set(e, ERR_INVALID, "'%s' is no time: 90s, 15m, 2h, 3d, 1w ago, or 2026-03-01 or 2026-03-01T12:00",
                     text);
}

int text_parse_until(const char *text, int64_t now_ms, int64_t *ms, struct error *e)
{
    if (!parse_ago(text, 0, ms)) {
        *ms = now_ms - *ms;
        return 0;
    }
    if (!parse_moment(text, ms))
        return 0;
    return error_set(e, ERR_INVALID, "'%s' is no time: 15m, 12h, 30d, 4w from now, or 2027-03-01 or 2027-03-01T12:00",
                     text);
}

// ---- tables ---------------------------------------------------------------------------------------------------------
// A table may have many thousands of rows: the cells lie in one text, and the whole is written at once.

static void begin_cell(struct table *t)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = xrealloc(t->cells, t->capacity, sizeof *t->cells);
    }
    t->cells[t->count++] = t->text.length;
}

static void end_cell(struct table *t)
{
    char *s = t->text.text + t->cells[t->count - 1];
    while ((s = strchr(s, '\n')))
        *s = ' ';
    t->text.length++; // the NUL between cells
}

void table_column(struct table *t, const char *title, bool right)
{
    t->right[t->columns++] = right;
    table_cell(t, "%s", title);
}

void table_columns(struct table *t, const struct table_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        table_column(t, columns[i].title, columns[i].right);
}

void table_cell(struct table *t, const char *format, ...)
{
    va_list args;
    begin_cell(t);
    va_start(args, format);
    strbuf_vprintf(&t->text, format, args);
    va_end(args);
    end_cell(t);
}

void table_number(struct table *t, uint64_t number)
{
    char text[24];
    int digits = 1;
    for (uint64_t rest = number; rest > 9; rest /= 10)
        digits++;
    *put_digits(text, number, digits) = 0;
    table_text(t, text);
}

void table_text(struct table *t, const char *text)
{
    begin_cell(t);
    strbuf_add(&t->text, text, strlen(text));
    end_cell(t);
}

// Columns on the screen, taking every character for one wide.
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void put_gap(struct strbuf *out, int width)
{
    static const char blanks[] = "                                ";
    for (int n; width > 0; width -= n) {
        n = width < (int)sizeof blanks - 1 ? width : (int)sizeof blanks - 1;
        strbuf_add(out, blanks, (size_t)n);
    }
}

void table_print(struct table *t, FILE *stream)
{
    int widths[TABLE_COLUMNS] = {0}, terminal = isatty(fileno(stream));
    struct strbuf out = {0};
    for (size_t i = 0; i < t->count; i++) {
        int w = width_of(t->text.text + t->cells[i]), c = (int)(i % (size_t)t->columns);
        widths[c] = w > widths[c] ? w : widths[c];
    }
    for (size_t i = 0; i < t->count; i++) {
        const char *text = t->text.text + t->cells[i];
        int c = (int)(i % (size_t)t->columns), last = c == t->columns - 1, gap = widths[c] - width_of(text);
        if (t->right[c])
            put_gap(&out, gap);
        if (terminal)
            put_harmless(&out, text);
        else
            strbuf_add(&out, text, strlen(text));
        if (!t->right[c] && !last)
            put_gap(&out, gap);
        strbuf_add(&out, last ? "\n" : "  ", last ? 1 : 2);
    }
    fwrite(out.text, 1, out.length, stream);
    free(out.text);
    table_free(t);
}

void table_free(struct table *t)
{
    free(t->text.text);
    free(t->cells);
    memset(t, 0, sizeof *t);
}
