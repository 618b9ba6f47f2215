// Where the threads of this process are: their call stacks, for a report on why nothing goes on.
#ifndef ISLR_BASE_STACK_H
#define ISLR_BASE_STACK_H

#include "core/base/error.h"

// Once, before stacks are asked for: takes the signal STACK_SIGNAL for it. Threads that may be asked while they compute
// have a stack for handlers (signals.h).
#define STACK_SIGNAL (SIGRTMIN + 6)
int stack_prepare(struct error *e);

// The stacks of all threads but the caller's, the program's first thread first, threads that are at the same place
// together; malloc'ed lines. `brief` gets the innermost functions of the thread that holds the work up: of the first
// one, or where that waits for others, of one that does not: "open64 < read_clip < prepare_row".
//
// Threads answer a signal, so one that is inside the kernel and cannot be interrupted is described by what the kernel
// says of it. A thread's system calls may be interrupted (EINTR): for processes that are about to end.
enum { STACK_BRIEF = 240 };
char *stack_describe(char brief[STACK_BRIEF]);

#endif
