// The live screen of all runs that have not ended: `watch` without a run.
#ifndef ISLR_CLIENT_SCREEN_H
#define ISLR_CLIENT_SCREEN_H

#include "client/server.h"

// On a terminal until it is interrupted; elsewhere the screen once. Returns the exit code.
int screen_run(const struct server *s);

#endif
