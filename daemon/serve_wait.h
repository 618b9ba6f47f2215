// Waiting for runs to end: the end is pushed the moment it is durable.
#ifndef ISLR_DAEMON_SERVE_WAIT_H
#define ISLR_DAEMON_SERVE_WAIT_H

struct run_now;
struct server;
struct session;
struct waiter;

struct waits {
    struct waiter *first;
};

void wait_wake(struct server *s, const struct run_now *ended);
void wait_drained(struct session *session); // its connection takes data again
void wait_forget(struct session *session);  // its connection is gone

#endif
