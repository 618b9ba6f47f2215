// The writer thread with its group commit, and the pool of readers: see store.h.
#include "core/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/store/db.h"
#include "core/store/schema.h"

enum { GROUP_MAX = 2000 }; // requests of one transaction: bounds how long the first of them waits

static const char SQL_BEGIN[] = "BEGIN IMMEDIATE";
static const char SQL_COMMIT[] = "COMMIT";
static const char SQL_ROLLBACK[] = "ROLLBACK";
static const char SQL_SAVEPOINT[] = "SAVEPOINT request";
static const char SQL_RELEASE[] = "RELEASE request";
static const char SQL_UNDO[] = "ROLLBACK TO request";

struct store_reader {
    struct db db;
    struct store_reader *next; // in the pool
};

struct op_list {
    struct store_op *first, *last;
};

struct store {
    struct store_options options;
    char *path;
    pthread_t thread;
    struct db db; // the writer thread's

    pthread_mutex_t mutex; // guards all below
    pthread_cond_t queued, committed;
    struct op_list waiting, finished;
    int closing;
    int in_trouble, damaged; // damaged: nothing is written any more, see store.h
    struct error trouble;
    struct store_reader *readers; // idle ones
    unsigned readers_out;
};

static void list_append(struct op_list *list, struct store_op *op)
{
    op->next = NULL;
    if (list->last)
        list->last->next = op;
    else
        list->first = op;
    list->last = op;
}

// Cuts off the first `limit` requests.
static struct store_op *list_take(struct op_list *list, int limit)
{
    struct store_op *first = list->first, *last = first;
    if (!first)
        return NULL;
    for (int n = 1; n < limit && last->next; n++)
        last = last->next;
    list->first = last->next;
    if (!last->next)
        list->last = NULL;
    last->next = NULL;
    return first;
}

// ---- the writer thread ----------------------------------------------------------------------------------------------

static void settle(struct store_op *op, enum store_status status, const struct error *why)
{
    op->status = status;
    if (why)
        op->error = *why;
}

// One request inside the open transaction. -1 when the whole transaction is lost with it.
static int apply_one(struct db *db, struct store_op *op, struct error *e)
{
    if (db_run(db, e, SQL_SAVEPOINT))
        return -1;
    op->error.code = ERR_NONE;
    int rc = op->apply(db, op, &op->error);
    if (!rc) {
        settle(op, STORE_DONE, NULL);
        return db_run(db, e, SQL_RELEASE);
    }
    settle(op, db->trouble ? STORE_TROUBLE : STORE_REFUSED, NULL);
    if (sqlite3_get_autocommit(db->sqlite)) { // SQLite has rolled it back itself, as it does on a full disk
        *e = op->error;
        return -1;
    }
    return db_run(db, e, SQL_UNDO) || db_run(db, e, SQL_RELEASE) ? -1 : 0;
}

static int apply_all(struct db *db, struct store_op *ops, struct error *e)
{
    if (db_run(db, e, SQL_BEGIN))
        return -1;
    for (struct store_op *op = ops; op; op = op->next)
        if (apply_one(db, op, e))
            return -1;
    return db_run(db, e, SQL_COMMIT);
}

// After a transaction was lost none of its requests has happened, whatever became of each.
static void fail_all(struct db *db, struct store_op *ops, const struct error *why)
{
    if (!sqlite3_get_autocommit(db->sqlite))
        db_run(db, NULL, SQL_ROLLBACK);
    for (struct store_op *op = ops; op; op = op->next)
        settle(op, STORE_TROUBLE, why);
}

static const struct error *trouble_of(const struct store_op *ops)
{
    for (; ops; ops = ops->next)
        if (ops->status == STORE_TROUBLE)
            return &ops->error;
    return NULL;
}

static void finish(struct store *s, struct store_op *ops, const struct error *trouble)
{
    pthread_mutex_lock(&s->mutex);
    if (trouble && !s->in_trouble)
        log_error(s->options.log, "%s", trouble->text);
    if (!trouble && s->in_trouble)
        log_info(s->options.log, "the database can be written again");
    s->in_trouble = trouble != NULL;
    if (trouble)
        s->trouble = *trouble;
    int notify = 0;
    while (ops) {
        struct store_op *next = ops->next;
        if (ops->waited_for) {
            ops->waited_for = 0;
        } else {
            list_append(&s->finished, ops);
            notify = 1;
        }
        ops = next;
    }
    pthread_cond_broadcast(&s->committed);
    pthread_mutex_unlock(&s->mutex);
    if (notify && s->options.notify)
        s->options.notify(s->options.context);
}

