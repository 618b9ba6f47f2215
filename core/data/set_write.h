// Writing prepared sets. Only prepare*.c and tests do.
#ifndef ISLR_DATA_SET_WRITE_H
#define ISLR_DATA_SET_WRITE_H

#include <stdbool.h>

#include "core/data/set.h"

// What is true of the whole set. `signs` and its strings must outlive the writer.
struct set_description {
    int max_len, sign_count, fold_count;
    uint64_t fold_seed;
    bool folds_given;
    char *const *signs;
    struct hash source_key;
    uint64_t first_row; // of train.csv
};

struct set_writer;

// Writes to a temporary file beside `path` (file_writer, core/base/file.h).
struct set_writer *set_writer_open(const char *path, const struct set_description *d, struct error *e);

// The next clip: what `c` says but first_frame, left_handed and set, which are ignored. c->hash is taken as it is.
int set_writer_add(struct set_writer *w, const struct set_clip *c, struct error *e);
void set_writer_skip(struct set_writer *w, const char *path, const char *reason);

// All clips and skipped ones of another set with the same description.
int set_writer_append(struct set_writer *w, const struct set *part, struct error *e);

// Writes index and header, syncs, and gives the file its name. Frees w, also on failure, which leaves no file.
int set_writer_commit(struct set_writer *w, struct error *e);
void set_writer_abandon(struct set_writer *w); // NULL is fine

// As set_open(), for a part: may be without clips.
struct set *set_open_part(const char *path, struct error *e);
uint64_t set_first_row(const struct set *s);
uint64_t set_row_count(const struct set *s);

#endif
