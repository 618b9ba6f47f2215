// Whole runs over ranks, of a small prepared set: when something goes wrong on one of them, all hear of it, and can go on
// with other work. Run by mpirun.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/train.h"
#include "tests/kernels/device.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

struct rig {
    struct comm *world;
    struct backend *backend;
    char dir[64]; // the same on all ranks
    char *set;
};

static int root(const struct rig *r)
{
    return comm_rank(r->world) == 0;
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = xstrdup(text);
}

// Three steps an epoch, an evaluation after each, 8 steps.
static Islr__JobSpec *make_job(const struct rig *r)
{
    Islr__JobSpec *job = small_run_job();
    set_text(&job->data->path, r->set);
    set_text(&job->data->fold, "0");
    job->data->k = 2;
    job->data->fold_seed = 0;
    return job;
}

// ---- a disk that is full from some moment on -----------------------------------------------------------------------

struct full_disk {
    int evaluation; // from the first figures of an evaluation on, else of a step
    uint64_t step;
    struct rlimit before;
};

static void fill_disk(void *context, const struct sink_metrics *m)
{
    struct full_disk *d = context;
    if (m->evaluation == d->evaluation && m->step == d->step)
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, d->before.rlim_max});
}

// Rank 0 cannot write its figures any more. All ranks end with that, and meet again.
static void all_hear_of_a_full_disk(const struct rig *r, const char *name, struct full_disk d, int sharded)
{
    struct error e = {0}, barrier = {0};
    char *dir = root(r) ? file_join(r->dir, name) : NULL;
    Islr__JobSpec *job = make_job(r);
    job->resources->shard_optimizer = sharded;
    job->train->precision = ISLR__TRAIN__PRECISION__PRECISION_BF16;
    getrlimit(RLIMIT_FSIZE, &d.before);
    struct run_sink sink = {.context = &d, .metrics = fill_disk};
    struct train_options o = {.job = job, .comm = r->world, .backend = r->backend, .sink = &sink, .dir = dir};
    int rc = train_run(&o, &e);
    setrlimit(RLIMIT_FSIZE, &d.before);
    if (comm_barrier(r->world, &barrier))
        fail_msg("%s: rank %d: %s; %s", name, comm_rank(r->world), e.text, barrier.text);
    if (!rc || e.code != ERR_FAILED || strncmp(e.text, "rank 0 on ", 10) || !strstr(e.text, "metrics.jsonl"))
        fail_msg("%s: rank %d: %d: %s", name, comm_rank(r->world), rc, e.text);
    spec_free(job);
    free(dir);
}

// Nobody is disturbed.
static void run_whole(const struct rig *r)
{
    struct error e = {0};
    char *dir = root(r) ? file_join(r->dir, "whole") : NULL;
    Islr__JobSpec *job = make_job(r);
    struct run_sink sink = {.context = NULL};
    struct train_options o = {.job = job, .comm = r->world, .backend = r->backend, .sink = &sink, .dir = dir};
    if (train_run(&o, &e))
        fail_msg("%s", e.text);
    spec_free(job);
    free(dir);
}

int main(void)
{
    struct error e = {0};
    struct rig r = {.world = comm_open_world(&e), .dir = "/tmp/islr-test-run-XXXXXX"};
    if (!r.world || !(r.backend = test_device_open(1, &e)) || (root(&r) && !mkdtemp(r.dir)) ||
        comm_broadcast(r.world, r.dir, sizeof r.dir, 0, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    signal(SIGXFSZ, SIG_IGN);
    r.set = file_join(r.dir, "small.islr");
    if (root(&r))
        small_set_write(r.set, SMALL_CLIPS, 2);
    if (comm_barrier(r.world, &e))
        fail_msg("%s", e.text);
    run_whole(&r);
    all_hear_of_a_full_disk(&r, "step", (struct full_disk){.step = 2}, 0);
    all_hear_of_a_full_disk(&r, "evaluation", (struct full_disk){.evaluation = 1, .step = 3}, 1);
    if (root(&r))
        file_remove_tree(r.dir, NULL);
    free(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}
