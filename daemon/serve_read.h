// Reading from the database off the loop: in libuv's pool, with a reader of its own each.
#ifndef ISLR_DAEMON_SERVE_READ_H
#define ISLR_DAEMON_SERVE_READ_H

#include "core/store/pool.h"
#include "daemon/serve_job.h"
#include "daemon/serve_server.h"

// Embed it at the front of what the read needs and finds out.
struct read_job {
    struct server_job base;       // its session is held
    struct expand_waiter waiting; // for groups to be whole
    uint64_t id;                  // to answer under
    Islr__Envelope *request;      // kept; NULL: none
    struct pool pool;             // for results; freed after each `done`
    int failed;
    struct error error;
    int again;                   // set by `read`: it goes on after `done`, with the same reader; `done` may clear it ..
    int paused;                  // .. or set this: it goes on at read_job_continue()
    struct store_reader *reader; // private
    // In the pool; fills `error` and returns -1 when it fails. NULL: there is nothing to read.
    int (*read)(struct read_job *job, struct store_reader *reader, struct error *e);
    // On the loop. A failed request is answered with its Fault before.
    void (*done)(struct read_job *job);
};

// Allocates a job of `size` bytes for the request that is being handled; keeps its message. Fill in the rest, then
// start.
void *read_job_new(struct session *session, size_t size);
// For something else that a session wants to know, which answers for itself; and for the server.
void *read_job_new_for(struct session *session, size_t size);
void *read_job_new_for_server(struct server *s, size_t size);
void read_job_start(struct read_job *job);
// The same once the groups are whole that these runs belong to; or all groups, if that does not take long.
void read_job_start_on(struct read_job *job, const uint64_t *runs, size_t count);
void read_job_start_on_all(struct read_job *job);
void read_job_continue(struct read_job *job);
void read_job_give_back(struct read_job *job); // in `read`: goes on with another reader

#endif
