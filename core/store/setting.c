// The server's own durable facts: see setting.h.
#include "core/store/setting.h"

#include "core/store/db.h"
#include "core/store/text.h"

static const char SQL_GET[] = "SELECT value FROM settings WHERE name = ?";
static const char SQL_SET[] = "INSERT INTO settings (name, value) VALUES (?, ?)"
                              " ON CONFLICT DO UPDATE SET value = excluded.value";
static const char SQL_LIST[] = "SELECT substr(name, length(?1) + 1), value FROM settings"
                               " WHERE substr(name, 1, length(?1)) = ?1 AND value <> '' ORDER BY name";
static const char SQL_EVENT[] = "INSERT INTO events (time_ms, text) VALUES (?, ?)";

static int get(struct db *db, const char *name, char value[128], struct error *e)
{
    sqlite3_stmt *q = db_query(db, e, SQL_GET, db_text(name));
    int rc = q ? db_step(db, q, e) : -1;
    if (rc > 0) {
        text_fit(value, 128, (const char *)sqlite3_column_text(q, 0));
        db_reset(q);
    }
    return rc;
}

static int apply(struct db *db, struct store_op *op, struct error *e)
{
    struct setting_set *r = (struct setting_set *)op;
    int known = r->keep ? get(db, r->name, r->now, e) : 0;
    if (known)
        return known < 0 ? -1 : 0;
    text_fit(r->now, sizeof r->now, r->value);
    if (db_run(db, e, SQL_SET, db_text(r->name), db_text(r->now)))
        return -1;
    return r->event ? db_run(db, e, SQL_EVENT, db_int(r->time_ms), db_text(r->event)) : 0;
}

void setting_set_prepare(struct setting_set *r)
{
    r->op.apply = apply;
}

int setting_get(struct store_reader *reader, const char *name, char value[128], struct error *e)
{
    return get(store_reader_db(reader), name, value, e);
}

int setting_list(struct store_reader *reader, const char *beginning, struct pool *pool, struct setting **out,
                 size_t *count, struct error *e)
{
    struct db *db = store_reader_db(reader);
    int rc;
    *out = NULL;
    *count = 0;
    sqlite3_stmt *q = db_query(db, e, SQL_LIST, db_text(beginning));
    if (!q)
        return -1;
    while ((rc = db_step(db, q, e)) > 0) {
        *out = pool_room(pool, *out, *count, sizeof **out);
        (*out)[(*count)++] = (struct setting){pool_text(pool, (const char *)sqlite3_column_text(q, 0)),
                                              pool_text(pool, (const char *)sqlite3_column_text(q, 1))};
    }
    return rc;
}
