// Sums over the ranks and gathering in device memory: see comm_device.h.
#include "core/comm/comm_device.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/comm/comm_impl.h"
#include "core/comm/deadline.h"
#include "core/comm/nccl_library.h"

enum { PIECE = COMM_DEVICE_PIECE };
#define ROLL_CALL_SECONDS 10.0   // in which the ranks must answer after a failure
#define YIELD_SECONDS     200e-6 // for so long a wait yields the core, then it sleeps between two looks
#define SLEEP_SECONDS     50e-6

enum way { WAY_OFF, WAY_ORDERED, WAY_BF16, WAY_FAST };

struct comm_device {
    struct comm *comm;
    struct backend *backend;
    struct stream *stream;
    struct nccl_library nccl;
    struct nccl_comm *channel;
    enum way way;
    float *incoming; // device [ranks, slot]: contributions to this rank's segment of a piece; what is gathered in parts
                     // of different lengths
    size_t slot;
    uint16_t *rounded, *arrived; // device [PIECE], [ranks, slot]: what travels as bf16
    uint64_t begun;              // collectives
    const char *doing;           // what is under way, for errors
    struct deadline *deadline;
    const char *(*before_failure)(void *context); // or NULL
    void *before_context;
    struct error failed;
};

// ---- waits --------------------------------------------------------------------------------------------------------

// How a wait spends its time; the pulse is told what it is for.
struct waiting {
    const struct comm_device *device;
    double began;
};

static struct waiting waiting_begin(const struct comm_device *d, const char *what)
{
    struct pulse *p = comm_pulse(d->comm);
    atomic_store_explicit(&p->waits_for, -1, memory_order_relaxed);
    atomic_store_explicit(&p->waits_more, 0, memory_order_relaxed);
    atomic_store_explicit(&p->waits, what, memory_order_release);
    return (struct waiting){d, clock_seconds()};
}

static void waiting_end(const struct waiting *w)
{
    struct pulse *p = comm_pulse(w->device->comm);
    atomic_store_explicit(&p->waits, NULL, memory_order_release);
    pulse_beat(p);
}

// The communicator's, or a shorter one that another thread has set.
static double bound_of_waits(const struct comm_device *d)
{
    int ms = atomic_load_explicit(&comm_pulse(d->comm)->patience_ms, memory_order_relaxed);
    double own = comm_timeout(d->comm);
    return ms > 0 && ms / 1e3 < own ? ms / 1e3 : own;
}

// A little of the time. Returns 1 once it is over.
static int waiting_spend(const struct waiting *w)
{
    double gone = clock_seconds() - w->began;
    atomic_fetch_add_explicit(&comm_pulse(w->device->comm)->polls, 1, memory_order_relaxed);
    comm_progress(w->device->comm);
    if (gone < YIELD_SECONDS)
        sched_yield();
    else
        clock_sleep(SLEEP_SECONDS);
    return gone > bound_of_waits(w->device);
}

// ---- failures -----------------------------------------------------------------------------------------------------

// Bounds of what follows a failure: no longer than waits are otherwise.
static double within_timeout(const struct comm_device *d, double seconds)
{
    double bound = bound_of_waits(d);
    return bound < seconds ? bound : seconds;
}

static const char *host_of(const struct comm_device *d, int rank)
{
    return comm_host(d->comm, rank);
}

// What a rank answers when it is called.
struct answer {
    uint64_t here; // ROLL_CALL: another collective's message may come in its place
    uint64_t begun;
};
#define ROLL_CALL UINT64_C(0x6c6c61436c6c6f52)

