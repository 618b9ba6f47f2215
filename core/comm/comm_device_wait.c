// Waits of sums and gathering in device memory, and what follows a failure: see comm_device.h.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/pulse.h"
#include "core/comm/comm_device_impl.h"
#include "core/comm/deadline.h"

#define ROLL_CALL_SECONDS 10.0   // in which the ranks must answer after a failure
#define YIELD_SECONDS     200e-6 // for so long a wait yields the core, then it sleeps between two looks
#define SLEEP_SECONDS     50e-6

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
    uint64_t here; // ROLL_CALL: another collective's message of this size may come in its place
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

void comm_device_abort(struct comm_device *d)
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
        comm_device_abort(d);
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

int comm_device_settle(struct comm_device *d, int rc, const char *doing, struct error *e)
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

// ---- collectives -------------------------------------------------------------------------------------------------

int comm_device_begin(struct comm_device *d, uint64_t collectives)
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
    comm_device_begin(d, sums);
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
