// A prepared set of random clips for tests: signs x participants x clips of each, some of 1, 19, 20 and 25 frames, some
// left-handed, with missing hands and single missing values.
#ifndef ISLR_TESTS_TRAIN_SMALL_SET_H
#define ISLR_TESTS_TRAIN_SMALL_SET_H

#include "core/data/set.h"

enum {
    SMALL_SIGNS = 4,        // 0..2 by all participants, 3 by the first alone
    SMALL_PARTICIPANTS = 5, // 100..104
    SMALL_CLIPS = 2,        // of each sign by each participant
    SMALL_MAX_LEN = 25
};

// Fails the test if the set cannot be written. `clips` of each sign by each participant; participant 100 + p is in fold
// p % folds, 0: there are none.
void small_set_write(const char *path, int clips, int folds);

// Fails the test if the set cannot be written. set_close() it; its file is gone already.
struct set *small_set_make(void);
// The same with `clips` of each sign by each participant.
struct set *small_set_make_of(int clips);

#endif
