// Recordings to prepare, few of them, and the sets that are made of them.
#ifndef ISLR_TESTS_DATA_SMALL_DATA_H
#define ISLR_TESTS_DATA_SMALL_DATA_H

#include "core/data/prepare.h"
#include "core/data/set.h"

enum { DATA_CLIPS = 40 };
extern const struct prepare_options data_usual; // three folds, on two threads

char *data_make(void **state, const char *name);                           // a layout in scratch_path(name)
void data_break_clip(const char *directory, size_t row, const char *text); // is its recording from then on
void data_prepare(const char *directory, const char *out, const struct prepare_options *o); // or fails the test
struct set *data_open_set(const char *path);                     // and verifies it, or fails the test
int data_count_files(const char *directory, const char *prefix); // whose names begin so

#endif
