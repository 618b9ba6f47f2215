// What a server finds when it starts.
#ifndef ISLR_DAEMON_SERVE_RECOVER_H
#define ISLR_DAEMON_SERVE_RECOVER_H

#include "core/base/error.h"

struct server;

// Reads the server's facts and the runs that have not ended into memory. Attempts that were under way keep their gangs:
// their ranks have the lease to come back (serve_gang.c), and if the first one does not come back with the others the
// attempt is lost and the run queued again.
int recover(struct server *s, struct error *e);

#endif
