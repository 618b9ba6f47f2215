// The states of a run: see state.h.
#include "core/store/state.h"

#include <stdio.h>
#include <string.h>

#define BIT(s) (1u << ISLR__RUN_STATE__RUN_##s)

static const struct {
    const char *name;
    unsigned next; // BIT()s
} states[] = {
    [ISLR__RUN_STATE__RUN_QUEUED] = {"queued", BIT(HELD) | BIT(STARTING) | BIT(CANCELLED)},
    [ISLR__RUN_STATE__RUN_HELD] = {"held", BIT(QUEUED) | BIT(CANCELLED)},
    [ISLR__RUN_STATE__RUN_STARTING] = {"starting", BIT(RUNNING) | BIT(STOPPING) | BIT(SUCCEEDED) | BIT(FAILED) |
                                                       BIT(CANCELLED) | BIT(QUEUED)},
    [ISLR__RUN_STATE__RUN_RUNNING] = {"running",
                                      BIT(STOPPING) | BIT(SUCCEEDED) | BIT(FAILED) | BIT(CANCELLED) | BIT(QUEUED)},
    [ISLR__RUN_STATE__RUN_STOPPING] = {"stopping", BIT(SUCCEEDED) | BIT(FAILED) | BIT(CANCELLED) | BIT(QUEUED)},
    [ISLR__RUN_STATE__RUN_SUCCEEDED] = {"succeeded", 0},
    [ISLR__RUN_STATE__RUN_FAILED] = {"failed", BIT(QUEUED)},
    [ISLR__RUN_STATE__RUN_CANCELLED] = {"cancelled", BIT(QUEUED)},
};

enum { STATES = sizeof states / sizeof *states };

const char *run_state_name(Islr__RunState s)
{
    return (unsigned)s < STATES ? states[s].name : "unknown";
}

int run_state_from_name(const char *name, Islr__RunState *out)
{
    for (unsigned i = 0; i < STATES; i++) {
        if (!strcmp(states[i].name, name)) {
            *out = (Islr__RunState)i;
            return 0;
        }
    }
    return -1;
}

int run_state_allowed(Islr__RunState from, Islr__RunState to)
{
    return (unsigned)from < STATES && (unsigned)to < STATES && states[from].next >> to & 1;
}

int run_state_ended(Islr__RunState s)
{
    return s == ISLR__RUN_STATE__RUN_SUCCEEDED || s == ISLR__RUN_STATE__RUN_FAILED ||
           s == ISLR__RUN_STATE__RUN_CANCELLED;
}

int run_state_live(Islr__RunState s)
{
    return s == ISLR__RUN_STATE__RUN_STARTING || s == ISLR__RUN_STATE__RUN_RUNNING ||
           s == ISLR__RUN_STATE__RUN_STOPPING;
}

Islr__RunState run_state_of_group(const uint64_t of[8])
{
    uint64_t stopping = of[ISLR__RUN_STATE__RUN_STOPPING];
    uint64_t working = of[ISLR__RUN_STATE__RUN_STARTING] + of[ISLR__RUN_STATE__RUN_RUNNING];
    uint64_t waiting = of[ISLR__RUN_STATE__RUN_QUEUED] + of[ISLR__RUN_STATE__RUN_HELD];
    uint64_t failed = of[ISLR__RUN_STATE__RUN_FAILED], cancelled = of[ISLR__RUN_STATE__RUN_CANCELLED];
    uint64_t ended = of[ISLR__RUN_STATE__RUN_SUCCEEDED] + failed + cancelled;
    if (stopping && !working && !waiting)
        return ISLR__RUN_STATE__RUN_STOPPING;
    if (stopping || working || (waiting && ended))
        return ISLR__RUN_STATE__RUN_RUNNING;
    if (waiting)
        return of[ISLR__RUN_STATE__RUN_QUEUED] ? ISLR__RUN_STATE__RUN_QUEUED : ISLR__RUN_STATE__RUN_HELD;
    return failed      ? ISLR__RUN_STATE__RUN_FAILED
           : cancelled ? ISLR__RUN_STATE__RUN_CANCELLED
                       : ISLR__RUN_STATE__RUN_SUCCEEDED;
}

const char *attempt_outcome_name(enum attempt_outcome o)
{
    static const char *const names[] = {"succeeded", "failed", "stopped", "lost"};
    return names[o];
}

static struct attempt_verdict verdict(Islr__RunState state, int counts)
{
    return (struct attempt_verdict){.state = state, .counts = counts};
}

static struct attempt_verdict after_cancel(const struct attempt_end *end)
{
    struct attempt_verdict v = verdict(ISLR__RUN_STATE__RUN_CANCELLED, 0);
    const char *word = end->stop_reason && *end->stop_reason ? end->stop_reason : "cancelled";
    if (end->outcome == ATTEMPT_STOPPED)
        snprintf(v.reason, sizeof v.reason, "%s", word);
    else
        snprintf(v.reason, sizeof v.reason, "%s; it could not save where it was: %s", word, end->reason);
    return v;
}

// Failed in a way that may pass, or lost.
static struct attempt_verdict after_mishap(const struct attempt_end *end)
{
    unsigned now = end->tries + 1;
    int again = now < end->max_attempts;
    struct attempt_verdict v = verdict(again ? ISLR__RUN_STATE__RUN_QUEUED : ISLR__RUN_STATE__RUN_FAILED, 1);
    if (end->max_attempts == 1)
        snprintf(v.reason, sizeof v.reason, "%s", end->reason);
    else
        snprintf(v.reason, sizeof v.reason, "attempt %u of %u %s: %s", now, end->max_attempts,
                 attempt_outcome_name(end->outcome), end->reason);
    return v;
}

struct attempt_verdict run_state_after_attempt(const struct attempt_end *end)
{
    struct attempt_verdict v;
    if (end->outcome == ATTEMPT_SUCCEEDED)
        return verdict(ISLR__RUN_STATE__RUN_SUCCEEDED, 0);
    if (end->stop_why == ISLR__STOP__WHY__WHY_CANCEL)
        return after_cancel(end);
    if (end->stop_why == STOP_LIMIT) {
        v = verdict(ISLR__RUN_STATE__RUN_FAILED, 1);
        snprintf(v.reason, sizeof v.reason, "it took longer than its limit (limits.minutes)");
        return v;
    }
    if (end->outcome == ATTEMPT_FAILED && !end->retryable) {
        v = verdict(ISLR__RUN_STATE__RUN_FAILED, 1);
        snprintf(v.reason, sizeof v.reason, "%s", end->reason);
        return v;
    }
    if (end->outcome == ATTEMPT_STOPPED || end->stop_why != STOP_NOBODY) {
        v = verdict(ISLR__RUN_STATE__RUN_QUEUED, 0);
        snprintf(v.reason, sizeof v.reason, "stopped to be resumed: %s", end->reason);
        return v;
    }
    return after_mishap(end);
}
