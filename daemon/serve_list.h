// Lists of runs on their way to readers that are slower than the database: they wait until their connection takes data
// again. One that waits for long lets go of the state of the database that it reads.
#ifndef ISLR_DAEMON_SERVE_LIST_H
#define ISLR_DAEMON_SERVE_LIST_H

struct server;
struct session;
struct listing;

struct listings {
    struct listing *paused;
};

void list_drained(struct session *session); // its connection takes data again, or is gone
void list_tick(struct server *s);
void list_stop(struct server *s); // those that wait end with a Fault

#endif
