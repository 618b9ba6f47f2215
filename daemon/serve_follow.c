// Following a run: see serve_follow.h.
#include "daemon/serve_follow.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/store/record_read.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum {
    PAGE_BYTES = 512 << 10,
    PROGRESS_MS = 1000 // at most one a follower in so long
};

struct follower {
    struct follower *next;   // of its bucket
    struct session *session; // its connection is there as long as the follower is
    uint64_t id;             // of the request
    uint64_t run;
    uint64_t after_seq;
    int logs, metrics, keep, progress;
    int reading;          // a piece is being read
    int wanted;           // something has been committed since that piece was asked for
    int gone;             // forgotten while a piece was being read
    uint64_t progress_at; // loop time of the last one
    Islr__Progress *held; // a newer one that waits for its second
};

static struct follower **bucket(struct server *s, uint64_t run)
{
    return &s->follows.by_run[run % FOLLOW_BUCKETS];
}

static void free_follower(struct follower *f)
{
    if (f->held)
        islr__progress__free_unpacked(f->held, NULL);
    f->session->follows--;
    session_drop_standing(f->session);
    free(f);
}

// Takes it out of the list. It is freed now, or when the piece under way has been read.
static void forget(struct server *s, struct follower *f)
{
    struct follower **at = bucket(s, f->run);
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->gone = 1;
    if (!f->reading)
        free_follower(f);
}

// ---- feeding --------------------------------------------------------------------------------------------------------

struct piece {
    struct read_job job;
    struct follower *follower;
    struct record_query query;
    struct record_page page;
};

static void feed(struct server *s, struct follower *f);

static int read_piece(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct piece *p = (struct piece *)job;
    return record_read(reader, &p->query, &job->pool, &p->page, e);
}

static void send_records(struct follower *f, const struct record_page *page)
{
    if (!page->count)
        return;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    records.has_run = 1;
    records.run = f->run;
    records.records = page->records;
    records.n_records = page->count;
    session_reply(f->session, f->id, &m);
}

static void send_end(struct follower *f, const struct record_page *page)
{
    Islr__FollowEnd end = ISLR__FOLLOW_END__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW_END, follow_end, &end);
    end.has_run = end.has_last_seq = end.has_state = 1;
    end.run = f->run;
    end.last_seq = page->last_seq;
    end.state = page->state;
    end.reason = page->reason;
    session_reply(f->session, f->id, &m);
}

static void piece_done(struct read_job *job)
{
    struct piece *p = (struct piece *)job;
    struct follower *f = p->follower;
    struct server *s = job->base.server;
    f->reading = 0;
    if (f->gone) {
        free_follower(f);
        return;
    }
    if (job->failed) {
        session_reply_fault(f->session, f->id, &job->error);
        forget(s, f);
        return;
    }
    f->after_seq = p->page.reached;
    send_records(f, &p->page);
    if (!p->page.more && (!f->keep || run_state_ended(p->page.state))) {
        send_end(f, &p->page);
        forget(s, f);
        return;
    }
    f->wanted |= p->page.more;
    feed(s, f);
}

// Reads the next piece, if there is one and its connection has room.
static void feed(struct server *s, struct follower *f)
{
    if (f->reading || !f->wanted || s->stopping || peer_is_full(f->session->peer))
        return;
    struct piece *p = read_job_new_for(f->session, sizeof *p);
    f->reading = 1;
    f->wanted = 0;
    p->follower = f;
    p->query = (struct record_query){f->run, f->after_seq, f->logs, f->metrics, PAGE_BYTES};
    p->job.read = read_piece;
    p->job.done = piece_done;
    read_job_start_on(&p->job, &f->run, 1);
}

void follow_wake(struct server *s, uint64_t run)
{
    for (struct follower *f = *bucket(s, run), *next; f; f = next) {
        next = f->next;
        if (f->run != run)
            continue;
        f->wanted = 1;
        feed(s, f);
    }
}

// ---- progress -------------------------------------------------------------------------------------------------------

static void send_progress(struct follower *f, const Islr__Progress *p)
{
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, (Islr__Progress *)p);
    f->progress_at = uv_now(f->session->server->loop);
    session_reply(f->session, f->id, &m);
}

static void hold_progress(struct follower *f, const Islr__Progress *p)
{
    uint8_t bytes[1024];
    size_t size = islr__progress__get_packed_size(p);
    if (size > sizeof bytes)
        return;
    islr__progress__pack(p, bytes);
    if (f->held)
        islr__progress__free_unpacked(f->held, NULL);
    f->held = islr__progress__unpack(NULL, size, bytes);
}

static int progress_is_due(const struct server *s, const struct follower *f)
{
    return uv_now(s->loop) - f->progress_at >= PROGRESS_MS && !peer_is_full(f->session->peer);
}

void follow_progress(struct server *s, uint64_t run, const Islr__Progress *p)
{
    for (struct follower *f = *bucket(s, run); f; f = f->next) {
        if (f->run != run || !f->progress)
            continue;
        if (progress_is_due(s, f))
            send_progress(f, p);
        else
            hold_progress(f, p);
    }
}

int follow_wants_progress(const struct server *s, uint64_t run)
{
    const struct follower *f = s->follows.by_run[run % FOLLOW_BUCKETS];
    while (f && (f->run != run || !f->progress))
        f = f->next;
    return f != NULL;
}

void follow_tick(struct server *s)
{
    for (int i = 0; i < FOLLOW_BUCKETS; i++) {
        for (struct follower *f = s->follows.by_run[i]; f; f = f->next) {
            if (!f->held || !progress_is_due(s, f))
                continue;
            send_progress(f, f->held);
            islr__progress__free_unpacked(f->held, NULL);
            f->held = NULL;
        }
    }
}

// ---- connections ----------------------------------------------------------------------------------------------------

// Followers of one connection are few, and this is rare: all lists are gone through.
static void each_of(struct session *session, void (*act)(struct server *s, struct follower *f))
{
    struct server *s = session->server;
    for (int i = 0; i < FOLLOW_BUCKETS; i++) {
        for (struct follower *f = s->follows.by_run[i], *next; f; f = next) {
            next = f->next;
            if (f->session == session)
                act(s, f);
        }
    }
}

void follow_drained(struct session *session)
{
    each_of(session, feed);
}

void follow_forget(struct session *session)
{
    each_of(session, forget);
}

void handle_follow(struct session *session, Islr__Envelope *m)
{
    const Islr__Follow *q = m->follow;
    struct server *s = session->server;
    struct error e;
    if (session->follows == RPC_FOLLOWS_MAX) {
        error_set(&e, ERR_INVALID, "one connection follows at most %d runs", RPC_FOLLOWS_MAX);
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct follower *f = xcalloc(1, sizeof *f);
    session->follows++;
    f->session = session_hold_standing(session);
    f->id = m->id;
    f->run = q->run;
    f->after_seq = q->after_seq;
    f->logs = q->logs;
    f->metrics = q->metrics;
    f->keep = q->keep;
    f->progress = q->progress;
    f->wanted = 1;
    f->next = *bucket(s, f->run);
    *bucket(s, f->run) = f;
    feed(s, f);
}