// Who is missing, elsewhere, or behind the others: asked over MPI, behind the sentence.
static void call_roll(struct comm_device *d, struct strbuf *text)
{
    int ranks = comm_size(d->comm), named = 0;
    struct answer mine = {ROLL_CALL, d->begun}, *all = xcalloc((size_t)ranks, sizeof *all);
    double timeout = comm_timeout(d->comm);
    uint64_t most = 0;
    struct error e;
    comm_set_timeout(d->comm, within_timeout(d, ROLL_CALL_SECONDS));
    if (comm_all_gather(d->comm, &mine, sizeof mine, all, &e)) {
        strbuf_printf(text, "; when the ranks were called, %s", e.text);
    } else {
        for (int r = 0; r < ranks; r++)
            most = all[r].begun > most ? all[r].begun : most;
        for (int r = 0; r < ranks; r++)
            if (all[r].here != ROLL_CALL)
                strbuf_printf(text, "%s rank %d on %s does something else", named++ ? "," : ";", r, host_of(d, r));
            else if (all[r].begun < most)
                strbuf_printf(text, "%s rank %d on %s has begun %llu of %llu collectives", named++ ? "," : ";", r,
                              host_of(d, r), (unsigned long long)all[r].begun, (unsigned long long)most);
        if (!named)
            strbuf_printf(text, "; all ranks are there and have begun the same %llu collectives",
                          (unsigned long long)most);
    }
    comm_set_timeout(d->comm, timeout);
    free(all);
}

static void abort_channel(struct comm_device *d)
{
    double seconds = within_timeout(d, COMM_DEVICE_LEAVE);
    if (!d->channel)
        return;
    deadline_set(d->deadline, seconds, ERR_TIMEOUT, "%s; and NCCL did not give up within %g s: leaving", d->failed.text,
                 seconds);
    d->nccl.comm_abort(d->channel);
    d->channel = NULL;
    deadline_clear(d->deadline);
}

// The end of this communicator. Returns -1 with *e.
static int give_up(struct comm_device *d, enum error_code code, const char *what, struct error *e)
{
    struct strbuf text = {0};
    if (d->failed.code == ERR_NONE) {
        if (d->begun) // else the ranks agree on whose failure it is
            strbuf_printf(&text, "rank %d on %s: ", comm_rank(d->comm), host_of(d, comm_rank(d->comm)));
        strbuf_printf(&text, "%s", what);
        const char *more = d->before_failure ? d->before_failure(d->before_context) : NULL;
        if (more)
            strbuf_printf(&text, "%s", more);
        error_set(&d->failed, code, "%s", text.text);
        deadline_set(d->deadline, ROLL_CALL_SECONDS + within_timeout(d, COMM_DEVICE_LEAVE), ERR_TIMEOUT,
                     "%s; and the other ranks do not answer: leaving", text.text);
        call_roll(d, &text);
        error_set(&d->failed, code, "%s", text.text);
        abort_channel(d);
        free(text.text);
    }
    if (e)
        *e = d->failed;
    return -1;
}

static int nccl_failed(struct comm_device *d, int rc, const char *doing, struct error *e)
{
    const char *last = d->nccl.get_last_error(d->channel);
    char *text = xprintf("NCCL failed in %s: %s%s%s", doing, d->nccl.get_error_string(rc), last && *last ? ": " : "",
                         last ? last : "");
    give_up(d, ERR_FAILED, text, e);
    free(text);
    return -1;
}

static int too_late(struct comm_device *d, const char *doing, struct error *e)
{
    char *text = xprintf("waited %g s in %s", bound_of_waits(d), doing);
    give_up(d, ERR_TIMEOUT, text, e);
    free(text);
    return -1;
}

// A call's result `rc`; one that goes on in the background is waited for.
static int settle(struct comm_device *d, int rc, const char *doing, struct error *e)
{
    struct waiting w = waiting_begin(d, doing);
    int late = 0;
    while (rc == NCCL_IN_PROGRESS && !late) {
        int state = NCCL_SUCCESS;
        int asked = d->nccl.comm_get_async_error(d->channel, &state);
        rc = asked != NCCL_SUCCESS ? asked : state;
        late = rc == NCCL_IN_PROGRESS && waiting_spend(&w);
    }
    waiting_end(&w);
    if (late)
        return too_late(d, doing, e);
    return rc == NCCL_SUCCESS ? 0 : nccl_failed(d, rc, doing, e);
}

