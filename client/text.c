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
#include "core/base/utf8.h"

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

static uint32_t code_point(const unsigned char *s, size_t n)
{
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    return c;
}

// Control characters, and format characters that reorder, hide or break text: what is read would not be what is there.
// Tabs stay, and the joiners (U+200C, U+200D), which some scripts are written with.
static bool is_harmful(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x00, 0x08},     {0x0a, 0x1f},     {0x7f, 0x9f},      {0xad, 0xad},     {0x61c, 0x61c},
                  {0x180e, 0x180e}, {0x200b, 0x200b}, {0x200e, 0x200f},  {0x2028, 0x202e}, {0x2060, 0x206f},
                  {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

// Bytes that are no UTF-8 are a terminal's own matter, and so harmful too.
static void put_harmless(struct strbuf *out, const char *text, bool keep_lines)
{
    for (size_t left = strlen(text), n; left; text += n, left -= n) {
        n = utf8_length(text, left);
        bool kept = n && !is_harmful(code_point((const unsigned char *)text, n));
        n = n ? n : 1;
        if (kept || (keep_lines && *text == '\n'))
            strbuf_add(out, text, n);
        else
            strbuf_add(out, "?", 1);
    }
}

static void print_harmless(FILE *stream, const char *text, bool keep_lines)
{
    struct strbuf out = {0};
    if (!*text || !isatty(fileno(stream))) {
        fputs(text, stream);
        return;
    }
    put_harmless(&out, text, keep_lines);
    fwrite(out.text, 1, out.length, stream);
    free(out.text);
}

void text_print(FILE *stream, const char *text)
{
    print_harmless(stream, text, false);
}

void text_print_lines(FILE *stream, const char *text)
{
    print_harmless(stream, text, true);
}

void text_say(const char *format, ...)
{
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    print_harmless(stderr, text.text, true);
    fputc('\n', stderr);
    free(text.text);
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
            put_harmless(&out, text, false);
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
