// What the first rank of a gang has to say to the server, delivered in order and exactly once, however often the
// connection or the server goes away meanwhile: records (from the spool), files (uploaded, then named as checkpoints),
// how it ended. Training never waits for any of it.
//
// A checkpoint is named only when every record before it is durable at the server, and the end is told when everything
// else is there: what a run goes on from never refers to figures that are missing.
#ifndef ISLR_DAEMON_WORK_DELIVERY_H
#define ISLR_DAEMON_WORK_DELIVERY_H

#include "core/base/hash.h"
#include "core/base/lock.h"
#include "core/train/sink.h"
#include "daemon/work_net.h"
#include "daemon/work_spool.h"

// ---- the main thread's ----------------------------------------------------------------------------------------------

// A file that came about, kept under a second name so that the run may replace or remove its own.
struct work_file {
    struct work_mail mail;
    struct work_file *next;
    char *what, *path, *kept; // path: as the run calls it; kept: the hard link, removed at the end
    uint32_t epoch;
    uint64_t step;
    char **members; // paths of a soup's ingredients
    int member_count;
    Islr__Value *metrics;
    int metric_count;
    uint64_t after_seq; // records before it
    int64_t time_ms;
    // found on the way
    int hashed;
    struct hash sha256;
    uint64_t size;
    struct hash *member_hashes;
};

enum work_outcome { WORK_SUCCEEDED, WORK_FAILED, WORK_STOPPED };

// Begins; waits until an abandoned attempt before it is cleared away.
void work_delivery_begin(struct work_net *n, uint64_t run, uint32_t attempt);
// Its records. The spool stays the main thread's to add to, until work_delivery_finish().
void work_delivery_spool(struct work_net *n, struct spool *spool);
void work_delivery_records(struct work_net *n); // there are more in the spool
void work_delivery_file(struct work_net *n, struct work_file *f);
// A file that the server has already (restored from it): a soup's member perhaps.
void work_delivery_known(struct work_net *n, const char *path, const struct hash *sha256);

// The last word: how it ended; one whose files the server would not take has failed. When the server has everything (or wants none of it) the spool is destroyed, the run's
// directory removed if it succeeded, and the lock on it released: they are the network thread's from here on.
struct work_end {
    enum work_outcome outcome;
    char *reason; // copied
    int retryable;
    char *directory; // malloc'ed; NULL: none was made
    struct file_lock lock;
};
void work_delivery_finish(struct work_net *n, const struct work_end *end);

// Waits until nothing is left to deliver; -1 after so many seconds, or when the server is away.
int work_delivery_wait(struct work_net *n, double seconds);

// ---- the network thread's -------------------------------------------------------------------------------------------

void work_delivery_up(struct work_net *n, uint64_t acked_seq); // registered again
void work_delivery_acked(struct work_net *n, const Islr__RecordsAck *ack);
void work_delivery_abandon(struct work_net *n, uint64_t run, uint32_t attempt); // the server wants no more of it
void work_delivery_close(struct work_net *n);                                   // the thread ends

#endif
