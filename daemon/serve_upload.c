// Uploads of artifacts: see serve_upload.h. One upload does one thing at a time: asks the database, opens its part,
// writes a piece, publishes; the pieces that came meanwhile wait in line.
#include "daemon/serve_upload.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/store/artifact.h"
#include "core/store/artifact_row.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum { IDLE_MS = 60000 };
#define UPLOAD_MAX (1ull << 40) // bytes of one artifact

struct piece {
    struct piece *next;
    struct session *session; // held
    Islr__Envelope *m;       // the Put
};

struct upload {
    struct upload *next;
    struct server *server;
    struct hash hash;
    uint64_t run;
    uint64_t total, have;
    struct piece *pieces; // the first one is being dealt with while `busy`
    int busy;
    uint64_t idle_since;          // loop time
    struct artifact_upload *part; // NULL: not open
    uv_work_t work;
    int failed;
    struct error error;
    union {
        struct artifact_touch touch;
        struct artifact_add add;
    } request;
};

static void next_step(struct upload *u);

int upload_under_way(const struct server *s, const struct hash *hash)
{
    for (const struct upload *u = s->uploads.first; u; u = u->next)
        if (hash_equal(&u->hash, hash))
            return 1;
    return 0;
}

// ---- answers --------------------------------------------------------------------------------------------------------

static void drop_piece(struct upload *u)
{
    struct piece *p = u->pieces;
    u->pieces = p->next;
    p->session->puts_waiting--;
    session_free_message(p->session, p->m);
    session_drop(p->session);
    free(p);
}

static void answer(struct upload *u, int done)
{
    Islr__PutState state = ISLR__PUT_STATE__INIT;
    Islr__Envelope m = ENVELOPE(PUT_STATE, put_state, &state);
    state.has_have = state.has_done = 1;
    state.have = done ? u->total : u->have;
    state.done = done;
    session_reply(u->pieces->session, u->pieces->m->id, &m);
    drop_piece(u);
}

static void forget(struct upload *u)
{
    struct upload **at = &u->server->uploads.first;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    artifact_upload_suspend(u->part);
    free(u);
}

// Everybody who waits hears why; the part stays, unless its content was wrong.
static void fail(struct upload *u, const struct error *why)
{
    while (u->pieces) {
        session_reply_fault(u->pieces->session, u->pieces->m->id, why);
        drop_piece(u);
    }
    forget(u);
}

static void fail_total(struct upload *u)
{
    struct error e;
    error_set(&e, ERR_INVALID, "an artifact of that hash has %llu bytes, not %llu",
              (unsigned long long)u->request.touch.size, (unsigned long long)u->total);
    fail(u, &e);
}

static void complete(struct upload *u)
{
    while (u->pieces)
        answer(u, 1);
    forget(u);
}

// ---- steps ----------------------------------------------------------------------------------------------------------

static struct upload *upload_of(struct store_op *op)
{
    return (struct upload *)((char *)op - offsetof(struct upload, request));
}

static void open_part(uv_work_t *w)
{
    struct upload *u = w->data;
    u->part = artifact_upload_open(&u->server->artifacts, &u->hash, u->run, u->total, &u->error);
    u->failed = !u->part;
}

static void write_piece(uv_work_t *w)
{
    struct upload *u = w->data;
    const Islr__Put *put = u->pieces->m->put;
    u->failed = artifact_upload_write(u->part, put->offset, put->data.data, put->data.len, &u->error);
}

static void publish(uv_work_t *w)
{
    struct upload *u = w->data;
    u->failed = artifact_upload_commit(u->part, &u->error);
    u->part = NULL;
}

static void start_work(struct upload *u, uv_work_cb work, uv_after_work_cb after)
{
    u->busy = 1;
    u->work.data = u;
    u->server->pending++;
    uv_queue_work(u->server->loop, &u->work, work, after);
}

static void added(struct store_op *op)
{
    struct upload *u = upload_of(op);
    struct server *s = u->server;
    if (retry_later(s, op))
        return;
    u->busy = 0;
    if (op->status == STORE_DONE)
        complete(u);
    else
        fail(u, &u->request.add.op.error);
    server_settled(s);
}

static void published(uv_work_t *w, int status)
{
    struct upload *u = w->data;
    struct server *s = u->server;
    (void)status;
    if (u->failed) {
        u->busy = 0;
        fail(u, &u->error);
    } else {
        u->request.add =
            (struct artifact_add){.hash = u->hash, .size = u->total, .run = u->run, .time_ms = server_now_ms()};
        u->request.add.op.done = added;
        artifact_add_prepare(&u->request.add);
        server_queue(s, &u->request.add.op);
    }
    server_settled(s);
}

// The part was opened or a piece written. 1: goes on; 0: the upload is gone, or its last step is under way.
static int stepped(struct upload *u)
{
    u->busy = 0;
    if (u->failed) {
        fail(u, &u->error);
        return 0;
    }
    u->have = artifact_upload_have(u->part);
    if (u->have < u->total)
        return 1;
    start_work(u, publish, published);
    return 0;
}

