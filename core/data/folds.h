// Folds for cross-validation: grouped by participant, stratified on sign.
#ifndef ISLR_DATA_FOLDS_H
#define ISLR_DATA_FOLDS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/data/recordings.h"

enum { FOLDS_MAX = 1000 };

// Gives each clip a fold 0..k-1 so that no participant is in two folds and every fold has about the same share of each
// sign: scikit-learn's StratifiedGroupKFold(k, shuffle=True). Participants are placed one after the other, those whose
// counts vary most between signs first, each into the fold that leaves the shares of the signs most even (of equally
// even ones: the smallest). The seed shuffles participants whose counts vary equally, and numbers the folds.
// k < 2: all get -1. Fails if there are fewer than k participants.
int folds_compute(const struct recording *clips, size_t count, int sign_count, int k, uint64_t seed, int *folds,
                  struct error *e);

// Reads them from a CSV with the columns participant_id, sequence_id, fold. *k is the number of folds wanted, or below
// 2 for as many as the file names, and is set to it. The file may name other clips too; it is an error if it names a
// clip twice, lacks one, or leaves a fold empty. *hash is that of its bytes.
int folds_read(const struct recording *clips, size_t count, const char *path, int *k, int *folds, struct hash *hash,
               struct error *e);

#endif
