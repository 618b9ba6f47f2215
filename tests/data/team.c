// Teams of threads: see team.h.
#include "tests/data/team.h"

#include <pthread.h>

struct shared {
    int size;
    pthread_barrier_t barrier;
    int64_t values[TEAM_MAX];
    struct error errors[TEAM_MAX];
};

struct member {
    struct shared *shared;
    struct prepare_team team;
    int (*work)(void *, const struct prepare_team *, struct error *);
    void *context;
    int *result;
    struct error *error;
    pthread_t thread;
};

static int agree(void *context, int failed, struct error *e)
{
    struct member *m = context;
    struct shared *s = m->shared;
    s->values[m->team.rank] = failed;
    if (failed)
        s->errors[m->team.rank] = *e;
    pthread_barrier_wait(&s->barrier);
    int rc = 0;
    for (int i = 0; !rc && i < s->size; i++)
        if (s->values[i])
            rc = error_set(e, s->errors[i].code, "member %d: %s", i, s->errors[i].text);
    pthread_barrier_wait(&s->barrier);
    return rc;
}

static int max(void *context, int64_t *value, struct error *e)
{
    (void)e;
    struct member *m = context;
    struct shared *s = m->shared;
    s->values[m->team.rank] = *value;
    pthread_barrier_wait(&s->barrier);
    for (int i = 0; i < s->size; i++)
        *value = s->values[i] > *value ? s->values[i] : *value;
    pthread_barrier_wait(&s->barrier);
    return 0;
}

static void *run_member(void *argument)
{
    struct member *m = argument;
    *m->result = m->work(m->context, &m->team, m->error);
    return NULL;
}

void team_run(int size, int (*work)(void *, const struct prepare_team *, struct error *), void *context, int *results,
              struct error *errors)
{
    struct shared shared = {.size = size};
    struct member members[TEAM_MAX];
    pthread_barrier_init(&shared.barrier, NULL, (unsigned)size);
    for (int i = 0; i < size; i++) {
        members[i] = (struct member){.shared = &shared,
                                     .team = {&members[i], i, size, agree, max},
                                     .work = work,
                                     .context = context,
                                     .result = &results[i],
                                     .error = &errors[i]};
        pthread_create(&members[i].thread, NULL, run_member, &members[i]);
    }
    for (int i = 0; i < size; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&shared.barrier);
}
