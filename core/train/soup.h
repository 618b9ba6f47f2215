// Averages of checkpoints (Wortsman et al. 2022, "Model soups"): parameters and BatchNorm's buffers, added up in double.
#ifndef ISLR_TRAIN_SOUP_H
#define ISLR_TRAIN_SOUP_H

#include <stddef.h>

#include "core/train/checkpoint.h"

// The mean of `count` >= 1 files of one architecture; `heads` as in checkpoint_read(). out->origin names no files.
int soup_uniform(struct checkpoint *out, const char *const *paths, size_t count, int heads, struct error *e);

// Greedy soup: files are tried in the given order (best first) and stay where score() of the mean with them is higher
// than without. kept [count] gets 1 for those that stayed. score() returns -1 on failure, else 0.
struct soup_judge {
    int (*score)(void *context, const struct checkpoint *c, double *score, struct error *e);
    void *context;
};
int soup_greedy(struct checkpoint *out, const char *const *paths, size_t count, int heads,
                const struct soup_judge *judge, int *kept, struct error *e);

#endif