// ---- sums ---------------------------------------------------------------------------------------------------------

// What travels: a piece and where the others' contributions to this rank's segment of it go.
struct cargo {
    char *data, *incoming; // device [count], [ranks, slot]
    size_t count, element;
    int type;
    int parts; // the segments are the ranks' parts (comm.h), else as even as can be
};

// Elements [from, to) of a cargo, which rank r adds up.
struct segment {
    size_t from, to;
};

static struct segment segment_of(const struct comm_device *d, const struct cargo *c, int r)
{
    int ranks = comm_size(d->comm);
    if (c->parts)
        return (struct segment){comm_part_start(c->count, COMM_PART_UNIT, ranks, r),
                                comm_part_start(c->count, COMM_PART_UNIT, ranks, r + 1)};
    return (struct segment){c->count * (size_t)r / (size_t)ranks, c->count * ((size_t)r + 1) / (size_t)ranks};
}

// Every rank gets the others' contributions to its segment.
static int exchange(struct comm_device *d, const struct cargo *c)
{
    void *stream = d->backend->op->native_stream(d->stream);
    int me = comm_rank(d->comm), rc = d->nccl.group_start();
    struct segment own = segment_of(d, c, me);
    for (int r = 0; r < comm_size(d->comm) && !rc; r++) {
        struct segment s = segment_of(d, c, r);
        if (r == me)
            continue;
        if (s.to > s.from)
            rc = d->nccl.send(c->data + s.from * c->element, s.to - s.from, c->type, r, d->channel, stream);
        if (!rc && own.to > own.from)
            rc = d->nccl.recv(c->incoming + (size_t)r * d->slot * c->element, own.to - own.from, c->type, r, d->channel,
                              stream);
    }
    int end = d->nccl.group_end();
    return settle(d, rc ? rc : end, "an exchange of gradients", NULL);
}

// Every rank gets the others' segments.
static int share(struct comm_device *d, const struct cargo *c)
{
    void *stream = d->backend->op->native_stream(d->stream);
    int me = comm_rank(d->comm), rc = d->nccl.group_start();
    struct segment own = segment_of(d, c, me);
    for (int r = 0; r < comm_size(d->comm) && !rc; r++) {
        struct segment s = segment_of(d, c, r);
        if (r == me)
            continue;
        if (own.to > own.from)
            rc = d->nccl.send(c->data + own.from * c->element, own.to - own.from, c->type, r, d->channel, stream);
        if (!rc && s.to > s.from)
            rc = d->nccl.recv(c->data + s.from * c->element, s.to - s.from, c->type, r, d->channel, stream);
    }
    int end = d->nccl.group_end();
    return settle(d, rc ? rc : end, "sharing sums of gradients", NULL);
}

// Puts this rank's contribution beside the others' and adds up: what `incoming` has, in fp32, to its segment of data.
static void add_up(struct comm_device *d, const struct cargo *c, float *data, float divisor)
{
    struct stream *s = d->stream;
    int me = comm_rank(d->comm);
    struct segment own = segment_of(d, c, me);
    size_t count = own.to - own.from;
    if (!count)
        return;
    s->op->copy(s, c->incoming + (size_t)me * d->slot * c->element, c->data + own.from * c->element,
                count * c->element);
    if (c->type == NCCL_BFLOAT16)
        queue(s, convert, .x = d->arrived, .y = d->incoming, .from = DTYPE_BF16, .to = DTYPE_F32,
              .count = (size_t)comm_size(d->comm) * d->slot);
    queue(s, sum_ranks, .parts = d->incoming, .stride = d->slot, .count = count, .ranks = comm_size(d->comm),
          .divisor = divisor, .out = data + own.from);
}

