// What the database remembers of workers: see worker_row.h.
#include "core/store/worker_row.h"

#include "core/store/db.h"

static const char SQL_SEEN[] = "INSERT INTO workers (world, rank, size, host, pid, device, device_name, threads,"
                               " memory_bytes, user, since_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                               " ON CONFLICT (world, rank) DO UPDATE SET gone_ms = 0 RETURNING id";
static const char SQL_GONE[] = "UPDATE workers SET gone_ms = ? WHERE id = ?";

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static int apply_seen(struct db *db, struct store_op *op, struct error *e)
{
    struct worker_seen *r = (struct worker_seen *)op;
    const Islr__Register *w = r->who;
    int64_t id;
    if (db_number(db, e, SQL_SEEN, 0, &id, db_text(or_empty(w->world)), db_uint(w->rank), db_uint(w->size),
                  db_text(or_empty(w->host)), db_uint(w->pid), db_text(or_empty(w->device)),
                  db_text(or_empty(w->device_name)), db_uint(w->threads), db_uint(w->memory_bytes), db_text(r->user),
                  db_int(r->time_ms)))
        return -1;
    r->id = (uint64_t)id;
    return 0;
}

void worker_seen_prepare(struct worker_seen *r)
{
    r->op.apply = apply_seen;
}

static int apply_gone(struct db *db, struct store_op *op, struct error *e)
{
    struct worker_gone *r = (struct worker_gone *)op;
    return db_run(db, e, SQL_GONE, db_int(r->time_ms), db_uint(r->id));
}

void worker_gone_prepare(struct worker_gone *r)
{
    r->op.apply = apply_gone;
}
