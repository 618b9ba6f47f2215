// Sums over the ranks of an MPI communicator, several under way at once.
//
// A begun sum is cut into pieces. Of a piece every rank owns one segment: it gets the other ranks' contributions to it,
// adds them up in rank order and sends the result to all (reduce-scatter and all-gather, every pair directly; each rank
// sends and receives 2(n-1)/n of the data, the least that is possible). Every element is the sum over ranks 0, 1, 2, ..
// in double, so where pieces and segments begin has no influence on the result. MPI's own reductions promise no order.
//
// Even an empty segment's contribution is sent: a rank whose contribution is missing has not arrived.
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
    char *data; // NULL: free
    size_t count;
    enum comm_type type;
    int tag;
    int missing;    // contributions to this rank's segment that are not here yet
    char *incoming; // [ranks, slot] the others' contributions; slot: the largest segment's size
    struct messages messages;
};

struct begun { // a piece that waits for its turn
    char *data;
    size_t count;
    enum comm_type type;
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
    return type == COMM_F32 ? sizeof(float) : sizeof(double);
}

// First element of rank r's segment; that of rank `size` is the end.
static size_t segment_start(const struct piece *p, int r)
{
    return p->count * (size_t)r / (size_t)p->owner->comm->base.size;
}

static char *segment_data(const struct piece *p, int r)
{
    return p->data + segment_start(p, r) * type_size(p->type);
}

static size_t segment_bytes(const struct piece *p, int r)
{
    return (segment_start(p, r + 1) - segment_start(p, r)) * type_size(p->type);
}

// Adds up this rank's segment, a block that stays in the first cache at a time.
static void add_segment(struct piece *p)
{
    enum { BLOCK = 512 };
    const struct comm *c = &p->owner->comm->base;
    char *own = segment_data(p, c->rank);
    size_t count = segment_bytes(p, c->rank) / type_size(p->type);
    double sum[BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t n = count - start < BLOCK ? count - start : BLOCK;
        memset(sum, 0, sizeof sum);
        for (int r = 0; r < c->size; r++) {
            const char *from = r == c->rank ? own : p->incoming + (size_t)r * p->owner->slot;
            if (p->type == COMM_F32)
                for (size_t i = 0; i < n; i++)
                    sum[i] += (double)((const float *)from)[start + i];
            else
                for (size_t i = 0; i < n; i++)
                    sum[i] += ((const double *)from)[start + i];
        }
        if (p->type == COMM_F32)
            for (size_t i = 0; i < n; i++)
                ((float *)own)[start + i] = (float)sum[i];
        else
            memcpy((double *)own + start, sum, n * sizeof *sum);
    }
}

static int share_segment(struct piece *p, struct error *e)
{
    const struct comm *c = &p->owner->comm->base;
    add_segment(p);
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
    if (m->phase == PHASE_CONTRIBUTE && m->direction == MESSAGE_SEND)
        return messages_receive(&p->messages, segment_data(p, m->peer), segment_bytes(p, m->peer), m->peer,
                                PHASE_RESULT, p->tag + PHASE_RESULT, e);
    if (m->phase == PHASE_CONTRIBUTE && --p->missing == 0)
        return share_segment(p, e);
    return 0;
}

static int start_piece(struct piece *p, const struct begun *b, struct error *e)
{
    struct reduction *r = p->owner;
    const struct comm *c = &r->comm->base;
    if (!p->incoming)
        p->incoming = xmalloc((size_t)c->size * r->slot);
    p->data = b->data;
    p->count = b->count;
    p->type = b->type;
    p->tag = b->tag;
    p->missing = c->size - 1;
    r->active++;
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

// Moves all pieces on; returns how many messages were completed, or -1.
static int move_pieces(struct reduction *r, struct error *e)
{
    int moved = 0;
    for (int i = 0; i < PIECES_MAX; i++) {
        struct piece *p = &r->piece[i];
        if (p->data) {
            int n = messages_poll(&p->messages, piece_moved, p, e);
            if (n < 0)
                return -1;
            moved += n;
            if (p->messages.open == 0) {
                messages_reset(&p->messages);
                p->data = NULL;
                r->active--;
            }
        }
        if (!p->data && r->head < r->tail) {
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

void comm_mpi_reduce_begin(struct comm *base, void *data, size_t count, enum comm_type type)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    struct reduction *r = c->reduction;
    size_t step = PIECE_BYTES / type_size(type);
    for (size_t at = 0; at < count; at += step) {
        if (r->tail == r->capacity) {
            r->capacity = r->capacity ? 2 * r->capacity : 64;
            r->queue = xrealloc(r->queue, r->capacity, sizeof *r->queue);
        }
        size_t n = count - at < step ? count - at : step;
        r->queue[r->tail++] = (struct begun){(char *)data + at * type_size(type), n, type, comm_mpi_next_tag(c)};
    }
    comm_mpi_progress(base);
}

void comm_mpi_progress(struct comm *base)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    struct reduction *r = c->reduction;
    struct error e;
    if (c->world->broken || (r->active == 0 && r->head == r->tail))
        return;
    if (move_pieces(r, &e) < 0) {
        error_prefix(&e, "a sum");
        comm_mpi_break(c, &e);
    }
}

int comm_mpi_reduce_wait(struct comm *base, struct error *e)
{
    struct comm_mpi *c = (struct comm_mpi *)base;
    struct reduction *r = c->reduction;
    const struct messages *sets[PIECES_MAX];
    struct patience patience = {.comm = c, .sets = sets, .count = PIECES_MAX, .what = "a sum"};
    for (int i = 0; i < PIECES_MAX; i++)
        sets[i] = &r->piece[i].messages;
    patience_start(&patience);
    while (comm_mpi_check(c, e) == 0 && (r->active || r->head < r->tail)) {
        struct error trouble;
        int moved = move_pieces(r, &trouble);
        if (moved < 0) {
            error_prefix(&trouble, "a sum");
            comm_mpi_break(c, &trouble);
        } else if (patience_spend(&patience, moved, &trouble))
            comm_mpi_break(c, &trouble);
    }
    patience_end(&patience);
    return comm_mpi_check(c, e);
}