static void sum_ordered(struct comm_device *d, float *data, size_t count, float divisor, int parts)
{
    struct cargo c = {(char *)data, (char *)d->incoming, count, sizeof *data, NCCL_FLOAT, parts};
    if (exchange(d, &c))
        return;
    add_up(d, &c, data, divisor);
    if (!parts)
        share(d, &c);
}

static void sum_bf16(struct comm_device *d, float *data, size_t count, float divisor, int parts)
{
    struct cargo c = {(char *)d->rounded, (char *)d->arrived, count, sizeof *d->rounded, NCCL_BFLOAT16, parts};
    struct stream *s = d->stream;
    struct segment own = segment_of(d, &c, comm_rank(d->comm));
    queue(s, convert, .x = data, .y = d->rounded, .from = DTYPE_F32, .to = DTYPE_BF16, .count = count);
    if (exchange(d, &c))
        return;
    add_up(d, &c, data, divisor);
    if (own.to > own.from)
        queue(s, convert, .x = data + own.from, .y = d->rounded + own.from, .from = DTYPE_F32, .to = DTYPE_BF16,
              .count = own.to - own.from);
    // The own segment comes back from there too: whoever has a sum has the rounded one.
    if (parts)
        c.count = own.to;
    else if (share(d, &c))
        return;
    size_t from = parts ? own.from : 0;
    if (c.count > from)
        queue(s, convert, .x = d->rounded + from, .y = data + from, .from = DTYPE_BF16, .to = DTYPE_F32,
              .count = c.count - from);
}

static void sum_by_nccl(struct comm_device *d, float *data, size_t count, float divisor)
{
    struct stream *s = d->stream;
    int rc = d->nccl.all_reduce(data, data, count, NCCL_FLOAT, NCCL_SUM, d->channel, s->op->native_stream(s));
    if (!settle(d, rc, "a sum of gradients", NULL) && divisor != 1)
        queue(s, sum_ranks, .parts = data, .stride = count, .count = count, .ranks = 1, .divisor = divisor,
              .out = data);
}

// NCCL wants parts of one length: others are laid out with gaps, in memory of this file.
static void scatter_by_nccl(struct comm_device *d, float *data, size_t count)
{
    struct stream *s = d->stream;
    int me = comm_rank(d->comm), ranks = comm_size(d->comm);
    size_t each = comm_part_start(count, COMM_PART_UNIT, ranks, 1), start = each * (size_t)me;
    float *from = each * (size_t)ranks == count ? data : d->incoming;
    size_t end = comm_part_start(count, COMM_PART_UNIT, ranks, me + 1);
    if (from != data)
        s->op->copy(s, from, data, count * sizeof *data);
    int rc =
        d->nccl.reduce_scatter(from, from + start, each, NCCL_FLOAT, NCCL_SUM, d->channel, s->op->native_stream(s));
    if (!settle(d, rc, "a sum of gradients", NULL) && from != data && end > start)
        s->op->copy(s, data + start, from + start, (end - start) * sizeof *data);
}

static void sum_piece(struct comm_device *d, float *data, size_t count, float divisor)
{
    if (d->way == WAY_FAST)
        sum_by_nccl(d, data, count, divisor);
    else if (d->way == WAY_BF16)
        sum_bf16(d, data, count, divisor, 0);
    else
        sum_ordered(d, data, count, divisor, 0);
}

// Counts collectives that are to be queued. Returns -1 where there is nothing left to do.
static int begin(struct comm_device *d, uint64_t collectives)
{
    d->begun += collectives;
    double seconds = comm_timeout(d->comm) + ROLL_CALL_SECONDS + 2 * COMM_DEVICE_LEAVE;
    if (d->failed.code != ERR_NONE)
        return -1;
    // Against calls into the driver that never come back.
    deadline_set(d->deadline, seconds, ERR_TIMEOUT, "rank %d on %s: the device did not answer for %g s in %s: leaving",
                 comm_rank(d->comm), host_of(d, comm_rank(d->comm)), seconds, d->doing);
    return 0;
}

