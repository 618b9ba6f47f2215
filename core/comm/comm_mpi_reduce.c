// What runs beside a computation over the ranks of an MPI communicator, several under way at once: sums, sums of which
// each rank gets its part, gathering of such parts.
//
// A begun sum is cut into pieces. Of a piece every rank owns one segment: it gets the other ranks' contributions to it,
// adds them up in rank order and sends the result to all (reduce-scatter and all-gather, every pair directly; each rank
// sends and receives 2(n-1)/n of the data, the least that is possible). Every element is the sum over ranks 0, 1, 2, ..
// in double, so where pieces and segments begin has no influence on the result. MPI's own reductions promise no order.
// Where each rank has a part (comm.h), a piece is a slice of every rank's part, which is that rank's segment: summing
// is the first half of that way, gathering the second.
//
// Even an empty segment's contribution or result is sent: a rank from which it is missing has not arrived.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/comm/comm_mpi.h"

#define PIECE_BYTES ((size_t)4 << 20) // small enough that adding one does not hold up the computation for long
#define PIECES_MAX  4                 // under way at once: one is added up while others travel

enum phase { PHASE_CONTRIBUTE, PHASE_RESULT };

struct piece {
    struct reduction *owner;
    struct comm_task task; // data NULL: free
    size_t slice;          // of the ranks' parts: its first element
    int tag;
    int missing;    // contributions to this rank's segment that are not here yet
    char *incoming; // [ranks, slot] the others' contributions; slot: the largest segment's size
    struct messages messages;
};

struct begun { // a piece that waits for its turn
    struct comm_task task;
    size_t slice;
    int tag;
};

struct reduction {
    struct comm_mpi *comm;
    struct piece piece[PIECES_MAX];
    size_t slot;         // bytes for one contribution
    struct begun *queue; // queue[head .. tail)
    size_t head, tail, capacity;
    int active; // pieces under way
};

static size_t type_size(enum comm_type type)
{
    return type == COMM_F32 ? sizeof(float) : type == COMM_F64 ? sizeof(double) : 1;
}

// Elements [from, to) of the task's data: rank r's segment.
struct segment {
    size_t from, to;
};

static struct segment segment_of(const struct piece *p, int r)
{
    const struct comm_task *t = &p->task;
    size_t ranks = (size_t)p->owner->comm->base.size, slice = p->owner->slot / type_size(t->type);
    if (t->kind == COMM_SUM)
        return (struct segment){t->count * (size_t)r / ranks, t->count * ((size_t)r + 1) / ranks};
    size_t end = comm_part_start(t->count, t->unit, (int)ranks, r + 1);
    size_t from = comm_part_start(t->count, t->unit, (int)ranks, r) + p->slice, to = from + slice;
    return (struct segment){from < end ? from : end, to < end ? to : end};
}

static char *segment_data(const struct piece *p, int r)
{
    return p->task.data + segment_of(p, r).from * type_size(p->task.type);
}

static size_t segment_bytes(const struct piece *p, int r)
{
    struct segment s = segment_of(p, r);
    return (s.to - s.from) * type_size(p->task.type);
}

// Adds up this rank's segment, a block that stays in the first cache at a time.
static void add_segment(struct piece *p)
{
    enum { BLOCK = 512 };
    const struct comm *c = &p->owner->comm->base;
    char *own = segment_data(p, c->rank);
    size_t count = segment_bytes(p, c->rank) / type_size(p->task.type);
    double sum[BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t n = count - start < BLOCK ? count - start : BLOCK;
        memset(sum, 0, sizeof sum);
        for (int r = 0; r < c->size; r++) {
            const char *from = r == c->rank ? own : p->incoming + (size_t)r * p->owner->slot;
            if (p->task.type == COMM_F32)
                for (size_t i = 0; i < n; i++)
                    sum[i] += (double)((const float *)from)[start + i];
            else
                for (size_t i = 0; i < n; i++)
                    sum[i] += ((const double *)from)[start + i];
        }
        if (p->task.type == COMM_F32)
            for (size_t i = 0; i < n; i++)
                ((float *)own)[start + i] = (float)sum[i];
        else
            memcpy((double *)own + start, sum, n * sizeof *sum);
    }
}

static int share_segment(struct piece *p, struct error *e)
{
    const struct comm *c = &p->owner->comm->base;
    for (int r = 0; r < c->size; r++)
        if (r != c->rank && messages_send(&p->messages, segment_data(p, c->rank), segment_bytes(p, c->rank), r,
                                          PHASE_RESULT, p->tag + PHASE_RESULT, e))
            return -1;
    return 0;
}

// A segment's result may come into its place only after this rank's contribution has left it.
static int piece_moved(void *context, const struct message *m, struct error *e)
{
    struct piece *p = context;
    int shared = p->task.kind == COMM_SUM;
    if (shared && m->phase == PHASE_CONTRIBUTE && m->direction == MESSAGE_SEND)
        return messages_receive(&p->messages, segment_data(p, m->peer), segment_bytes(p, m->peer), m->peer,
                                PHASE_RESULT, p->tag + PHASE_RESULT, e);
    if (m->phase != PHASE_CONTRIBUTE || m->direction != MESSAGE_RECEIVE || --p->missing)
        return 0;
    add_segment(p);
    return shared ? share_segment(p, e) : 0;
}

// The gathering of parts.
static int start_gathering(struct piece *p, struct error *e)
{
    const struct comm *c = &p->owner->comm->base;
    for (int r = 0; r < c->size; r++)
        if (r != c->rank && messages_receive(&p->messages, segment_data(p, r), segment_bytes(p, r), r, PHASE_RESULT,
                                             p->tag + PHASE_RESULT, e))
            return -1;
    return share_segment(p, e);
}

