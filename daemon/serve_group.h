// Groups of runs: their state is the database's, which makes it from their members' with every change; here is told to
// followers and to those who wait what has become of it.
#ifndef ISLR_DAEMON_SERVE_GROUP_H
#define ISLR_DAEMON_SERVE_GROUP_H

#include <stdint.h>

struct server;
struct group_look;
struct run;

// A member has changed: looks the group up and hands it to run_update(). One look at a time for each group.
void group_changed(struct server *s, uint64_t group);
// A member is at another step: the group's followers are told how far all are, at most once a second for each member.
void group_progressed(struct server *s, struct run *member);

#endif