// One that follows what is queued on `after`.
static int begin_after(struct comm_device *d, struct stream *after)
{
    int rc = begin(d, 1);
    after->op->order(after, d->stream);
    return rc;
}

void comm_device_sum(struct comm_device *d, struct stream *after, float *data, size_t count, float divisor)
{
    if (begin_after(d, after))
        return;
    for (size_t at = 0; at < count && d->failed.code == ERR_NONE; at += PIECE)
        sum_piece(d, data + at, count - at < PIECE ? count - at : PIECE, divisor);
}

void comm_device_reduce_scatter(struct comm_device *d, struct stream *after, float *data, size_t count)
{
    assert(count <= PIECE);
    if (begin_after(d, after) || !count)
        return;
    if (d->way == WAY_FAST)
        scatter_by_nccl(d, data, count);
    else if (d->way == WAY_BF16)
        sum_bf16(d, data, count, 1, 1);
    else
        sum_ordered(d, data, count, 1, 1);
}

// ---- gathering ----------------------------------------------------------------------------------------------------

static size_t each_of(const struct comm_device *d, const struct comm_part *p)
{
    size_t units = (p->size + p->unit - 1) / p->unit, ranks = (size_t)comm_size(d->comm);
    return (units + ranks - 1) / ranks * p->unit;
}

static int gather_even(struct comm_device *d, char *data, size_t each)
{
    char *own = data + each * (size_t)comm_rank(d->comm);
    return d->nccl.all_gather(own, data, each, NCCL_INT8, d->channel, d->stream->op->native_stream(d->stream));
}

// Parts of one length; those of an array go out together.
static int gather_all_even(struct comm_device *d, const struct comm_part *parts, int count)
{
    int rc = d->nccl.group_start();
    for (int i = 0; i < count && !rc; i++)
        if (each_of(d, &parts[i]) * (size_t)comm_size(d->comm) == parts[i].size)
            rc = gather_even(d, parts[i].data, each_of(d, &parts[i]));
    int end = d->nccl.group_end();
    return settle(d, rc ? rc : end, "a gathering of weights", NULL);
}

// Parts of different lengths, laid out with gaps in memory of this file.
static int gather_uneven(struct comm_device *d, const struct comm_part *p)
{
    struct stream *s = d->stream;
    size_t each = each_of(d, p), start = comm_part_start(p->size, p->unit, comm_size(d->comm), comm_rank(d->comm));
    size_t end = comm_part_start(p->size, p->unit, comm_size(d->comm), comm_rank(d->comm) + 1);
    char *laid = (char *)d->incoming;
    assert(each <= d->slot * sizeof *d->incoming);
    s->op->copy(s, laid + start, (const char *)p->data + start, end - start);
    if (settle(d, gather_even(d, laid, each), "a gathering of weights", NULL))
        return -1;
    s->op->copy(s, p->data, laid, p->size);
    return 0;
}

void comm_device_all_gather(struct comm_device *d, struct stream *after, const struct comm_part *parts, int count)
{
    d->doing = "sums of gradients and a gathering of weights";
    int rc = begin_after(d, after) || gather_all_even(d, parts, count);
    for (int i = 0; i < count && !rc; i++)
        if (each_of(d, &parts[i]) * (size_t)comm_size(d->comm) != parts[i].size)
            rc = gather_uneven(d, &parts[i]);
}

// ---- waits for them -----------------------------------------------------------------------------------------------

void comm_device_join(struct comm_device *d, struct stream *s)
{
    d->stream->op->order(d->stream, s);
}

uint64_t comm_device_begun(const struct comm_device *d)
{
    return d->begun;
}

void comm_device_replay(struct comm_device *d, uint64_t sums)
{
    begin(d, sums);
}

void comm_device_before_failure(struct comm_device *d, const char *(*call)(void *context), void *context)
{
    d->before_failure = call;
    d->before_context = context;
}