static void *writer(void *context)
{
    struct store *s = context;
    for (;;) {
        pthread_mutex_lock(&s->mutex);
        while (!s->waiting.first && !s->closing)
            pthread_cond_wait(&s->queued, &s->mutex);
        struct store_op *ops = list_take(&s->waiting, GROUP_MAX);
        pthread_mutex_unlock(&s->mutex);
        if (!ops)
            return NULL;
        struct error e;
        if (s->damaged)
            fail_all(&s->db, ops, &s->trouble);
        else if (apply_all(&s->db, ops, &e))
            fail_all(&s->db, ops, &e);
        const struct error *trouble = trouble_of(ops);
        s->damaged |= trouble && trouble->code == ERR_DAMAGED;
        finish(s, ops, trouble);
    }
}

void store_queue(struct store *s, struct store_op *op)
{
    pthread_mutex_lock(&s->mutex);
    if (s->closing) {
        op->status = STORE_TROUBLE;
        error_set(&op->error, ERR_UNREACHABLE, "the server is shutting down");
        list_append(&s->finished, op);
    } else {
        list_append(&s->waiting, op);
        pthread_cond_signal(&s->queued);
    }
    pthread_mutex_unlock(&s->mutex);
}

void store_deliver(struct store *s)
{
    pthread_mutex_lock(&s->mutex);
    struct store_op *op = s->finished.first;
    s->finished = (struct op_list){NULL, NULL};
    pthread_mutex_unlock(&s->mutex);
    while (op) {
        struct store_op *next = op->next;
        op->done(op);
        op = next;
    }
}

int store_call(struct store *s, struct store_op *op)
{
    op->waited_for = 1;
    store_queue(s, op);
    pthread_mutex_lock(&s->mutex);
    while (op->waited_for)
        pthread_cond_wait(&s->committed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    return op->status == STORE_DONE ? 0 : -1;
}

int store_trouble(struct store *s, struct error *e)
{
    pthread_mutex_lock(&s->mutex);
    int trouble = s->in_trouble;
    if (trouble && e)
        *e = s->trouble;
    pthread_mutex_unlock(&s->mutex);
    return trouble;
}

// ---- opening and closing --------------------------------------------------------------------------------------------

static void free_store(struct store *s)
{
    while (s->readers) {
        struct store_reader *next = s->readers->next;
        db_close(&s->readers->db);
        free(s->readers);
        s->readers = next;
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->queued);
    pthread_cond_destroy(&s->committed);
    db_close(&s->db);
    free(s->path);
    free(s);
}

struct store *store_open(const struct store_options *options, struct error *e)
{
    if (file_make_dirs(options->directory, e))
        return NULL;
    struct store *s = xcalloc(1, sizeof *s);
    s->options = *options;
    s->path = file_join(options->directory, "islr.db");
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->queued, NULL);
    pthread_cond_init(&s->committed, NULL);
    if (db_open(&s->db, s->path, DB_WRITER, e) || schema_apply(&s->db, e)) {
        free_store(s);
        return NULL;
    }
    int rc = pthread_create(&s->thread, NULL, writer, s);
    if (rc) {
        errno = rc;
        error_set_errno(e, ERR_FAILED, "cannot start the database's writer thread");
        free_store(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->closing = 1;
    pthread_cond_signal(&s->queued);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    while (s->finished.first) // a `done` may queue another, which is refused
        store_deliver(s);
    if (s->readers_out)
        log_error(s->options.log, "%u readers of the database are still out", s->readers_out);
    free_store(s);
}

// ---- readers --------------------------------------------------------------------------------------------------------

struct store_reader *store_reader_take(struct store *s, struct error *e)
{
    pthread_mutex_lock(&s->mutex);
    struct store_reader *r = s->readers;
    if (r)
        s->readers = r->next;
    s->readers_out++;
    pthread_mutex_unlock(&s->mutex);
    if (r)
        return r;
    r = xcalloc(1, sizeof *r);
    if (!db_open(&r->db, s->path, DB_READER, e) && !schema_check(&r->db, e))
        return r;
    db_close(&r->db);
    free(r);
    pthread_mutex_lock(&s->mutex);
    s->readers_out--;
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

void store_reader_give(struct store *s, struct store_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&s->mutex);
    r->next = s->readers;
    s->readers = r;
    s->readers_out--;
    pthread_mutex_unlock(&s->mutex);
}

struct db *store_reader_db(struct store_reader *r)
{
    return &r->db;
}