static int start_summing(struct piece *p, struct error *e)
{
    struct reduction *r = p->owner;
    const struct comm *c = &r->comm->base;
    if (!p->incoming)
        p->incoming = xmalloc((size_t)c->size * r->slot);
    p->missing = c->size - 1;
    for (int peer = 0; peer < c->size; peer++)
        if (peer != c->rank && messages_receive(&p->messages, p->incoming + (size_t)peer * r->slot,
                                                segment_bytes(p, c->rank), peer, PHASE_CONTRIBUTE, p->tag, e))
            return -1;
    for (int k = 1; k < c->size; k++) { // not all at the lowest rank first
        int peer = (c->rank + k) % c->size;
        if (messages_send(&p->messages, segment_data(p, peer), segment_bytes(p, peer), peer, PHASE_CONTRIBUTE, p->tag,
                          e))
            return -1;
    }
    return 0;
}

static int start_piece(struct piece *p, const struct begun *b, struct error *e)
{
    p->task = b->task;
    p->slice = b->slice;
    p->tag = b->tag;
    p->owner->active++;
    return b->task.kind == COMM_ALL_GATHER ? start_gathering(p, e) : start_summing(p, e);
}

// Moves all pieces on; returns how many messages were completed, or -1.
static int move_pieces(struct reduction *r, struct error *e)
{
    int moved = 0;
    for (int i = 0; i < PIECES_MAX; i++) {
        struct piece *p = &r->piece[i];
        if (p->task.data) {
            int n = messages_poll(&p->messages, piece_moved, p, e);
            if (n < 0)
                return -1;
            moved += n;
            if (p->messages.open == 0) {
                messages_reset(&p->messages);
                p->task.data = NULL;
                r->active--;
            }
        }
        if (!p->task.data && r->head < r->tail) {
            if (start_piece(p, &r->queue[r->head++], e))
                return -1;
            moved++;
        }
    }
    if (r->head == r->tail)
        r->head = r->tail = 0;
    return moved;
}

struct reduction *reduction_create(struct comm_mpi *c)
{
    struct reduction *r = xcalloc(1, sizeof *r);
    r->comm = c;
    size_t ranks = (size_t)c->base.size;
    r->slot = (PIECE_BYTES / sizeof(double) + ranks - 1) / ranks * sizeof(double);
    for (int i = 0; i < PIECES_MAX; i++) {
        r->piece[i].owner = r;
        r->piece[i].messages = (struct messages){.comm = c, .channel = c->channel};
    }
    return r;
}

void reduction_destroy(struct reduction *r)
{
    assert(r->comm->world->broken || (r->active == 0 && r->head == r->tail));
    for (int i = 0; i < PIECES_MAX; i++) {
        free(r->piece[i].incoming);
        messages_free(&r->piece[i].messages);
    }
    free(r->queue);
    free(r);
}

static void add_begun(struct comm_mpi *c, struct comm_task t, size_t slice)
{
    struct reduction *r = c->reduction;
    if (r->tail == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->queue = xrealloc(r->queue, r->capacity, sizeof *r->queue);
    }
    r->queue[r->tail++] = (struct begun){t, slice, comm_mpi_next_tag(c)};
}

void comm_mpi_begin(struct comm *base, const struct comm_task *t)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    size_t step = PIECE_BYTES / type_size(t->type), slice = c->reduction->slot / type_size(t->type);
    size_t most = t->kind == COMM_SUM ? 0 : comm_part_start(t->count, t->unit, base->size, 1);
    for (size_t at = 0; t->kind == COMM_SUM && at < t->count; at += step) {
        struct comm_task piece = *t;
        piece.data += at * type_size(t->type);
        piece.count = t->count - at < step ? t->count - at : step;
        add_begun(c, piece, 0);
    }
    for (size_t at = 0; at < most; at += slice) // the first rank's part is the longest
        add_begun(c, *t, at);
    comm_mpi_progress(base);
}

// What is under way, for errors and for those who look at a wait.
static const char *name_of(const struct reduction *r)
{
    for (int i = 0; i < PIECES_MAX; i++)
        if (r->piece[i].task.data && r->piece[i].task.kind != COMM_ALL_GATHER)
            return "a sum";
    return "a gathering";
}

void comm_mpi_progress(struct comm *base)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    struct reduction *r = c->reduction;
    struct error e;
    if (c->world->broken || (r->active == 0 && r->head == r->tail))
        return;
    if (move_pieces(r, &e) < 0) {
        error_prefix(&e, "%s", name_of(r));
        comm_mpi_break(c, &e);
    }
}

int comm_mpi_wait(struct comm *base, struct error *e)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    struct reduction *r = c->reduction;
    const struct messages *sets[PIECES_MAX];
    struct patience patience = {.comm = c, .sets = sets, .count = PIECES_MAX, .what = name_of(r)};
    for (int i = 0; i < PIECES_MAX; i++)
        sets[i] = &r->piece[i].messages;
    patience_start(&patience);
    while (comm_mpi_check(c, e) == 0 && (r->active || r->head < r->tail)) {
        struct error trouble;
        int moved = move_pieces(r, &trouble);
        if (moved < 0) {
            error_prefix(&trouble, "%s", patience.what);
            comm_mpi_break(c, &trouble);
        } else if (patience_spend(&patience, moved, &trouble))
            comm_mpi_break(c, &trouble);
    }
    patience_end(&patience);
    return comm_mpi_check(c, e);
}