int comm_device_failed(const struct comm_device *d, struct error *e)
{
    if (d->failed.code == ERR_NONE)
        return 0;
    *e = d->failed;
    return -1;
}

// 1: all is done; 0: not yet; -1: failed.
static int look(struct comm_device *d, struct stream *s, struct error *e)
{
    struct error trouble;
    int state = NCCL_SUCCESS, done = s->op->poll(s, &trouble);
    if (done < 0)
        return give_up(d, ERR_FAILED, trouble.text, e);
    if (done > 0)
        return 1;
    int rc = d->nccl.comm_get_async_error(d->channel, &state);
    if (rc == NCCL_SUCCESS && (state == NCCL_SUCCESS || state == NCCL_IN_PROGRESS))
        return 0;
    return nccl_failed(d, rc != NCCL_SUCCESS ? rc : state, d->doing, e);
}

int comm_device_wait(struct comm_device *d, struct stream *s, struct error *e)
{
    int done = 0, late = 0;
    if (d->failed.code != ERR_NONE)
        return give_up(d, d->failed.code, NULL, e);
    struct waiting w = waiting_begin(d, d->doing);
    while (!late && !(done = look(d, s, e)))
        late = waiting_spend(&w);
    waiting_end(&w);
    if (late)
        return too_late(d, d->doing, e);
    deadline_clear(d->deadline);
    return done > 0 ? 0 : -1;
}

// ---- opening and closing ------------------------------------------------------------------------------------------

static int way_wanted(enum way *way, struct error *e)
{
    const char *text = getenv("ISLR_NCCL");
    if (!text || !*text || !strcmp(text, "ordered"))
        *way = WAY_ORDERED;
    else if (!strcmp(text, "bf16"))
        *way = WAY_BF16;
    else if (!strcmp(text, "fast"))
        *way = WAY_FAST;
    else if (!strcmp(text, "off"))
        *way = WAY_OFF;
    else
        return error_set(e, ERR_INVALID, "ISLR_NCCL is '%s': it must be ordered, bf16, fast or off", text);
    return 0;
}

static int connect_ranks(struct comm_device *d, struct error *e)
{
    struct nccl_config config = {sizeof config, NCCL_CONFIG_MAGIC, NCCL_CONFIG_VERSION, .blocking = 0};
    struct nccl_id id = {{0}};
    int rc = comm_rank(d->comm) == 0 ? d->nccl.get_unique_id(&id) : NCCL_SUCCESS;
    if (rc != NCCL_SUCCESS)
        error_set(e, ERR_FAILED, "NCCL cannot begin: %s", d->nccl.get_error_string(rc));
    if (comm_agree(d->comm, rc != NCCL_SUCCESS, e) || comm_broadcast(d->comm, &id, sizeof id, 0, e))
        return -1;
    rc = d->nccl.comm_init_rank_config(&d->channel, comm_size(d->comm), id, comm_rank(d->comm), &config);
    return settle(d, rc, "building NCCL's communicator", e);
}

// Elements for one rank's segment of a piece, parts of whole units included.
static size_t slot_size(int ranks)
{
    return ((size_t)PIECE / COMM_PART_UNIT + (size_t)ranks - 1) / (size_t)ranks * COMM_PART_UNIT;
}

static int create(struct comm_device *d, struct error *e)
{
    const struct backend_ops *op = d->backend->op;
    size_t ranks = (size_t)comm_size(d->comm);
    d->slot = slot_size((int)ranks);
    if (!(d->stream = op->stream_create_urgent(d->backend, e)) ||
        !(d->incoming = op->allocate(d->backend, ranks * d->slot * sizeof *d->incoming, e)) ||
        (d->way == WAY_BF16 && (!(d->rounded = op->allocate(d->backend, PIECE * sizeof *d->rounded, e)) ||
                                !(d->arrived = op->allocate(d->backend, ranks * d->slot * sizeof *d->arrived, e)))))
        return error_prefix(e, "sums of gradients");
    return 0;
}

