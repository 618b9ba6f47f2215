// Independent items over threads.
#ifndef ISLR_BASE_PARALLEL_H
#define ISLR_BASE_PARALLEL_H

#include <stddef.h>

int parallel_cores(void); // cores that this process may use (cores.h), at least 1

// Calls work(context, item, thread) for every item in [0, count), items handed out one by one in order to `threads`
// threads (0: parallel_cores()); returns when all are done. thread is in [0, threads). A non-zero return of `work`
// stops the handing out; the return value is then that of the lowest item that failed, else 0.
int parallel_for(int threads, size_t count, int (*work)(void *context, size_t item, int thread), void *context);

#endif
