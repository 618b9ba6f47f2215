// A rank's network thread: its connection to the server, kept up with back-off, and what goes over it. The main thread
// trains and calls MPI; the two meet only in the functions below and in work_mail.
#ifndef ISLR_DAEMON_WORK_NET_H
#define ISLR_DAEMON_WORK_NET_H

#include <stdatomic.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/pulse.h"
#include "core/rpc/address.h"
#include "core/rpc/link.h"
#include "proto/control.pb-c.h"

struct work_net;
struct work_delivery;

// An assignment. Belongs to the main thread from work_net_next() to work_net_done().
struct work_task {
    uint64_t run;
    uint32_t attempt;
    Islr__JobSpec *job; // complete
    int *gang;          // world ranks
    int gang_count;
    int has_resume;
    struct hash resume_hash;
    uint64_t resume_size;
    uint64_t *folds; // runs that have trained the job's folds, whose predictions are to be joined
    size_t fold_count;
    char server_id[64];
    atomic_int stop; // should_stop(): set by the network thread
    int patience_ms; // with ranks that will not come any more; 0: none such is known
};
void work_task_free(struct work_task *t);

struct work_net_options {
    struct address address;
    const char *token;           // NULL: none
    const Islr__Register *facts; // who registers; without run and attempt
    const struct log *log;
    struct pulse *pulse; // the world's
    // SIGTERM, SIGINT and SIGUSR1 end the rank: what it is in the middle of is stopped and saved first. The network's thread
    // takes them; the others hold them back (core/base/signals.h).
    int catch_signals;
    // With the server away for so long, what it is in the middle of is stopped and saved; 0: never. The rank itself goes
    // on looking for the server.
    uint64_t alone_ms;
    // After so long what the server could not do (its disk is full) is asked again.
    unsigned retry_ms;
};

// Something for the network thread to do: deliver() is called there, and the mail is its from then on.
struct work_mail {
    struct work_mail *next;
    void (*deliver)(struct work_net *n, struct work_mail *m);
};

enum { WORK_SIGNALS = 3 };

struct work_net {
    struct work_net_options options;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t async;
    uv_signal_t signals[WORK_SIGNALS];
    uv_timer_t alone; // the time that is left to work without the server

    uv_mutex_t lock; // of all up to the blank line
    uv_cond_t changed;
    struct work_mail *first, **last;
    struct work_task *queued;  // not yet taken by the main thread
    struct work_task *current; // with the main thread
    int delivering;            // something is left to deliver
    int ended;                 // no more tasks: `why` says why (ERR_NONE: it was asked to end)
    struct error why;
    uint32_t hang_ms; // as the server said last
    int connected;    // registered

    // the network thread's
    struct link *link;
    char server_id[64];
    int registered;
    int closing;
    uint64_t claim_run; // what it is in the middle of, for Register; 0: nothing
    uint32_t claim_attempt;
    struct work_delivery *delivery; // of an attempt whose first rank this is, until the server has everything
};

// ---- the main thread's ----------------------------------------------------------------------------------------------

struct work_net *work_net_start(const struct work_net_options *options, struct error *e);
// Sleeps until there is an assignment. NULL: the rank is to end; *why says why.
struct work_task *work_net_next(struct work_net *n, struct error *why);
void work_net_done(struct work_net *n, struct work_task *t); // frees it; the rank is free for the next one
double work_net_hang_seconds(struct work_net *n);            // a rank that gets nowhere for so long is stuck; 0: never
void work_net_post(struct work_net *n, struct work_mail *m);
void work_net_stop(struct work_net *n); // hangs up, joins the thread, frees n

// ---- the network thread's -------------------------------------------------------------------------------------------

struct peer *work_net_peer(const struct work_net *n); // NULL unless registered
// No more tasks; what is under way is asked to stop and save. why NULL: as it should be.
void work_net_end(struct work_net *n, const struct error *why);

#endif
