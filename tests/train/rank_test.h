// A test that every rank of a world runs.
#ifndef ISLR_TESTS_TRAIN_RANK_TEST_H
#define ISLR_TESTS_TRAIN_RANK_TEST_H

#include "core/comm/comm.h"

// One that fails says why and ends the world: the others would wait for it.
void rank_test(struct comm *world, void (*test)(void **state), void *state);

#endif
