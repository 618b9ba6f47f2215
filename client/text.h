// What people read: times, sizes, tables, and texts of others made safe for a terminal.
#ifndef ISLR_CLIENT_TEXT_H
#define ISLR_CLIENT_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/error.h"
#include "core/base/memory.h"

enum { TEXT_SIZE = 64 };

const char *text_time(int64_t ms, char text[TEXT_SIZE]);  // local, "2026-03-01 12:00:00"; 0: "-"
const char *text_bytes(uint64_t n, char text[TEXT_SIZE]); // "12.3 MB"

// The first `most` (at most 60) characters of a text, ".." behind them if there are more.
enum { CUT_SIZE = 60 * 4 + 3 };
const char *text_cut(const char *text, int most, char out[CUT_SIZE]);

// A text that came from elsewhere. On a terminal control characters and those that turn the direction of text or hide
// come out as '?', so that no run's name or log line can move the cursor, rename the window, type, or read as something
// else; in files and pipes it stays as it is.
void text_print(FILE *stream, const char *text);
void text_print_lines(FILE *stream, const char *text); // of several lines: newlines stay

// To stderr, with a newline behind: a message with texts from elsewhere in it, safe likewise. Its own newlines stay.
void text_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// "90s", "15m", "2h", "3d", "1w" before `now_ms`, or a local "2026-03-01" or "2026-03-01T12:00[:00]"; milliseconds.
int text_parse_time(const char *text, int64_t now_ms, int64_t *ms, struct error *e);

// The same for a time to come: "12h", "30d" from now on.
int text_parse_until(const char *text, int64_t now_ms, int64_t *ms, struct error *e);

// A table with aligned columns. Zero-initialise; table_print() or table_free() ends it.
enum { TABLE_COLUMNS = 16 };
struct table {
    int columns;
    bool right[TABLE_COLUMNS]; // numbers
    struct strbuf text;        // of all cells, each with a NUL behind it
    size_t *cells;             // [rows, columns] where each begins
    size_t count, capacity;
};
struct table_column {
    const char *title;
    bool right;
};
void table_column(struct table *t, const char *title, bool right); // before the first cell
void table_columns(struct table *t, const struct table_column *columns, size_t count);
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_number(struct table *t, uint64_t number);
void table_text(struct table *t, const char *text);
void table_print(struct table *t, FILE *stream);
void table_free(struct table *t); // ends it unprinted

#endif
