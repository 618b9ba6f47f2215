// Messages between ranks, and bounded waits for them: see mpi_message.h.
#include "core/comm/mpi_message.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/comm/comm_mpi.h"

#define MESSAGE_BYTES_MAX ((size_t)1 << 30) // of one MPI message: its count is an int
#define NAMES_MAX         4                 // missing ranks that an error names before "and 3 more"
#define YIELD_SECONDS     200e-6
#define SLEEP_SECONDS     50e-6
#define TELL_SECONDS      0.5 // how often a wait looks who is missing, for others to see

static int reserve_message(struct messages *m)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 16;
        m->message = xrealloc(m->message, (size_t)m->capacity, sizeof *m->message);
        m->request = xrealloc(m->request, (size_t)m->capacity, sizeof *m->request);
        m->status = xrealloc(m->status, (size_t)m->capacity, sizeof *m->status);
        m->index = xrealloc(m->index, (size_t)m->capacity, sizeof *m->index);
    }
    m->request[m->count] = MPI_REQUEST_NULL;
    return m->count++;
}

static int post_message(struct messages *m, char *data, size_t size, struct message what, int tag, struct error *e)
{
    do {
        size_t part = size < MESSAGE_BYTES_MAX ? size : MESSAGE_BYTES_MAX;
        int i = reserve_message(m);
        m->message[i] = what;
        m->message[i].size = (int)part;
        int rc = what.direction == MESSAGE_SEND
                     ? MPI_Isend(data, (int)part, MPI_BYTE, what.peer, tag, m->channel, &m->request[i])
                     : MPI_Irecv(data, (int)part, MPI_BYTE, what.peer, tag, m->channel, &m->request[i]);
        if (rc != MPI_SUCCESS)
            return comm_mpi_error(m->comm, rc, what.peer, e);
        m->open++;
        data += part;
        size -= part;
    } while (size);
    return 0;
}

int messages_send(struct messages *m, const void *data, size_t size, int peer, int phase, int tag, struct error *e)
{
    return post_message(m, (char *)data, size, (struct message){peer, MESSAGE_SEND, phase, 0}, tag, e);
}

int messages_receive(struct messages *m, void *data, size_t size, int peer, int phase, int tag, struct error *e)
{
    return post_message(m, data, size, (struct message){peer, MESSAGE_RECEIVE, phase, 0}, tag, e);
}

// Which message made MPI_Testsome fail, and how.
static int explain_failure(struct messages *m, int rc, int done, struct error *e)
{
    int class = MPI_SUCCESS;
    MPI_Error_class(rc, &class);
    if (class == MPI_ERR_IN_STATUS && done != MPI_UNDEFINED)
        for (int i = 0; i < done; i++)
            if (m->status[i].MPI_ERROR != MPI_SUCCESS && m->status[i].MPI_ERROR != MPI_ERR_PENDING)
                return comm_mpi_error(m->comm, m->status[i].MPI_ERROR, m->message[m->index[i]].peer, e);
    return comm_mpi_error(m->comm, rc, -1, e);
}

// What is in the buffer behind a message that was too short is not the peer's.
static int check_size(const struct messages *m, const struct message *received, const MPI_Status *status,
                      struct error *e)
{
    const struct comm *c = &m->comm->base;
    int size = 0;
    MPI_Get_count(status, MPI_BYTE, &size);
    if (size == received->size)
        return 0;
    return error_set(
        e, ERR_FAILED,
        "rank %d on %s was sent %d bytes by rank %d on %s where it waited for %d: the ranks are not at the "
        "same point of the work",
        c->rank, c->hosts[c->rank], size, received->peer, c->hosts[received->peer], received->size);
}

int messages_poll(struct messages *m, messages_done *done, void *context, struct error *e)
{
    if (m->open == 0)
        return 0;
    int completed = 0;
    int rc = MPI_Testsome(m->count, m->request, &completed, m->index, m->status);
    if (rc != MPI_SUCCESS)
        return explain_failure(m, rc, completed, e);
    if (completed == MPI_UNDEFINED)
        completed = 0;
    m->open -= completed;
    // `done` may post, which moves the arrays but not what they hold.
    for (int i = 0; i < completed; i++) {
        struct message complete = m->message[m->index[i]];
        if (complete.direction == MESSAGE_RECEIVE && check_size(m, &complete, &m->status[i], e))
            return -1;
        if (done && done(context, &complete, e))
            return -1;
    }
    return completed;
}

int messages_wait(struct messages *m, messages_done *done, void *context, const char *what, struct error *e)
{
    const struct messages *set = m;
    struct patience patience = {.comm = m->comm, .sets = &set, .count = 1, .what = what};
    struct error trouble;
    patience_start(&patience);
    while (comm_mpi_check(m->comm, e) == 0 && m->open) {
        int moved = messages_poll(m, done, context, &trouble);
        if (moved < 0) {
            error_prefix(&trouble, "%s", what);
            comm_mpi_break(m->comm, &trouble);
        } else if (m->open && patience_spend(&patience, moved, &trouble))
            comm_mpi_break(m->comm, &trouble);
        else
            comm_mpi_progress(&m->comm->base);
    }
    patience_end(&patience);
    if (comm_mpi_check(m->comm, e))
        return -1;
    messages_reset(m);
    return 0;
}

