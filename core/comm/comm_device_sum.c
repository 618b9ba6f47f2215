// Sums over the ranks and gathering, queued in device memory: see comm_device.h.
#include <assert.h>

#include "core/comm/comm_device_impl.h"

enum { PIECE = COMM_DEVICE_PIECE };

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

// NCCL is kept out of a recording that has failed: it would fail too, and for good, where the step itself can be queued
// again.
static int keep_out(const struct comm_device *d)
{
    const struct backend_ops *op = d->stream->op;
    return op->record_stands && !op->record_stands(d->stream);
}

// Every rank gets the others' contributions to its segment.
static int exchange(struct comm_device *d, const struct cargo *c)
{
    if (keep_out(d))
        return -1;
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
    return comm_device_settle(d, rc ? rc : end, "an exchange of gradients", NULL);
}

// Every rank gets the others' segments.
static int share(struct comm_device *d, const struct cargo *c)
{
    if (keep_out(d))
        return -1;
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
    return comm_device_settle(d, rc ? rc : end, "sharing sums of gradients", NULL);
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
    if (keep_out(d))
        return;
    int rc = d->nccl.all_reduce(data, data, count, NCCL_FLOAT, NCCL_SUM, d->channel, s->op->native_stream(s));
    if (!comm_device_settle(d, rc, "a sum of gradients", NULL) && divisor != 1)
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
    if (keep_out(d))
        return;
    int rc =
        d->nccl.reduce_scatter(from, from + start, each, NCCL_FLOAT, NCCL_SUM, d->channel, s->op->native_stream(s));
    if (!comm_device_settle(d, rc, "a sum of gradients", NULL) && from != data && end > start)
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

// One that follows what is queued on `after`.
static int begin_after(struct comm_device *d, struct stream *after)
{
    int rc = comm_device_begin(d, 1);
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
    if (keep_out(d))
        return -1;
    int rc = d->nccl.group_start();
    for (int i = 0; i < count && !rc; i++)
        if (each_of(d, &parts[i]) * (size_t)comm_size(d->comm) == parts[i].size)
            rc = gather_even(d, parts[i].data, each_of(d, &parts[i]));
    int end = d->nccl.group_end();
    return comm_device_settle(d, rc ? rc : end, "a gathering of weights", NULL);
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
    if (keep_out(d))
        return -1;
    if (comm_device_settle(d, gather_even(d, laid, each), "a gathering of weights", NULL))
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
