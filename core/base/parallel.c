// Independent items over threads: see parallel.h.
#include "core/base/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/cores.h"
#include "core/base/memory.h"

int parallel_cores(void)
{
    struct cores mine;
    cores_get(&mine);
    return cores_count(&mine);
}

struct pool {
    int (*work)(void *, size_t, int);
    void *context;
    size_t count;
    atomic_size_t next;
    atomic_int stop;
    pthread_mutex_t lock; // guards the two below
    size_t failed_item;
    int failed_code;
};

struct member {
    struct pool *pool;
    int thread;
};

static void *run_member(void *argument)
{
    struct member *m = argument;
    struct pool *p = m->pool;
    while (!atomic_load(&p->stop)) {
        size_t item = atomic_fetch_add(&p->next, 1);
        if (item >= p->count)
            break;
        int rc = p->work(p->context, item, m->thread);
        if (!rc)
            continue;
        pthread_mutex_lock(&p->lock);
        if (!p->failed_code || item < p->failed_item) {
            p->failed_item = item;
            p->failed_code = rc;
        }
        pthread_mutex_unlock(&p->lock);
        atomic_store(&p->stop, 1);
    }
    return NULL;
}

int parallel_for(int threads, size_t count, int (*work)(void *, size_t, int), void *context)
{
    if (threads <= 0)
        threads = parallel_cores();
    if ((size_t)threads > count)
        threads = count ? (int)count : 1;
    struct pool pool = {.work = work, .context = context, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct member *members = xcalloc((size_t)threads, sizeof *members);
    pthread_t *ids = xcalloc((size_t)threads, sizeof *ids);
    int started = 1;
    for (int i = 0; i < threads; i++)
        members[i] = (struct member){&pool, i};
    while (started < threads && !pthread_create(&ids[started], NULL, run_member, &members[started]))
        started++; // fewer threads than asked for still do all the work
    run_member(&members[0]);
    for (int i = 1; i < started; i++)
        pthread_join(ids[i], NULL);
    free(ids);
    free(members);
    return pool.failed_code;
}
