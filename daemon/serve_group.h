// Groups of runs: their state is the database's, which makes it from their members' with every change; here is told to
// followers and to those who wait what has become of it.
#ifndef ISLR_DAEMON_SERVE_GROUP_H
#define ISLR_DAEMON_SERVE_GROUP_H

#include <stdint.h>

struct server;
struct group_look;

// A member has changed: looks the group up and hands it to run_update(). One look at a time for each group.
void group_changed(struct server *s, uint64_t group);

#endif
