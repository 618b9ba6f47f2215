// Following a run: its records, pushed as they are committed. A follower is fed from the database, a piece at a time
// and only while its connection takes it, so a slow one costs no memory and misses nothing.
#ifndef ISLR_DAEMON_SERVE_FOLLOW_H
#define ISLR_DAEMON_SERVE_FOLLOW_H

#include <stdint.h>

#include "proto/control.pb-c.h"

struct server;
struct session;
struct follower;

enum { FOLLOW_BUCKETS = 256 };

struct follows {
    struct follower *by_run[FOLLOW_BUCKETS]; // chained
};

void follow_wake(struct server *s, uint64_t run); // the run has new records
void follow_progress(struct server *s, uint64_t run, const Islr__Progress *p);
void follow_drained(struct session *session);                    // its connection takes data again
void follow_forget(struct session *session);                     // its connection is gone
int follow_wants_progress(const struct server *s, uint64_t run); // somebody does
void follow_tick(struct server *s);                              // progress that was held back

#endif