static void opened(uv_work_t *w, int status)
{
    struct upload *u = w->data;
    struct server *s = u->server;
    (void)status;
    if (stepped(u))
        next_step(u);
    server_settled(s);
}

static void written(uv_work_t *w, int status)
{
    struct upload *u = w->data;
    struct server *s = u->server;
    (void)status;
    if (stepped(u)) {
        answer(u, 0);
        next_step(u);
    }
    server_settled(s);
}

static void asked(struct store_op *op)
{
    struct upload *u = upload_of(op);
    struct server *s = u->server;
    u->busy = 0;
    if (op->status != STORE_DONE)
        fail(u, &u->request.touch.op.error);
    else if (u->request.touch.exists && u->request.touch.size != u->total)
        fail_total(u);
    else if (u->request.touch.exists)
        complete(u);
    else
        start_work(u, open_part, opened);
    server_settled(s);
}

// Deals with the first piece in line.
static void next_step(struct upload *u)
{
    while (u->pieces && !u->pieces->m->put->data.len)
        answer(u, 0); // only asks how far it has got
    if (u->pieces)
        start_work(u, write_piece, written);
    else
        u->idle_since = uv_now(u->server->loop);
}

static void begin(struct upload *u)
{
    u->busy = 1;
    u->request.touch = (struct artifact_touch){.hash = u->hash, .run = u->run, .time_ms = server_now_ms()};
    u->request.touch.op.done = asked;
    artifact_touch_prepare(&u->request.touch);
    server_queue(u->server, &u->request.touch.op);
}

// ---- messages -------------------------------------------------------------------------------------------------------

// The run that it is for, 0: it is refused. Only the first rank of a gang uploads. What one whose run has just been taken
// from it still has on its way is not held against it.
static uint64_t find_run(struct session *session, const Islr__Envelope *m)
{
    struct worker *w = session->worker;
    struct error e;
    if (!w)
        return 0; // its connection is closing
    const struct run *r = worker_reports_on(w);
    if (r)
        return r->id;
    error_set(&e, w->has_reported ? ERR_NOT_FOUND : ERR_DENIED,
              "rank %u of world %.8s is not the first rank of a run: it has nothing to upload", w->rank,
              w->world->name);
    if (w->has_reported)
        session_reply_fault(session, m->id, &e);
    else
        session_refuse(session, m, &e);
    return 0;
}

static int check(const Islr__Put *q, const struct upload *u, struct error *e)
{
    if (q->sha256.len != sizeof u->hash.bytes)
        return error_set(e, ERR_INVALID, "an upload names its content by a SHA-256 of 32 bytes");
    if (q->total > UPLOAD_MAX)
        return error_set(e, ERR_INVALID, "an upload of %llu bytes is too large", (unsigned long long)q->total);
    if (q->data.len > RPC_CHUNK_MAX)
        return error_set(e, ERR_INVALID, "a piece of an upload has at most %u bytes", RPC_CHUNK_MAX);
    if (u && u->total != q->total)
        return error_set(e, ERR_INVALID, "an upload of %llu bytes is under way, now it is said to have %llu",
                         (unsigned long long)u->total, (unsigned long long)q->total);
    return 0;
}

static struct upload *find(struct server *s, const Islr__Put *q, uint64_t run)
{
    struct upload *u = s->uploads.first;
    while (u && (u->run != run || q->sha256.len != sizeof u->hash.bytes ||
                 memcmp(u->hash.bytes, q->sha256.data, q->sha256.len)))
        u = u->next;
    return u;
}

static struct upload *add(struct server *s, const Islr__Put *q, uint64_t run)
{
    struct upload *u = xcalloc(1, sizeof *u);
    u->server = s;
    u->run = run;
    memcpy(u->hash.bytes, q->sha256.data, sizeof u->hash.bytes);
    u->total = q->total;
    u->next = s->uploads.first;
    s->uploads.first = u;
    return u;
}

void handle_put(struct session *session, Islr__Envelope *m)
{
    struct server *s = session->server;
    struct error e;
    uint64_t run = find_run(session, m);
    if (!run)
        return;
    struct upload *u = find(s, m->put, run);
    if (check(m->put, u, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    int fresh = !u;
    if (fresh)
        u = add(s, m->put, run);
    struct piece *p = xcalloc(1, sizeof *p), **last = &u->pieces;
    p->session = session_hold(session);
    p->m = session_keep_message(session);
    while (*last)
        last = &(*last)->next;
    *last = p;
    session->puts_waiting++;
    session_throttle(session);
    if (fresh)
        begin(u);
    else if (!u->busy)
        next_step(u);
}

void uploads_tick(struct server *s)
{
    for (struct upload *u = s->uploads.first, *next; u; u = next) {
        next = u->next;
        if (!u->busy && uv_now(s->loop) - u->idle_since > IDLE_MS)
            forget(u);
    }
}

void uploads_close(struct server *s)
{
    while (s->uploads.first)
        forget(s->uploads.first);
}
