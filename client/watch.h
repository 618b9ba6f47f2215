// Following a run on the screen to its end, for watch and submit --follow.
#ifndef ISLR_CLIENT_WATCH_H
#define ISLR_CLIENT_WATCH_H

#include "client/follower.h"

// Returns the exit code: the run's own, 130 after ctrl-c (the run goes on, and a line says so), or an error's, printed.
// quiet: nothing on stdout.
int watch_run(const struct server *s, uint64_t run, bool patient, bool quiet, struct follow_result *result);

// Prints the records of the run of that name with on_record, for logs and metrics. Returns the exit code: with o->keep
// the run's own, else 0; errors are printed.
int follow_printed(const char *address, const char *name, const struct follower_options *o,
                   int (*on_record)(void *context, uint64_t member, const Islr__Record *r), void *context);

#endif
