// Reading from the database off the loop: in libuv's pool, with a reader of its own each.
#ifndef ISLR_DAEMON_SERVE_READ_H
#define ISLR_DAEMON_SERVE_READ_H

#include <uv.h>

#include "core/store/pool.h"
#include "daemon/serve_server.h"

// Embed it at the front of what the read needs and finds out.
struct read_job {
    uv_work_t work;
    struct expand_waiter waiting; // for groups to be whole
    struct server *server;
    struct session *session; // held; NULL: nobody to answer to
    uint64_t id;             // to answer under
    Islr__Envelope *request; // kept; NULL: none
    struct pool pool;        // for results; freed after each `done`
    int failed;
    struct error error;
    int again;                   // set by `read`: it goes on after `done`, with the same reader; `done` may clear it
    struct store_reader *reader; // private
    // In the pool; fills `error` and returns -1 when it fails.
    int (*read)(struct read_job *job, struct store_reader *reader, struct error *e);
    // On the loop. A failed job that has a session is answered with its Fault before.
    void (*done)(struct read_job *job);
};

// Allocates a job of `size` bytes for a request that came in; takes the message over. Fill in the rest, then start.
void *read_job_new(struct session *session, struct peer *keep_from, size_t size);
void *read_job_new_for_server(struct server *s, size_t size);
void read_job_start(struct read_job *job);

#endif
