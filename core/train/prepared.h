// The prepared set of a job, made by all ranks together if it is not there yet.
#ifndef ISLR_TRAIN_PREPARED_H
#define ISLR_TRAIN_PREPARED_H

#include "core/data/prepare.h"
#include "core/train/train.h"

// *path is malloc'ed. Collective; all ranks must see the same file system. Rank 0's sink is told which clips are left out
// and why, whichever rank found them and whether now or when the set was made.
int prepared_set(const struct train_options *o, char **path, struct error *e);

// Into the file `out`, which is made anew.
int prepared_set_at(const struct train_options *o, const char *out, struct error *e);

// A watch over a preparation that only gives signs of life; NULL: to nobody.
struct prepare_watch prepared_pulse_watch(struct pulse *pulse);

#endif
