// CreateToken, ListTokens, RevokeTokens, and whose a token is: see serve_token.h.
#include "daemon/serve_token.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/base/memory.h"
#include "core/store/text.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_pieces.h"

enum { SECRET_BYTES = 32, REVOKE_MAX = 1000 };
static const char prefix[] = "islr_";

// ---- in memory ------------------------------------------------------------------------------------------------------

static void add(struct tokens *t, const struct token_row *row)
{
    t->items = xrealloc(t->items, t->count + 1, sizeof *t->items);
    t->items[t->count++] = *row;
}

static void forget(struct tokens *t, uint64_t id)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].id == id)
            t->items[i--] = t->items[--t->count];
}

int tokens_load(struct server *s, struct store_reader *reader, struct error *e)
{
    struct pool pool = {0};
    struct token_row *rows;
    size_t count;
    int rc = token_list(reader, 0, 0, SIZE_MAX, &pool, &rows, &count, e);
    for (size_t i = 0; !rc && i < count; i++)
        add(&s->tokens, &rows[i]);
    pool_free(&pool);
    return rc;
}

void tokens_free(struct tokens *t)
{
    free(t->items);
}

const struct token_row *token_check(const struct tokens *t, const char *text, int64_t now_ms, struct error *e)
{
    char *end = NULL;
    uint64_t id = 0;
    const struct token_row *found = NULL;
    if (!strncmp(text, prefix, sizeof prefix - 1) && isdigit((unsigned char)text[sizeof prefix - 1]))
        id = strtoull(text + sizeof prefix - 1, &end, 10);
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].id == id)
            found = &t->items[i];
    struct hash none = {{0}}, secret = hash_memory(end ? end : "", end ? strlen(end) : 0);
    int same = hash_equal(found ? &found->secret : &none, &secret);
    if (!found || !same) {
        error_set(e, ERR_DENIED, "the token is not valid here: it is not one of this server's, or it was revoked");
        return NULL;
    }
    if (found->expires_ms && now_ms >= found->expires_ms) {
        error_set(e, ERR_DENIED, "the token %llu of %s has expired (by the server's clock)",
                  (unsigned long long)found->id, found->user);
        return NULL;
    }
    return found;
}

// ---- create ---------------------------------------------------------------------------------------------------------

struct creating {
    struct token_create request;
    struct session *session;
    uint64_t id;
    char secret[1 + 2 * SECRET_BYTES + 1]; // with "_" before it
    char *event;
};

static void describe(const struct token_row *row, Islr__TokenInfo *info)
{
    islr__token_info__init(info);
    info->has_id = info->has_created_ms = info->has_expires_ms = info->has_revoked_ms = 1;
    info->id = row->id;
    info->user = (char *)row->user;
    info->role = (char *)row->role;
    info->created_ms = row->created_ms;
    info->expires_ms = row->expires_ms;
    info->revoked_ms = row->revoked_ms;
}

static void reply_created(const struct creating *c)
{
    Islr__TokenInfo info;
    Islr__TokenCreated r = ISLR__TOKEN_CREATED__INIT;
    Islr__Envelope m = ENVELOPE(TOKEN_CREATED, token_created, &r);
    describe(&c->request.row, &info);
    r.info = &info;
    r.token = xprintf("%s%llu%s", prefix, (unsigned long long)info.id, c->secret);
    session_reply(c->session, c->id, &m);
    explicit_bzero(r.token, strlen(r.token));
    free(r.token);
}

static void created(struct store_op *op)
{
    struct creating *c = (struct creating *)op;
    struct session *session = c->session;
    struct server *s = session->server;
    if (op->status == STORE_DONE) {
        add(&s->tokens, &c->request.row);
        log_info(s->log, "token %llu: %s", (unsigned long long)c->request.row.id, c->event);
        reply_created(c);
    } else {
        session_reply_fault(session, c->id, &op->error);
    }
    explicit_bzero(c->secret, sizeof c->secret);
    free(c->event);
    free(c);
    session_drop(session);
    server_settled(s);
}

static int check_user(const char *user, struct error *e)
{
    int fine = user && *user && strlen(user) < TOKEN_USER_SIZE;
    for (const char *c = user; fine && *c; c++)
        fine = isalnum((unsigned char)*c) || strchr("._@-", *c);
    return fine ? 0
                : error_set(e, ERR_INVALID, "a user's name has 1 to %d letters, digits and any of ._@-",
                            TOKEN_USER_SIZE - 1);
}

static int check_create(const Islr__CreateToken *q, int64_t now_ms, struct error *e)
{
    if (check_user(q->user, e))
        return -1;
    if (!q->role || session_role_parse(q->role) == ROLE_NOBODY)
        return error_set(e, ERR_INVALID, "the role '%s' is none of viewer, submitter, admin, worker",
                         q->role ? q->role : "");
    if (q->expires_ms && q->expires_ms <= now_ms)
        return error_set(e, ERR_INVALID, "the token would have expired already, by the server's clock");
    return 0;
}

