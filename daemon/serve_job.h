// Work off the loop, in libuv's pool. Its threads are everybody's, so a connection has at most a few of them at a time:
// what it asks for beyond waits in a line of its own, and nobody else waits behind it.
#ifndef ISLR_DAEMON_SERVE_JOB_H
#define ISLR_DAEMON_SERVE_JOB_H

#include <uv.h>

struct server;
struct session;

// Embed it at the front of what the work needs.
struct server_job {
    uv_work_t work;
    struct server *server;
    struct session *session; // for which it is; whoever starts the job holds it. NULL: the server's own
    struct server_job *next; // in the session's line
    int abandoned;           // its connection is gone: `run` may leave the rest
    void (*run)(struct server_job *job);
    // On the loop. 0: it is over (the job may be gone); 1: it keeps its place, and server_job_continue() goes on.
    int (*done)(struct server_job *job);
};

// Of one session.
struct server_jobs {
    unsigned count; // at work, or keeping their places
    struct server_job *first, *last;
};

// The server does not stop before it is over.
void server_job_start(struct server_job *job);
void server_job_continue(struct server_job *job);

#endif