void messages_reset(struct messages *m)
{
    assert(m->open == 0);
    m->count = 0;
}

void messages_free(struct messages *m)
{
    free(m->message);
    free(m->request);
    free(m->status);
    free(m->index);
    *m = (struct messages){0};
}

// Marks in missing[rank] whom the messages of the earliest phase that lacks any wait for. Returns how many ranks.
static int find_missing(const struct messages *const *sets, int count, enum message_direction direction, char *missing)
{
    int phase = -1, found = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int s = 0; s < count; s++)
            for (int i = 0; i < sets[s]->count; i++) {
                const struct message *m = &sets[s]->message[i];
                if (m->direction != direction || sets[s]->request[i] == MPI_REQUEST_NULL)
                    continue;
                if (pass == 0 && (phase < 0 || m->phase < phase))
                    phase = m->phase;
                if (pass == 1 && m->phase == phase && !missing[m->peer])
                    missing[m->peer] = 1, found++;
            }
    return found;
}

static int time_out(const struct patience *p, double seconds, struct error *e)
{
    const struct comm_mpi *c = p->comm;
    char *missing = xcalloc((size_t)c->base.size, 1);
    const char *why = "did not arrive";
    int found = find_missing(p->sets, p->count, MESSAGE_RECEIVE, missing);
    if (found == 0) {
        why = "did not take this rank's data";
        found = find_missing(p->sets, p->count, MESSAGE_SEND, missing);
    }
    struct strbuf names = {0};
    strbuf_printf(&names, "%s", found == 1 ? "rank" : "ranks");
    for (int r = 0, named = 0; r < c->base.size; r++)
        if (missing[r] && named++ < NAMES_MAX)
            strbuf_printf(&names, "%s %d on %s", named == 1 ? "" : ",", r, c->base.hosts[r]);
    if (found > NAMES_MAX)
        strbuf_printf(&names, " and %d more", found - NAMES_MAX);
    error_set(e, ERR_TIMEOUT, "rank %d on %s waited %g s in %s for %s, which %s", c->base.rank,
              c->base.hosts[c->base.rank], seconds, p->what, names.text, why);
    free(names.text);
    free(missing);
    return -1;
}

// Whom the wait is for, to the pulse.
static void tell_missing(const struct patience *p)
{
    const struct comm_mpi *c = p->comm;
    char *missing = xcalloc((size_t)c->base.size, 1);
    int found = find_missing(p->sets, p->count, MESSAGE_RECEIVE, missing), first = 0;
    if (found == 0)
        found = find_missing(p->sets, p->count, MESSAGE_SEND, missing);
    while (first < c->base.size && !missing[first])
        first++;
    if (found) {
        atomic_store(&c->base.pulse->waits_more, found - 1);
        atomic_store(&c->base.pulse->waits_for, c->world_ranks ? c->world_ranks[first] : first);
    }
    free(missing);
}

void patience_start(struct patience *p)
{
    struct pulse *pulse = p->comm->base.pulse;
    p->moved = p->told = clock_seconds();
    atomic_store_explicit(&pulse->waits_for, -1, memory_order_relaxed);
    atomic_store_explicit(&pulse->waits_more, 0, memory_order_relaxed);
    atomic_store_explicit(&pulse->waits, p->what, memory_order_release);
}

// In seconds: the communicator's deadline, or a shorter one that another thread has set.
static double deadline_of(const struct patience *p)
{
    int ms = atomic_load_explicit(&p->comm->base.pulse->patience_ms, memory_order_relaxed);
    double own = p->comm->base.timeout_seconds;
    return ms > 0 && ms / 1e3 < own ? ms / 1e3 : own;
}

int patience_spend(struct patience *p, int moved, struct error *e)
{
    double now = clock_seconds(), idle = now - p->moved, deadline = deadline_of(p);
    atomic_fetch_add_explicit(&p->comm->base.pulse->polls, 1, memory_order_relaxed);
    if (moved) {
        pulse_beat(p->comm->base.pulse);
        p->moved = now;
        return 0;
    }
    if (idle < YIELD_SECONDS)
        sched_yield();
    else
        clock_sleep(SLEEP_SECONDS);
    if (now - p->told > TELL_SECONDS) {
        p->told = now;
        tell_missing(p);
    }
    return idle > deadline ? time_out(p, deadline, e) : 0;
}

void patience_end(struct patience *p)
{
    struct pulse *pulse = p->comm->base.pulse;
    atomic_store_explicit(&pulse->waits, NULL, memory_order_release);
    pulse_beat(pulse);
}
