// Where each field of a job got its value, so that a fault found later can still point at the line.
#ifndef ISLR_SPEC_ORIGIN_H
#define ISLR_SPEC_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

enum origin_kind {
    ORIGIN_VALUE,
    ORIGIN_BAD,    // a fault has been reported here: rules say nothing more about the field
    ORIGIN_SECTION // a map began here: the place of fields that are missing in it
};

struct origin {
    char *field;        // "train.batch", "model.widths[1]", or of a whole message: "augment"
    const char *source; // outlives the struct
    int line, column;
    enum origin_kind kind;
};

// Zero-initialise; origins_free() at the end.
struct origins {
    struct origin *items;
    size_t count, capacity;
};

void origins_add(struct origins *o, const char *field, const char *source, int line, int column, enum origin_kind kind);

// Of the entries of `field` and of the messages and lists that it is in, the last one that is no section, else the
// innermost section; NULL: nobody set it.
const struct origin *origins_find(const struct origins *o, const char *field);

// Whether the value of `field`, or of something in it, is one that a fault has been reported for.
bool origins_bad(const struct origins *o, const char *field);

void origins_free(struct origins *o);

#endif
