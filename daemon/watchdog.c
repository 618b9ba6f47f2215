// Looking after the working thread: see watchdog.h.
#include "daemon/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/stack.h"

static const double LOOK_SECONDS = 1;

struct watchdog {
    struct watchdog_options options;
    pthread_t thread;
    pthread_mutex_t lock; // of all below
    pthread_cond_t changed;
    int watching, looking, ending;
    double hang_seconds;
    int told_stuck;

    // what was seen last, and for how long it has been the same
    unsigned long long beats, signs; // signs: beats and polls
    double looked, quiet, silent;
};

static void observe(struct watchdog *w)
{
    struct pulse *p = w->options.pulse;
    unsigned long long beats = atomic_load(&p->beats), signs = beats + atomic_load(&p->polls);
    double now = clock_seconds(), passed = now - w->looked;
    w->looked = now;
    if (passed > LOOK_SECONDS) // a look that is late: this process itself was not running
        passed = LOOK_SECONDS;
    w->quiet = beats == w->beats ? w->quiet + passed : 0;
    w->silent = signs == w->signs ? w->silent + passed : 0;
    w->beats = beats;
    w->signs = signs;
}

static struct watchdog_view view_of(const struct watchdog *w)
{
    struct pulse *p = w->options.pulse;
    return (struct watchdog_view){.doing = atomic_load(&p->doing),
                                  .step = atomic_load(&p->step),
                                  .quiet_seconds = w->quiet,
                                  .waits = atomic_load(&p->waits),
                                  .waits_for = atomic_load(&p->waits_for),
                                  .waits_more = atomic_load(&p->waits_more)};
}

// The lock is not held while the owner is told: it may take its time.
static void look(struct watchdog *w)
{
    char brief[STACK_BRIEF];
    char *stacks = NULL;
    observe(w);
    struct watchdog_view v = view_of(w);
    if (w->hang_seconds > 0 && w->silent >= w->hang_seconds && !w->told_stuck)
        v.stuck = w->told_stuck = 1;
    w->looking = 1;
    pthread_mutex_unlock(&w->lock);
    if (v.stuck) {
        stacks = stack_describe(brief);
        v.brief = brief;
        v.stacks = stacks;
    }
    w->options.look(w->options.context, &v);
    free(stacks);
    pthread_mutex_lock(&w->lock);
    w->looking = 0;
    pthread_cond_broadcast(&w->changed);
}

static void *run(void *context)
{
    struct watchdog *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->ending) {
        if (!w->watching) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)LOOK_SECONDS;
        int rc = 0;
        while (w->watching && !w->ending && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&w->changed, &w->lock, &until);
        if (w->watching && !w->ending)
            look(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watchdog *watchdog_start(const struct watchdog_options *options, struct error *e)
{
    if (stack_prepare(e))
        return NULL;
    struct watchdog *w = xcalloc(1, sizeof *w);
    pthread_condattr_t attributes;
    w->options = *options;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (!rc)
        return w;
    error_set(e, ERR_FAILED, "cannot start a thread: %s", strerror(rc));
    free(w);
    return NULL;
}

void watchdog_watch(struct watchdog *w, double hang_seconds)
{
    pthread_mutex_lock(&w->lock);
    w->watching = 1;
    w->hang_seconds = hang_seconds;
    w->quiet = w->silent = w->told_stuck = 0;
    w->looked = clock_seconds();
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void watchdog_rest(struct watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    w->watching = 0;
    while (w->looking)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void watchdog_stop(struct watchdog *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = 1;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
