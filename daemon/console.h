// What the commands of a run in the foreground share: stop signals, messages and progress on a terminal or in a log.
#ifndef ISLR_DAEMON_CONSOLE_H
#define ISLR_DAEMON_CONSOLE_H

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/train/sink.h"

// From now on SIGINT, SIGTERM and SIGUSR1 (batch systems' warning, which mpirun passes on) ask the run to stop at the next
// step; a second one ends the process at once. A thread waits for them: see core/base/signals.h, also for when to call it.
int console_catch_signals(struct error *e);
int console_stopped(void);

// A sink that writes to stderr: a line that is redrawn where that is a terminal, else a line now and then.
struct console {
    struct log log;
    int terminal, drawn;
    double told, began; // clock_seconds()
    uint64_t began_at;  // step
    char losses[160];   // of the last step
    double deadline;    // clock_seconds() at which it is asked to stop; 0: never
};
int console_late(const struct console *c);                  // the deadline has passed
struct run_sink console_sink(struct console *c, int quiet); // quiet: of the ranks that are not the first

#endif
