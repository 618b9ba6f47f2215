// A team of threads for tests of preparation in a team: stands in for MPI ranks.
#ifndef ISLR_TESTS_DATA_TEAM_H
#define ISLR_TESTS_DATA_TEAM_H

#include "core/data/prepare.h"

enum { TEAM_MAX = 32 };

// Calls work(context, team) in `size` threads at once, each with its own member of one team; member i's return value
// and error go to results[i] and errors[i].
void team_run(int size, int (*work)(void *context, const struct prepare_team *team, struct error *e), void *context,
              int *results, struct error *errors);

#endif
