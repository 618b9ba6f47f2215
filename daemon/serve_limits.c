// GetLimits and SetLimits: what users may have at a time, and their shares. In force as soon as they are durable.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/pool.h"
#include "core/store/setting.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_pieces.h"

// ---- showing --------------------------------------------------------------------------------------------------------

struct showing {
    struct pieces pieces;
    const struct user *last;   // of the piece before; users stay
    Islr__UserLimits **limits; // the piece
    size_t count, bytes;
};

enum { SHOWN_BYTES = 3 * PIECE_BYTES }; // of a piece: clients of before they were several take the first one for all

static Islr__Value *make_value(struct pool *pool, enum user_limit limit, double value)
{
    Islr__Value *v = pool_alloc(pool, sizeof *v);
    islr__value__init(v);
    v->name = (char *)user_limits[limit].name;
    v->has_value = 1;
    v->value = value;
    return v;
}

static Islr__UserLimits *begin_user(struct pool *pool, const char *name)
{
    Islr__UserLimits *out = pool_alloc(pool, sizeof *out);
    islr__user_limits__init(out);
    out->user = (char *)name;
    out->limits = pool_alloc(pool, USER_LIMITS * sizeof *out->limits);
    out->own = pool_alloc(pool, USER_LIMITS * sizeof *out->own);
    return out;
}

static Islr__UserLimits *describe_everybody(const struct server *s, struct pool *pool)
{
    Islr__UserLimits *out = begin_user(pool, "");
    for (size_t i = 0; i < USER_LIMITS; i++) {
        double set = s->users.everybody[i];
        if (!isnan(set))
            out->own[out->n_own++] = (char *)user_limits[i].name;
        out->limits[out->n_limits++] = make_value(pool, (enum user_limit)i, isnan(set) ? user_limits[i].usual : set);
    }
    return out;
}

static Islr__UserLimits *describe(const struct server *s, const struct user *u, struct pool *pool)
{
    Islr__UserLimits *out = begin_user(pool, u->name);
    for (size_t i = 0; i < USER_LIMITS; i++) {
        if (!isnan(u->own[i]))
            out->own[out->n_own++] = (char *)user_limits[i].name;
        out->limits[out->n_limits++] =
            make_value(pool, (enum user_limit)i, user_limit(&s->users, u, (enum user_limit)i));
    }
    struct scheduler_user now = user_standing(s, u, &out->queued);
    out->has_running = out->has_ranks = out->has_queued = out->has_used_seconds = 1;
    out->running = now.runs;
    out->ranks = now.ranks;
    out->used_seconds = now.usage;
    return out;
}

static void add(struct showing *x, Islr__UserLimits *limits)
{
    x->limits = pool_room(&x->pieces.job.pool, x->limits, x->count, sizeof *x->limits);
    x->limits[x->count++] = limits;
    x->bytes += islr__user_limits__get_packed_size(limits);
}

static int gather(struct pieces *p)
{
    struct showing *x = (struct showing *)p;
    const struct server *s = p->job.base.server;
    x->count = x->bytes = 0;
    if (!x->last)
        add(x, describe_everybody(s, &p->job.pool));
    for (size_t i = 0; i < s->users.count; i++) {
        const struct user *u = s->users.items[i];
        if (x->last && strcmp(u->name, x->last->name) <= 0)
            continue;
        if (x->bytes >= SHOWN_BYTES)
            return 1;
        add(x, describe(s, u, &p->job.pool));
        x->last = u;
    }
    return 0;
}

static int send_limits(struct pieces *p, int more)
{
    const struct showing *x = (const struct showing *)p;
    Islr__LimitList list = ISLR__LIMIT_LIST__INIT;
    Islr__Envelope m = ENVELOPE(LIMIT_LIST, limit_list, &list);
    list.users = x->limits;
    list.n_users = x->count;
    list.has_more = 1;
    list.more = more;
    return session_reply(p->job.base.session, p->job.id, &m);
}

void handle_get_limits(struct session *session, Islr__Envelope *m)
{
    static const struct pieces_kind kind = {.gather = gather, .send = send_limits};
    struct showing *x = pieces_new(session, sizeof *x, &kind);
    (void)m;
    read_job_start(&x->pieces.job);
}

// ---- setting --------------------------------------------------------------------------------------------------------

