// A sign of life: what a working thread is at, told in a few atomic words that another thread may read at any time - one
// that reports it, or that finds that the work has stopped for good (daemon/watchdog.h). Telling costs a store.
//
// A rank owns one; its communicators carry it to whoever works (core/comm/comm.h: comm_pulse).
#ifndef ISLR_BASE_PULSE_H
#define ISLR_BASE_PULSE_H

#include <stdatomic.h>

struct pulse {
    atomic_ullong beats;         // grows whenever something was done: a layer, a clip, a file, a sum over the ranks
    atomic_ullong polls;         // grows while it looks whether others have sent something
    _Atomic(const char *) doing; // "train", "evaluate": a text without end of life, or NULL
    atomic_ullong step;

    // While it waits for other ranks.
    _Atomic(const char *) waits; // in which collective ("a sum"); NULL: it does not
    atomic_int waits_for;        // rank of the world that is missing, -1: not known
    atomic_int waits_more;       // further missing ranks

    // For the other thread to set: waits end after so many ms in which nothing moves, 0: as the communicator says.
    atomic_int patience_ms;
};

static inline void pulse_beat(struct pulse *p) // NULL: nobody looks
{
    if (p)
        atomic_fetch_add_explicit(&p->beats, 1, memory_order_relaxed);
}

static inline void pulse_doing(struct pulse *p, const char *doing)
{
    atomic_store_explicit(&p->doing, doing, memory_order_relaxed);
    pulse_beat(p);
}

#endif
