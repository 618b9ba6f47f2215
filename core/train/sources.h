// Clips to predict from wherever they are: parquet files, data directories, prepared sets, in the order given.
#ifndef ISLR_TRAIN_SOURCES_H
#define ISLR_TRAIN_SOURCES_H

#include "core/data/parquet.h"
#include "core/data/set.h"

struct source {
    char *name;            // what people call it: the file's path
    const struct set *set; // of a prepared set, else NULL
    size_t index;          // in the set
};

struct sources {
    struct source *items;
    size_t count, capacity;
    struct set **sets; // owned
    size_t set_count;
};

// Adds what `path` is: a directory in the competition's layout (train.csv's order), a prepared set, or a parquet file.
int sources_add(struct sources *s, const char *path, struct error *e);
// One clip of an open set, which stays the caller's.
void sources_add_clip(struct sources *s, const struct set *set, size_t index);
void sources_free(struct sources *s);

// Prepares clip i for each of `count` frame limits: out[k] [max_len[k], 100, 3], zero behind the returned frames[k].
// The reader is one thread's. A clip of a prepared set fits only models of the set's own max_len.
int sources_load(const struct sources *s, size_t i, struct parquet_reader *reader, int count, const int *max_len,
                 float *const *out, int32_t *frames, struct error *e);

#endif
