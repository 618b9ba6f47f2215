// Signals in programs that compute. Code that oneDNN generates uses the stack pointer for other things while it multiplies
// (jit_avx*_gemm_f32 of 2.6): the kernel would write a handler's frame over whatever it points to then, the heap as a rule.
// So no thread that computes takes a signal on its own stack: those that ask a program to end are held in all threads
// but the one that waits for them, and a handler that must run in any thread is installed with SA_ONSTACK.
#ifndef ISLR_BASE_SIGNALS_H
#define ISLR_BASE_SIGNALS_H

// Holds SIGINT, SIGTERM and SIGUSR1 back from the calling thread and from all that it starts from now on, and gives the
// calling thread a stack for handlers with SA_ONSTACK. Once, in the program's first thread, before there are others.
void signals_hold(void);

// In one thread that does not compute: its handlers run there again.
void signals_take(void);
// Or: waits for one of them, and returns its number.
int signals_wait(void);

#endif
