// A rank's signs of life on their way to the server, and its end when there are none: see watchdog.h.
#ifndef ISLR_DAEMON_WORK_PULSE_H
#define ISLR_DAEMON_WORK_PULSE_H

#include "core/base/log.h"
#include "core/base/pulse.h"
#include "daemon/work_net.h"

struct work_pulse;

struct work_pulse *work_pulse_start(struct work_net *n, struct pulse *pulse, const struct log *log, struct error *e);
void work_pulse_stop(struct work_pulse *p); // NULL is fine

// Around the work on a task. A rank that gets stuck in between tells the server so and ends its process (exit code
// ERR_TIMEOUT), whatever the other threads are at.
void work_pulse_begin(struct work_pulse *p, struct work_task *t);
void work_pulse_end(struct work_pulse *p);

#endif
