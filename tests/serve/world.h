// Whole worlds of scripted ranks, and following a run to its end.
#ifndef ISLR_TESTS_SERVE_WORLD_H
#define ISLR_TESTS_SERVE_WORLD_H

#include "tests/serve/rig.h"

void world_open(struct actor *ranks, struct rig *rig, uint32_t size, const char *name);
void world_close(struct actor *ranks, uint32_t size);
// Takes the Assign on all ranks; the attempt's number.
uint32_t world_take(struct actor *ranks, uint32_t size, uint64_t run);
void rank_expect_stop(struct actor *rank, uint64_t run, Islr__Stop__Why why, int save);
uint64_t client_follow(struct actor *a, uint64_t run, uint64_t after);
// Reads what is followed to its end; checks that no record is missing or doubled. Returns the last seq.
uint64_t client_follow_to_end(struct actor *a, uint64_t after, Islr__RunState wanted);

#endif
