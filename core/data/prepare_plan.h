// What a preparation is going to do, the same on all members of a team; and its parts. For prepare*.c only.
#ifndef ISLR_DATA_PREPARE_PLAN_H
#define ISLR_DATA_PREPARE_PLAN_H

#include "core/data/recordings.h"
#include "core/data/prepare.h"
#include "core/data/set_write.h"

struct prepare_plan {
    struct prepare_options o; // o.k and o.fold_seed as they are stored: 0 where there are none
    struct recordings *recordings;
    int *folds; // [recordings->count]

    // SHA-256 of all that decides what comes out, cheaply: the bytes of train.csv, sign map and fold file, the options,
    // and size and modification time of every recording, whose contents are not read.
    struct hash key;
};

struct prepare_plan *prepare_plan_open(const char *directory, const struct prepare_options *o, struct error *e);
void prepare_plan_close(struct prepare_plan *p); // NULL is fine

// The rows of train.csv that part `part` of `parts` covers: stretches of about the same number of bytes.
void prepare_plan_part(const struct prepare_plan *p, int part, int parts, size_t *first, size_t *count);

struct set_description prepare_plan_describe(const struct prepare_plan *p, size_t first_row);

// Prepares one part into the set file `out` (which need not hold clips if parts > 1).
int prepare_part(const struct prepare_plan *p, int part, int parts, const char *out, struct error *e);

// Puts the parts in the files `paths` together.
int prepare_merge(const struct prepare_plan *p, int parts, char *const *paths, const char *out, struct error *e);

#endif