static int make_secret(char text[1 + 2 * SECRET_BYTES + 1], struct hash *hash, struct error *e)
{
    uint8_t bytes[SECRET_BYTES];
    if (getentropy(bytes, sizeof bytes))
        return error_set_errno(e, ERR_FAILED, "no random numbers are to be had");
    text[0] = '_';
    for (int i = 0; i < SECRET_BYTES; i++)
        snprintf(text + 1 + 2 * i, 3, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    *hash = hash_memory(text, strlen(text));
    return 0;
}

void handle_create_token(struct session *session, Islr__Envelope *m)
{
    const Islr__CreateToken *q = m->create_token;
    int64_t now_ms = server_now_ms();
    struct creating *c = xcalloc(1, sizeof *c);
    struct token_row *row = &c->request.row;
    struct error e;
    if (check_create(q, now_ms, &e) || make_secret(c->secret, &row->secret, &e)) {
        free(c);
        session_reply_fault(session, m->id, &e);
        return;
    }
    c->session = session_hold(session);
    c->id = m->id;
    c->event = xprintf("a token for %s (%s) made by %s", q->user, q->role, session->user);
    text_fit(row->user, sizeof row->user, q->user);
    text_fit(row->role, sizeof row->role, q->role);
    row->created_ms = now_ms;
    row->expires_ms = q->expires_ms;
    c->request.event = c->event;
    c->request.op.done = created;
    token_create_prepare(&c->request);
    server_queue(session->server, &c->request.op);
}

// ---- list -----------------------------------------------------------------------------------------------------------

struct listing {
    struct pieces pieces;
    uint64_t after; // the last one of the piece before
    struct token_row *rows;
    size_t count;
};

static int list_read(struct pieces *p, struct store_reader *reader, struct error *e)
{
    struct listing *l = (struct listing *)p;
    if (token_list(reader, p->job.request->list_tokens->all, l->after, PIECE_ITEMS, &p->job.pool, &l->rows, &l->count,
                   e))
        return -1;
    l->after = l->count ? l->rows[l->count - 1].id : l->after;
    return l->count == PIECE_ITEMS;
}

static int list_send(struct pieces *p, int more)
{
    const struct listing *l = (const struct listing *)p;
    Islr__TokenInfo infos[PIECE_ITEMS], *pointers[PIECE_ITEMS];
    Islr__TokenList list = ISLR__TOKEN_LIST__INIT;
    Islr__Envelope m = ENVELOPE(TOKEN_LIST, token_list, &list);
    list.tokens = pointers;
    for (size_t i = 0; i < l->count; i++)
        describe(&l->rows[i], pointers[list.n_tokens++] = &infos[i]);
    list.has_more = 1;
    list.more = more;
    return session_reply(p->job.base.session, p->job.id, &m);
}

void handle_list_tokens(struct session *session, Islr__Envelope *m)
{
    static const struct pieces_kind kind = {.read = list_read, .send = list_send};
    struct listing *l = pieces_new(session, sizeof *l, &kind);
    (void)m;
    read_job_start(&l->pieces.job);
}

// ---- revoke ---------------------------------------------------------------------------------------------------------

struct revoking {
    struct token_revoke request;
    struct session *session;
    Islr__Envelope *m;
    char *event;
};

static void revoked(struct store_op *op)
{
    struct revoking *r = (struct revoking *)op;
    struct session *session = r->session;
    struct server *s = session->server;
    if (op->status == STORE_DONE) {
        log_info(s->log, "%s", r->event);
        session_reply_ok(session, r->m->id);
        for (size_t i = 0; i < r->request.count; i++) {
            forget(&s->tokens, r->request.ids[i]);
            sessions_end_token(&s->sessions, r->request.ids[i]);
        }
    } else {
        session_reply_fault(session, r->m->id, &op->error);
    }
    session_free_message(session, r->m);
    free(r->event);
    free(r);
    session_drop(session);
    server_settled(s);
}

void handle_revoke_tokens(struct session *session, Islr__Envelope *m)
{
    const Islr__RevokeTokens *q = m->revoke_tokens;
    struct error e;
    if (!q->n_ids || q->n_ids > REVOKE_MAX) {
        error_set(&e, ERR_INVALID, "1 to %d tokens can be revoked at a time", REVOKE_MAX);
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct strbuf text = {0};
    for (size_t i = 0; i < q->n_ids; i++)
        strbuf_printf(&text, "%s%llu", i ? ", " : "", (unsigned long long)q->ids[i]);
    struct revoking *r = xcalloc(1, sizeof *r);
    r->session = session_hold(session);
    r->m = session_keep_message(session);
    r->event = xprintf("token %s revoked by %s", text.text, session->user);
    free(text.text);
    r->request = (struct token_revoke){.ids = q->ids, .count = q->n_ids, .event = r->event, .time_ms = server_now_ms()};
    r->request.op.done = revoked;
    token_revoke_prepare(&r->request);
    server_queue(session->server, &r->request.op);
}
