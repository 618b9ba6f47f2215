// Conditions on runs, as users write them after `list --where`:
//
//     accuracy/soup>0.7 and steps>=100
//     (state=failed or state=cancelled) and not user=ann and name~"l25-*"
//
// A comparison is NAME OPERATOR VALUE. NAME is a field of a run (where_fields) or a metric, which means its newest
// value; a run without that metric does not match. OPERATOR is one of = != < <= > >= and, for texts, ~ (matches a
// glob). `not` binds closest, then `and`, then `or`. Texts with blanks or operators in them go in double quotes.
#ifndef ISLR_STORE_WHERE_H
#define ISLR_STORE_WHERE_H

#include <stddef.h>

#include "core/base/error.h"

enum { WHERE_LENGTH_MAX = 4096, WHERE_NODES_MAX = 256, WHERE_DEPTH_MAX = 50 };

enum where_type { WHERE_NUMBER, WHERE_TEXT, WHERE_STATE };

struct where_field {
    const char *name;
    const char *column; // of the table runs
    enum where_type type;
};
extern const struct where_field where_fields[]; // ends with a NULL name
const struct where_field *where_field_find(const char *name);

enum where_kind { WHERE_AND, WHERE_OR, WHERE_NOT, WHERE_COMPARE };
enum where_operator { WHERE_EQ, WHERE_NE, WHERE_LT, WHERE_LE, WHERE_GT, WHERE_GE, WHERE_LIKE };

struct where_node {
    enum where_kind kind;
    int left, right; // nodes; right only of AND and OR
    // of a comparison
    const struct where_field *field; // NULL: a metric
    char *name;                      // of the metric
    enum where_operator op;
    double number; // WHERE_NUMBER and metrics; WHERE_STATE: the state
    char *text;    // WHERE_TEXT
};

struct where {
    struct where_node *nodes;
    int count;
    int root;
};

// ERR_INVALID says at which character what was expected, and the nearest known name for one that is no field and has
// not the look of a metric ("/" or known to is_metric; NULL: none are known).
int where_parse(const char *text, int (*is_metric)(void *context, const char *name), void *context, struct where *out,
                struct error *e);
void where_free(struct where *w);

const char *where_operator_sql(enum where_operator op); // "=", "<>", ..

#endif
