// What is wrong with a job: every fault at once, each with where, which field, what was given, what is allowed and, for
// an unknown name, the nearest known one.
#ifndef ISLR_SPEC_FAULT_H
#define ISLR_SPEC_FAULT_H

#include <stddef.h>
#include <stdio.h>

#include "core/base/error.h"

struct fault {
    char *source;  // file, or "argument 'train.lr=x'", "preset tiny", "job" (came over the wire)
    int line;      // from 1; 0: none
    int column;    // from 1; 0: none
    char *field;   // "train.batch", "model.widths[2]"; "" where the whole source is meant
    char *problem; // "'many' is not a whole number", "there is no such field"
    char *allowed; // "a whole number from 1 to 65536"; "" where the problem says it all
    char *nearest; // the nearest known name, or NULL
};

enum { FAULTS_MAX = 100 }; // what goes beyond is only counted

// Zero-initialise; faults_free() at the end.
struct faults {
    struct fault *items;
    size_t count;   // of items
    size_t dropped; // faults beyond FAULTS_MAX
};

// Adds one fault; the texts are copied. allowed and nearest may be NULL; `source` and `field` too ("").
void faults_add(struct faults *f, const char *source, int line, int column, const char *field, const char *allowed,
                const char *nearest, const char *problem, ...) __attribute__((format(printf, 8, 9)));

// By source in the order of `sources` (others behind them), then by line and column; those without a line last.
void faults_sort(struct faults *f, const char *const *sources, size_t source_count);

// "job.yaml:3: train.bacth: there is no such field; allowed: epochs, steps, batch, ..; nearest: batch", one line each.
void faults_print(const struct faults *f, FILE *stream);
char *faults_text(const struct faults *f); // the same as a text to free()
char *
faults_json(const struct faults *f); // [{"source", "line", "column", "field", "problem", "allowed", "nearest"}, ..]

// Fills `e` with ERR_INVALID and all faults, as many as fit. Always returns -1.
int faults_to_error(const struct faults *f, struct error *e);

void faults_free(struct faults *f);

#endif
