// Signals in programs that compute: see signals.h.
#include "core/base/signals.h"

#include <signal.h>
#include <stddef.h>

enum { HANDLER_STACK = 64 << 10 }; // a frame has all registers, of which AMX's alone are 8 KiB

static sigset_t held_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    return set;
}

void signals_hold(void)
{
    static char memory[HANDLER_STACK]; // for as long as the thread lives
    sigset_t set = held_set();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = sizeof memory}, NULL);
}

void signals_take(void)
{
    sigset_t set = held_set();
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int signals_wait(void)
{
    sigset_t set = held_set();
    int number = SIGINT;
    sigwait(&set, &number);
    return number;
}