// Is there a stream that NCCL could use?
static int has_streams(struct backend *b)
{
    struct stream *s = b->op->stream_create(b, NULL);
    int has = s && b->op->native_stream(s);
    if (s)
        b->op->stream_destroy(s);
    return has;
}

// The least of what the ranks want, and the first reason for having none.
static int agree_on_way(struct comm *c, enum way *way, struct error *why, struct error *e)
{
    int *all = xcalloc((size_t)comm_size(c), sizeof *all), mine = *way,
        rc = comm_all_gather(c, &mine, sizeof mine, all, e);
    for (int r = 0; r < comm_size(c) && !rc; r++)
        if (all[r] < (int)*way) {
            *way = all[r];
            error_set(why, ERR_NOT_FOUND, "rank %d on %s does without it", r, comm_host(c, r));
        }
    free(all);
    return rc;
}

int comm_device_open(struct comm *c, struct backend *b, struct comm_device **out, char note[COMM_DEVICE_NOTE],
                     struct error *e)
{
    struct comm_device *d = xcalloc(1, sizeof *d);
    struct error why = {ERR_NONE, "ISLR_NCCL=off"};
    char version[NCCL_VERSION_SIZE];
    *out = NULL;
    note[0] = 0;
    d->comm = c;
    d->backend = b;
    d->doing = "a sum of gradients";
    int rc = comm_size(c) == 1 || !has_streams(b);
    if (rc) {
        free(d);
        return 0;
    }
    rc = comm_agree(c, way_wanted(&d->way, e), e);
    if (!rc && d->way != WAY_OFF && nccl_library_load(&d->nccl, &why))
        d->way = WAY_OFF;
    if (rc || agree_on_way(c, &d->way, &why, e) || d->way == WAY_OFF) {
        snprintf(note, COMM_DEVICE_NOTE, "gradients travel through host memory: no NCCL: %.160s", why.text);
        rc = rc || d->way != WAY_OFF ? -1 : 0;
        free(d);
        return rc;
    }
    d->deadline = deadline_create();
    if (comm_agree(c, create(d, e), e) || comm_agree(c, connect_ranks(d, e), e)) {
        struct error first = *e;
        comm_device_close(d);
        return error_set(e, first.code, "%s (ISLR_NCCL=off does without NCCL, through host memory)", first.text);
    }
    snprintf(note, COMM_DEVICE_NOTE, "gradients travel by %s%s", nccl_library_version(&d->nccl, version),
             d->way == WAY_FAST   ? ", which adds them up in its own order"
             : d->way == WAY_BF16 ? " as bf16"
                                  : "");
    *out = d;
    return 0;
}

void comm_device_close(struct comm_device *d)
{
    if (!d)
        return;
    if (d->channel && d->failed.code == ERR_NONE) {
        struct error ignored;
        if (!settle(d, d->nccl.comm_finalize(d->channel), "leaving NCCL's communicator", &ignored))
            d->nccl.comm_destroy(d->channel);
    } else {
        abort_channel(d);
    }
    void *const owned[] = {d->incoming, d->rounded, d->arrived};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i])
            d->backend->op->release(d->backend, owned[i]);
    if (d->stream)
        d->backend->op->stream_destroy(d->stream);
    deadline_destroy(d->deadline);
    free(d);
}

size_t comm_device_size(int ranks)
{
    size_t incoming = (size_t)ranks * slot_size(ranks);
    return ranks > 1 ? incoming * (sizeof(float) + sizeof(uint16_t)) + PIECE * sizeof(uint16_t) : 0;
}

int comm_device_library(char text[COMM_DEVICE_LIBRARY], struct error *e)
{
    struct nccl_library l;
    char version[NCCL_VERSION_SIZE];
    if (nccl_library_load(&l, e))
        return -1;
    snprintf(text, COMM_DEVICE_LIBRARY, "%s", nccl_library_version(&l, version) + strlen("NCCL "));
    return 0;
}
