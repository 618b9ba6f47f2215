// Collecting artifacts that nothing refers to: at start, when a run has ended, when a resume point was replaced.
#ifndef ISLR_DAEMON_SERVE_COLLECT_H
#define ISLR_DAEMON_SERVE_COLLECT_H

#include "core/base/error.h"

struct server;

void collect_soon(struct server *s);

// At start, before anybody uploads: files without a row, left behind by a crash. -1: the directory cannot be read.
int collect_sweep(struct server *s, struct error *e);

#endif
