// Fibers: functions that run on stacks of their own and hand over to each other by hand. One host thread uses them.
#ifndef ISLR_TESTS_CUDAHOST_FIBER_H
#define ISLR_TESTS_CUDAHOST_FIBER_H

struct fiber;

struct fiber *fiber_create();
void fiber_destroy(struct fiber *f); // not the running one; a body that has not returned is given up

// Runs body(argument) on the fiber, which must have no unfinished body, until it pauses or returns.
void fiber_start(struct fiber *f, void (*body)(void *), void *argument);
// Goes on with a body that has paused. Both return 1 once the body has returned, 0 if it has paused.
int fiber_resume(struct fiber *f);
int fiber_finished(const struct fiber *f);

// From within a body: back to who started or resumed it.
void fiber_pause();

#endif
