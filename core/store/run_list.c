// Lists of runs: see run_read.h. The one place where SQL is put together; everything a user typed is bound, not pasted.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/store/db.h"
#include "core/store/run_read.h"
#include "core/store/run_summary.h"
#include "core/store/where.h"

static const char SQL_METRIC_FIND[] = "SELECT id FROM metric_names WHERE name = ?";
static const char SQL_METRICS[] = "SELECT name FROM metric_names ORDER BY name";
static const char SELECT[] = "SELECT " RUN_SUMMARY_COLUMNS " FROM runs r";
static const char SQL_ONE[] = "SELECT " RUN_SUMMARY_COLUMNS " FROM runs r WHERE r.id = ?";

enum { BOUND_MAX = WHERE_NODES_MAX * 2 + 32 };
enum { RUN_FRAME_BYTES = 8 }; // what a RunSummary in a message has beside itself: its tag and length

struct builder {
    struct db *db;
    struct strbuf sql;
    struct db_value bound[BOUND_MAX];
    size_t count;
    int conditions;
};

static void bind(struct builder *b, struct db_value v)
{
    b->bound[b->count++] = v;
}

static void condition(struct builder *b, const char *text)
{
    strbuf_printf(&b->sql, " %s %s", b->conditions++ ? "AND" : "WHERE", text);
}

static int metric_id(struct db *db, const char *name, int64_t *id, struct error *e)
{
    return db_number(db, e, SQL_METRIC_FIND, 0, id, db_text(name));
}

// Runs may have a metric later that none has now, which is no fault; unless it is a letter or two from one that they have.
static int refuse_misspelt(struct db *db, const char *name, struct error *e)
{
    enum { LETTERS = 2 };
    sqlite3_stmt *q = db_query_values(db, SQL_METRICS, NULL, 0, e);
    int rc = -1;
    while (q && (rc = db_step(db, q, e)) > 0) {
        const char *known = (const char *)sqlite3_column_text(q, 0);
        if (!known || nearest_distance(name, known) > LETTERS || !nearest_name(name, &known, 1))
            continue;
        error_set(e, ERR_INVALID, "no run has a metric '%s'; did you mean '%s'?", name, known);
        db_reset(q);
        return -1;
    }
    return rc;
}

// 0: no run has it.
static int find_metric(struct db *db, const char *name, int64_t *id, struct error *e)
{
    if (metric_id(db, name, id, e))
        return -1;
    return *id ? 0 : refuse_misspelt(db, name, e);
}

static int is_metric(void *context, const char *name)
{
    int64_t id;
    return !metric_id(context, name, &id, NULL) && id;
}

// ---- the user's condition -------------------------------------------------------------------------------------------

static int put_compare(struct builder *b, const struct where_node *n, struct error *e)
{
    const char *op = where_operator_sql(n->op);
    if (n->field) {
        strbuf_printf(&b->sql, "r.%s %s ?", n->field->column, op);
        bind(b, n->field->type == WHERE_TEXT ? db_text(n->text) : db_real(n->number));
        return 0;
    }
    int64_t id;
    if (find_metric(b->db, n->name, &id, e))
        return -1;
    strbuf_printf(&b->sql, "r.id IN (SELECT run_id FROM metric_last WHERE name_id = ? AND value %s ?)", op);
    bind(b, db_int(id));
    bind(b, db_real(n->number));
    return 0;
}

static int put_node(struct builder *b, const struct where *w, int at, struct error *e)
{
    const struct where_node *n = &w->nodes[at];
    if (n->kind == WHERE_COMPARE)
        return put_compare(b, n, e);
    strbuf_printf(&b->sql, n->kind == WHERE_NOT ? "NOT (" : "(");
    if (put_node(b, w, n->left, e))
        return -1;
    if (n->kind != WHERE_NOT) {
        strbuf_printf(&b->sql, n->kind == WHERE_AND ? " AND " : " OR ");
        if (put_node(b, w, n->right, e))
            return -1;
    }
    strbuf_printf(&b->sql, ")");
    return 0;
}

// ---- the list -------------------------------------------------------------------------------------------------------

// "-accuracy/soup": a metric's newest value, runs without it last; "name": a field.
static int put_order(struct builder *b, const Islr__ListRuns *f, int64_t *metric, struct error *e)
{
    const char *way = "ASC", *sort = f->sort;
    *metric = 0;
    if (!sort || !*sort) {
        strbuf_printf(&b->sql, " ORDER BY r.id %s", f->parent ? "ASC" : "DESC");
        return 0;
    }
    if (*sort == '-') {
        way = "DESC";
        sort++;
    }
    const struct where_field *field = where_field_find(sort);
    if (field) {
        strbuf_printf(&b->sql, " ORDER BY r.%s %s, r.id DESC", field->column, way);
        return 0;
    }
    if (find_metric(b->db, sort, metric, e))
        return -1;
    if (!*metric && !strchr(sort, '/'))
        return error_set(e, ERR_INVALID, "cannot sort by '%s': no run has a field or metric of that name", sort);
    strbuf_printf(&b->sql,
                  " ORDER BY (SELECT value FROM metric_last WHERE run_id = r.id AND name_id = ?) %s NULLS LAST,"
                  " r.id DESC",
                  way);
    bind(b, db_int(*metric));
    return 0;
}