struct change {
    struct setting_set request;
    struct setting_change *all;
    enum user_limit limit;
    double value; // NAN: no longer set
    char *name, text[32], *event;
};

// One request: each limit is a setting of its own.
struct setting_change {
    struct session *session;
    uint64_t id;
    char *user;
    struct error why; // of the first that failed
    size_t left;
};

static void changed(struct store_op *op)
{
    struct change *c = (struct change *)op;
    struct setting_change *all = c->all;
    struct server *s = all->session->server;
    if (op->status == STORE_DONE) {
        (*all->user ? users_take(&s->users, all->user)->own : s->users.everybody)[c->limit] = c->value;
        log_info(s->log, "%s", c->event);
        schedule_soon(s);
    } else if (!all->why.code) {
        all->why = op->error;
    }
    free(c->name);
    free(c->event);
    free(c);
    if (!--all->left) {
        if (all->why.code)
            session_reply_fault(all->session, all->id, &all->why);
        else
            session_reply_ok(all->session, all->id);
        session_drop(all->session);
        free(all->user);
        free(all);
    }
    server_settled(s);
}

static void change(struct setting_change *all, enum user_limit limit, double value)
{
    struct change *c = xcalloc(1, sizeof *c);
    const char *name = user_limits[limit].name, *whose = *all->user ? all->user : "everybody";
    c->all = all;
    c->limit = limit;
    c->value = value;
    c->name = xprintf(LIMIT_SETTING "%s:%s", name, all->user);
    if (isnan(value)) {
        c->event = xprintf("limit of %s: %s no longer set, by %s", whose, name, all->session->user);
    } else {
        snprintf(c->text, sizeof c->text, "%.9g", value);
        c->event = xprintf("limit of %s: %s %s, by %s", whose, name, c->text, all->session->user);
    }
    c->request = (struct setting_set){
        .name = c->name, .value = c->text, .event = c->event, .time_ms = server_now_ms(), .op.done = changed};
    setting_set_prepare(&c->request);
    server_queue(all->session->server, &c->request.op);
}

static int check_value(const Islr__Value *v, struct error *e)
{
    enum user_limit limit;
    if (!v->name || user_limit_find(v->name, &limit, e))
        return v->name ? -1 : error_set(e, ERR_INVALID, "a limit has no name");
    const struct limit_row *row = &user_limits[limit];
    if (!(v->value >= row->least && v->value <= row->most) || (row->whole && v->value != floor(v->value)))
        return error_set(e, ERR_INVALID, "%s must be a%s number from %g to %g, not %g", row->name,
                         row->whole ? " whole" : "", row->least, row->most, v->value);
    return 0;
}

static int check(const Islr__SetLimits *q, struct error *e)
{
    enum user_limit limit;
    if (strlen(q->user) >= sizeof((struct session *)0)->user)
        return error_set(e, ERR_INVALID, "no user has so long a name");
    if (!q->n_limits && !q->n_unset)
        return error_set(e, ERR_INVALID, "no limit is named");
    if (q->n_limits + q->n_unset > USER_LIMITS)
        return error_set(e, ERR_INVALID, "more limits are named than there are");
    for (size_t i = 0; i < q->n_limits; i++)
        if (check_value(q->limits[i], e))
            return -1;
    for (size_t i = 0; i < q->n_unset; i++)
        if (user_limit_find(q->unset[i], &limit, e))
            return -1;
    return 0;
}

void handle_set_limits(struct session *session, Islr__Envelope *m)
{
    const Islr__SetLimits *q = m->set_limits;
    enum user_limit limit;
    struct error e;
    if (!q->user)
        error_set(&e, ERR_INVALID, "whose limits?");
    if (!q->user || check(q, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct setting_change *all = xcalloc(1, sizeof *all);
    all->session = session_hold(session);
    all->id = m->id;
    all->user = xstrdup(q->user);
    all->left = q->n_limits + q->n_unset;
    for (size_t i = 0; i < q->n_limits; i++)
        if (!user_limit_find(q->limits[i]->name, &limit, NULL))
            change(all, limit, q->limits[i]->value);
    for (size_t i = 0; i < q->n_unset; i++)
        if (!user_limit_find(q->unset[i], &limit, NULL))
            change(all, limit, NAN);
}
