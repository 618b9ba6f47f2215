// A thread that looks after the one that works: whether it gets anywhere, and if not, where it is.
//
// The work tells its pulse what it does (core/base/pulse.h). While it waits for other ranks it is not at fault: it still
// looks whether they have come. A process that is neither doing anything nor looking for as long as `hang_seconds` -
// blocked on a dead file system, caught in a loop - will not go on by itself: it is described with the stacks of its
// threads, and must end so that the others can. That time is far longer than anything between two signs of life takes on
// a slow machine.
#ifndef ISLR_DAEMON_WATCHDOG_H
#define ISLR_DAEMON_WATCHDOG_H

#include "core/base/error.h"
#include "core/base/pulse.h"

// Without a sign of life for so long a rank is taken for stuck: the default of islrd serve, up and run (--hang-seconds).
#define HANG_SECONDS 300.0
#define OPTION_HANG(variable)                                                                                          \
    {                                                                                                                  \
        0, "hang-seconds", "S", "a rank that gets nowhere for so long is stuck: it is named and ended; 0: never",      \
            OPTION_FLOAT, variable, 0, 1e6                                                                             \
    }

// What the watched thread is at.
struct watchdog_view {
    const char *doing; // static, or NULL
    unsigned long long step;
    double quiet_seconds; // since it last did something; waiting for others counts
    const char *waits;    // in which collective it waits; static, NULL: it does not
    int waits_for, waits_more;
    // Found to be stuck, once: what holds it up in short, and the stacks of all threads.
    int stuck;
    const char *brief, *stacks;
};

struct watchdog_options {
    struct pulse *pulse;
    void *context;
    // Called in the watchdog's thread about every second while it watches.
    void (*look)(void *context, const struct watchdog_view *v);
};

struct watchdog;

struct watchdog *watchdog_start(const struct watchdog_options *options, struct error *e);
void watchdog_stop(struct watchdog *w); // joins its thread; NULL is fine

// Work begins: from now on it is looked after. hang_seconds 0: never taken for stuck.
void watchdog_watch(struct watchdog *w, double hang_seconds);
void watchdog_rest(struct watchdog *w); // there is nothing to do: it sleeps; returns when no look is under way

#endif