static void put_filters(struct builder *b, const Islr__ListRuns *f)
{
    unsigned states = 0;
    for (size_t i = 0; i < f->n_states; i++)
        states |= (unsigned)f->states[i] < 8 ? 1u << f->states[i] : 0;
    if (f->n_states) {
        condition(b, "r.state IN (-1");
        for (int i = 0; i < 8; i++)
            if (states >> i & 1)
                strbuf_printf(&b->sql, ", %d", i);
        strbuf_printf(&b->sql, ")");
    }
    if (f->user && *f->user) {
        condition(b, "r.user = ?");
        bind(b, db_text(f->user));
    }
    if (f->name && *f->name) {
        condition(b, "r.name GLOB ?");
        bind(b, db_text(f->name));
    }
    if (f->since_ms) {
        condition(b, "r.submitted_ms >= ?");
        bind(b, db_int(f->since_ms));
    }
    if (f->parent) {
        condition(b, "r.parent_id = ?");
        bind(b, db_uint(f->parent));
    } else if (!f->children) {
        condition(b, "r.parent_id IS NULL");
    }
}

static int build(struct builder *b, const Islr__ListRuns *f, const struct where *w, struct error *e)
{
    int64_t metric;
    strbuf_printf(&b->sql, "%s", SELECT);
    put_filters(b, f);
    if (w->count) {
        condition(b, "");
        if (put_node(b, w, w->root, e))
            return -1;
    }
    if (put_order(b, f, &metric, e))
        return -1;
    strbuf_printf(&b->sql, " LIMIT ?");
    bind(b, db_int(f->limit && f->limit < RUN_LIST_MAX ? f->limit : RUN_LIST_MAX));
    return 0;
}

// ---- reading it -----------------------------------------------------------------------------------------------------

struct run_list {
    struct builder builder; // what it has bound
    struct where where;
    const Islr__ListRuns *filter;
    sqlite3_stmt *rows; // NULL: parked
    uint64_t *rest;     // [rest_count], from `at` on: the runs to come
    size_t rest_count, at;
};

void run_list_close(struct run_list *l)
{
    if (!l)
        return;
    sqlite3_finalize(l->rows);
    where_free(&l->where);
    free(l->builder.sql.text);
    free(l->rest);
    free(l);
}

int run_list_park(struct run_list *l, struct error *e)
{
    size_t capacity = 0;
    int rc;
    if (!l->rows)
        return 0;
    while ((rc = db_step(l->builder.db, l->rows, e)) > 0) {
        if (l->rest_count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            l->rest = xrealloc(l->rest, capacity, sizeof *l->rest);
        }
        l->rest[l->rest_count++] = (uint64_t)sqlite3_column_int64(l->rows, RUN_SUMMARY_ID);
    }
    sqlite3_finalize(l->rows);
    l->rows = NULL;
    return rc;
}

void run_list_resume(struct run_list *l, struct store_reader *reader)
{
    l->builder.db = store_reader_db(reader);
}

struct run_list *run_list_open(struct store_reader *reader, const Islr__ListRuns *filter, struct error *e)
{
    struct run_list *l = xcalloc(1, sizeof *l);
    struct builder *b = &l->builder;
    b->db = store_reader_db(reader);
    l->filter = filter;
    int rc = 0;
    if (filter->where && *filter->where)
        rc = where_parse(filter->where, is_metric, b->db, &l->where, e);
    if (!rc && !build(b, filter, &l->where, e))
        l->rows = db_compile(b->db, b->sql.text, b->bound, b->count, e);
    if (l->rows)
        return l;
    run_list_close(l);
    return NULL;
}

// 1: a row is there; 0: there are no more; -1.
static int next_row(struct run_list *l, sqlite3_stmt **row, struct error *e)
{
    struct db *db = l->builder.db;
    *row = l->rows;
    if (l->rows)
        return db_step(db, l->rows, e);
    while (l->at < l->rest_count) {
        *row = db_query(db, e, SQL_ONE, db_uint(l->rest[l->at++]));
        int rc = *row ? db_step(db, *row, e) : -1;
        if (rc)
            return rc;
    }
    return 0;
}

static int next_rows(struct run_list *l, size_t most, size_t bytes, int packed, struct pool *pool,
                     Islr__RunSummary ***out, size_t *count, struct error *e)
{
    sqlite3_stmt *row;
    size_t have = 0;
    int rc = 1;
    *out = NULL;
    *count = 0;
    while (*count < most && have < bytes && (rc = next_row(l, &row, e)) > 0) {
        Islr__RunSummary *s = packed ? run_summary_make_packed(row, l->filter, pool) : run_summary_make(row, pool);
        if (!l->rows)
            db_reset(row);
        *out = pool_room(pool, *out, *count, sizeof **out);
        (*out)[(*count)++] = s;
        have += islr__run_summary__get_packed_size(s) + RUN_FRAME_BYTES;
    }
    for (size_t i = 0; i < *count && rc >= 0; i++)
        if (run_summary_group(l->builder.db, (*out)[i], e))
            rc = -1;
    return rc;
}

int run_list_next(struct run_list *l, size_t most, size_t bytes, struct pool *pool, Islr__RunSummary ***out,
                  size_t *count, struct error *e)
{
    return next_rows(l, most, bytes, 1, pool, out, count, e);
}

int run_read_list(struct store_reader *reader, const Islr__ListRuns *filter, struct pool *pool, Islr__RunSummary ***out,
                  size_t *count, struct error *e)
{
    struct run_list *l = run_list_open(reader, filter, e);
    int rc = l ? next_rows(l, SIZE_MAX, SIZE_MAX, 0, pool, out, count, e) : -1;
    run_list_close(l);
    return rc < 0 ? -1 : 0;
}
