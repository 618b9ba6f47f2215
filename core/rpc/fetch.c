// An artifact's bytes in order: see fetch.h.
#include "core/rpc/fetch.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"

enum { WINDOW = 8 }; // requests under way

// One request; its answer is kept until those before it have come.
struct slot {
    struct fetch *fetch;
    uint64_t id; // 0: free
    uint64_t offset;
    Islr__Envelope *answer;
};

struct fetch {
    struct peer *peer;
    struct fetch_range range;
    uint64_t asked; // offset of the next request
    uint64_t given; // bytes before this offset have been handed out
    struct fetch_events events;
    void *context;
    struct slot slots[WINDOW]; // the one of offset o is number (o / RPC_CHUNK_MAX) % WINDOW, counted from the range
};

static struct slot *slot_of(struct fetch *f, uint64_t offset)
{
    return &f->slots[(offset - f->range.offset) / RPC_CHUNK_MAX % WINDOW];
}

static uint32_t length_at(const struct fetch *f, uint64_t offset)
{
    return f->range.size - offset < RPC_CHUNK_MAX ? (uint32_t)(f->range.size - offset) : RPC_CHUNK_MAX;
}

static void release(struct fetch *f)
{
    for (int i = 0; i < WINDOW; i++) {
        if (f->slots[i].id)
            peer_forget(f->peer, f->slots[i].id);
        envelope_free(f->slots[i].answer);
    }
    free(f);
}

static void end(struct fetch *f, const struct error *why)
{
    struct error copy = *why;
    struct fetch_events events = f->events;
    void *context = f->context;
    release(f);
    events.on_end(context, &copy);
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why);

static int ask(struct fetch *f, struct error *e)
{
    while (f->asked < f->range.size && f->asked < f->given + (uint64_t)WINDOW * RPC_CHUNK_MAX) {
        struct slot *s = slot_of(f, f->asked);
        Islr__Fetch fetch = ISLR__FETCH__INIT;
        fetch.has_sha256 = fetch.has_offset = fetch.has_size = 1;
        fetch.sha256 = (ProtobufCBinaryData){sizeof f->range.sha256.bytes, f->range.sha256.bytes};
        fetch.offset = f->asked;
        fetch.size = length_at(f, f->asked);
        fetch.as = (Islr__ReadAs *)f->range.as;
        Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
        s->fetch = f;
        s->offset = f->asked;
        s->id = peer_request(f->peer, &m, RPC_CALL_MS, answered, s, e);
        if (!s->id)
            return -1;
        f->asked += fetch.size;
    }
    return 0;
}

static int check(const struct fetch *f, uint64_t offset, const Islr__Envelope *m, struct error *e)
{
    if (m->body_case != ISLR__ENVELOPE__BODY_CHUNK)
        return error_set(e, ERR_DAMAGED, "the server answered fetch with %s", envelope_name(m));
    const Islr__Chunk *c = m->chunk;
    if (c->offset != offset || c->total != f->range.size || c->data.len != length_at(f, offset))
        return error_set(e, ERR_DAMAGED, "the server sent %zu bytes at %llu of %llu; asked for were %u at %llu of %llu",
                         c->data.len, (unsigned long long)c->offset, (unsigned long long)c->total, length_at(f, offset),
                         (unsigned long long)offset, (unsigned long long)f->range.size);
    return 0;
}

// Hands out what has come without a gap.
static int give(struct fetch *f, struct error *e)
{
    while (f->given < f->range.size && slot_of(f, f->given)->answer) {
        struct slot *s = slot_of(f, f->given);
        Islr__Envelope *m = s->answer;
        s->answer = NULL;
        f->given += m->chunk->data.len;
        int rc = f->events.on_data(f->context, m->chunk->data.data, m->chunk->data.len, e);
        envelope_free(m);
        if (rc)
            return -1;
    }
    return 0;
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct slot *s = context;
    struct fetch *f = s->fetch;
    struct error e = {ERR_NONE, ""};
    s->id = 0;
    if (!m) {
        end(f, why);
        return;
    }
    if (!check(f, s->offset, m, &e)) {
        s->answer = peer_keep_message(p);
        if (!give(f, &e) && !ask(f, &e) && f->given < f->range.size)
            return;
    }
    end(f, &e);
}

struct fetch *fetch_start(struct peer *p, const struct fetch_range *range, const struct fetch_events *events,
                          void *context, struct error *e)
{
    struct fetch *f = xcalloc(1, sizeof *f);
    f->peer = p;
    f->range = *range;
    f->asked = f->given = range->offset;
    f->events = *events;
    f->context = context;
    if (ask(f, e)) {
        release(f);
        return NULL;
    }
    return f;
}

void fetch_cancel(struct fetch *f)
{
    release(f);
}
