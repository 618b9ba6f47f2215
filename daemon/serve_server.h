// The server's inside: what its files share. Everything runs on the loop's thread but the reads of serve_read.h and the
// file work of serve_upload.c, which run in libuv's pool.
//
// The database is the truth. Memory (runs, workers, followers) is what the server knows of runs that have not ended and
// of ranks that are there; it changes only when a request to the store has been committed, in the order of the commits.
// Whatever must happen whoever asks (an attempt's end, a worker's records) is tried again until the database takes it
// (serve_retry.c); a client's wish that cannot be written is answered with the reason.
#ifndef ISLR_DAEMON_SERVE_SERVER_H
#define ISLR_DAEMON_SERVE_SERVER_H

#include <uv.h>

#include "core/base/log.h"
#include "core/base/lock.h"
#include "core/rpc/listen.h"
#include "core/store/artifact.h"
#include "core/store/store.h"
#include "daemon/serve.h"
#include "daemon/serve_expand.h"
#include "daemon/serve_follow.h"
#include "daemon/serve_retry.h"
#include "daemon/serve_run.h"
#include "daemon/serve_schedule.h"
#include "daemon/serve_session.h"
#include "daemon/serve_token.h"
#include "daemon/serve_upload.h"
#include "daemon/serve_user.h"
#include "daemon/serve_wait.h"
#include "daemon/serve_watch.h"
#include "daemon/serve_worker.h"

enum { SERVER_TICK_MS = 500 }; // leases, limits and progress are looked at this often

struct server {
    uv_loop_t *loop;
    const struct log *log;
    char *directory, *socket;
    char id[33]; // made at the first start
    int64_t started_ms;
    uint32_t lease_ms, hang_ms, settle_ms; // of serve.h
    struct file_lock lock;
    struct store *store;
    struct artifact_store artifacts;
    struct listener *listener, *network; // network: NULL unless asked for
    char *tls_file;
    struct tokens tokens;
    uv_async_t committed; // the store's writer thread has something to deliver
    uv_timer_t tick, stopper;
    unsigned ticks;
    uint64_t ticked;        // when: loop time
    int64_t clock_ahead_ms; // of the loop's time

    struct sessions sessions;
    struct runs runs;
    struct expansions expansions;
    struct group_look *groups; // groups that are being looked up
    struct users users;
    struct workers workers;
    struct schedule schedule;
    struct follows follows;
    struct pieces *paused; // lists that wait for their readers (serve_pieces.h)
    struct waits waits;
    struct watches watches;
    struct uploads uploads;
    struct retries retries;
    uint64_t refused_reports; // since the start: of ranks on runs that are not theirs (session_refuse())

    int quiet; // nothing new is started: this server's last moments
    void (*on_quiet)(void *context);
    void *quiet_context;
    unsigned pending;              // reads and store requests under way
    int collecting;                // of unneeded artifacts: under way
    int stopping, hung_up, closed; // the steps of the end
    void (*on_stopped)(void *context);
    void *stopped_context;
    unsigned handles; // of the server's own that are still to be closed
};

// Every request to the store from the server goes this way: counted, so that stopping can wait for it. The op's `done`
// begins with server_settled().
void server_queue(struct server *s, struct store_op *op);
void server_settled(struct server *s);
void server_check_stopped(struct server *s); // goes on with stopping, when nothing is pending any more

int64_t server_now_ms(void); // wall clock, for records

#endif
