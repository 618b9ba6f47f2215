// The sign map, sign_to_prediction_index_map.json: {"sign": class index}, classes 0..n-1 each once.
#ifndef ISLR_DATA_SIGNS_H
#define ISLR_DATA_SIGNS_H

#include "core/base/error.h"
#include "core/base/hash.h"

#define SIGNS_FILE "sign_to_prediction_index_map.json"

enum { SIGNS_MAX = 65536 };

// Names by class index. Fails on anything but an object that maps each of its 1..SIGNS_MAX names to another one of
// 0..n-1. *hash (NULL: not wanted) is that of the file's bytes.
int signs_read(const char *path, int *count, char ***names, struct hash *hash, struct error *e);
void signs_free(int count, char **names);

// Finds class indices by name. Refers to `names`.
struct sign_index;
struct sign_index *sign_index_create(int count, char *const *names);
int sign_index_find(const struct sign_index *index, const char *name); // -1: not known
void sign_index_free(struct sign_index *index);

#endif
