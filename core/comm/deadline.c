// Ends the process where something that must end does not: see deadline.h.
#include "core/comm/deadline.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"

struct deadline {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int set, ending;
    struct timespec at; // CLOCK_MONOTONIC
    int exit_code;
    char sentence[512];
};

static void *watch(void *context)
{
    struct deadline *d = context;
    pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        int late = 0;
        if (d->set)
            late = pthread_cond_timedwait(&d->changed, &d->lock, &d->at) != 0;
        else
            pthread_cond_wait(&d->changed, &d->lock);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        // It may have been set anew while this thread was waking up.
        if (late && d->set && !d->ending &&
            (now.tv_sec > d->at.tv_sec || (now.tv_sec == d->at.tv_sec && now.tv_nsec >= d->at.tv_nsec))) {
            fprintf(stderr, "%s\n", d->sentence);
            _exit(d->exit_code);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

struct deadline *deadline_create(void)
{
    struct deadline *d = xcalloc(1, sizeof *d);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&d->thread, NULL, watch, d)) {
        fprintf(stderr, "no thread can be made that watches over NCCL\n");
        abort();
    }
    return d;
}

void deadline_destroy(struct deadline *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->ending = 1;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void deadline_set(struct deadline *d, double seconds, int exit_code, const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&d->lock);
    va_start(args, format);
    vsnprintf(d->sentence, sizeof d->sentence, format, args);
    va_end(args);
    clock_gettime(CLOCK_MONOTONIC, &d->at);
    d->at.tv_sec += (time_t)seconds;
    d->at.tv_nsec += (long)((seconds - floor(seconds)) * 1e9);
    if (d->at.tv_nsec >= 1000000000) {
        d->at.tv_sec++;
        d->at.tv_nsec -= 1000000000;
    }
    d->exit_code = exit_code;
    d->set = 1;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

void deadline_clear(struct deadline *d)
{
    pthread_mutex_lock(&d->lock);
    d->set = 0;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}
