// CSV as RFC 4180 has it: quoted fields may hold commas, doubled quotes and line ends; lines end in LF or CRLF; a byte
// order mark and blank lines are passed over.
#ifndef ISLR_DATA_CSV_H
#define ISLR_DATA_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"

enum { CSV_MAX_FIELDS = 64 };

struct csv {
    char *data;       // the file; fields are unquoted in place
    struct hash hash; // of the file's bytes
    char *next;       // where the next record starts
    int line;         // of the file, counted from 1, on which the current record starts
    int next_line;    // on which the next one starts
    const char *name; // for errors
    int count;        // fields of the current record
    char *field[CSV_MAX_FIELDS];
};

// Reads the whole file (at most 1 GiB) and its first record, the header. `name` stands for the file in errors.
int csv_open(struct csv *c, const char *path, const char *name, struct error *e);
void csv_close(struct csv *c);

// Finds the columns of these names in the header; an error names those that are missing. Columns may stand in any order
// among others.
int csv_columns(const struct csv *c, int count, const char *const *names, int *at, struct error *e);

// The next record: 1 if there is one, 0 at the end, -1 if it is malformed (the error names the line) or has another
// number of fields than the header.
int csv_next(struct csv *c, struct error *e);

// A field as an integer; -1 unless all of it is one that fits.
int csv_integer(const char *field, int64_t *value);

#endif
