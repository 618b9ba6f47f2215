// The known name that a mistyped one probably meant.
#ifndef ISLR_BASE_NEAREST_H
#define ISLR_BASE_NEAREST_H

#include <stddef.h>

// Number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
// alignment), ASCII case ignored. Only the first 63 characters of each count.
int nearest_distance(const char *a, const char *b);

// The nearest of `count` names (NULL entries are skipped), the first one on a tie; NULL when none is near: a name may
// differ by about a third of its length, or go on where `given` stops ("dropout" for "dropout_mlp").
const char *nearest_name(const char *given, const char *const *names, size_t count);

#endif
