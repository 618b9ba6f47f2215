// The server's durable state: one SQLite database in WAL mode, written by one thread, read through connections of the
// readers' own.
//
// Writes are requests: a struct that embeds a struct store_op, filled by its caller, given its meaning by one of the
// *_prepare() functions of run.h, record.h, checkpoint.h, .. and handed over by store_queue(). The writer thread takes
// all that is queued, applies it in order in one transaction and commits (group commit: as many requests as arrived
// while the last commit was under way share the next fsync). After the commit `done` is called for each, in the order
// of queueing, from store_deliver(), which the owner calls on its thread when `notify` told it to. So:
//   * when `done` is called without an error the change is durable (synchronous=FULL);
//   * a request that fails changes nothing, and leaves the others of its transaction as they are;
//   * requests take effect in the order in which they were queued, and what a reader sees after `done` contains them.
// The request, and all that it points to, is its owner's and must stay until `done`.
#ifndef ISLR_STORE_STORE_H
#define ISLR_STORE_STORE_H

#include <stdint.h>

#include "core/base/error.h"
#include "core/base/log.h"

struct db;
struct store;
struct store_op;

struct store_options {
    const char *directory;         // of the server; made if missing. The database is DIRECTORY/islr.db
    void (*notify)(void *context); // on the writer thread: have store_deliver() called; NULL: only store_call() is used
    void *context;
    const struct log *log; // may be NULL
};

// Opens or makes the database and brings it to the newest version. The caller holds a lock on the directory: there must
// be no second store on it.
struct store *store_open(const struct store_options *options, struct error *e);

// Commits what is queued, delivers it, ends the writer. NULL is fine. All readers must have been given back.
void store_close(struct store *s);

enum store_status {
    STORE_DONE,
    STORE_REFUSED, // the request itself is wrong: no such run, not in that state, ..; it would be refused again
    STORE_TROUBLE  // the database could not be written: full or read-only disk, damage; later it may be done
};
// After the writer has met a damaged page every request is STORE_TROUBLE with ERR_DAMAGED until the store is opened
// anew: to write on would spread the damage. Reading goes on as far as the pages allow.

struct store_op {
    void (*done)(struct store_op *op); // NULL in a store_call()
    enum store_status status;
    struct error error; // unless STORE_DONE
    // private
    int (*apply)(struct db *db, struct store_op *op, struct error *e);
    struct store_op *next;
    int waited_for;
};

void store_queue(struct store *s, struct store_op *op); // from any thread
void store_deliver(struct store *s);                    // calls `done` of all requests committed since

// Queues and blocks until it is committed. 0, or -1 with op->error set. For start-up and tests: not on a loop's thread.
int store_call(struct store *s, struct store_op *op);

// Why the last transaction could not be written; *e untouched and 0 when it could.
int store_trouble(struct store *s, struct error *e);

// A reading connection for one thread at a time; taken from a pool and given back. What it reads in one function of
// read.h is one consistent state.
struct store_reader;
struct store_reader *store_reader_take(struct store *s, struct error *e);
void store_reader_give(struct store *s, struct store_reader *r); // NULL is fine
struct db *store_reader_db(struct store_reader *r);              // private to core/store

#endif
