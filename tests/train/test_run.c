// Whole runs over ranks, of a small prepared set: when something goes wrong on one of them, all hear of it, and can go
// on with other work. Run by mpirun.
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
#include "core/ckpt/resume.h"
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

// ---- resume points of another origin -------------------------------------------------------------------------------

struct stop {
    uint64_t after, step;
};

static void see_step(void *context, const struct sink_metrics *m)
{
    ((struct stop *)context)->step = m->step;
}

static int stop_after(void *context)
{
    const struct stop *s = context;
    return s->after && s->step >= s->after;
}

// Trains until after that step, 0: to the end.
static int train_until(const struct rig *r, const Islr__JobSpec *job, const char *dir, uint64_t after, int resume,
                       struct error *e)
{
    struct stop stop = {.after = after};
    struct run_sink sink = {.context = &stop, .metrics = see_step, .should_stop = stop_after};
    struct train_options o = {
        .job = job, .comm = r->world, .backend = r->backend, .sink = &sink, .dir = dir, .resume = resume};
    return train_run(&o, e);
}

static void must_refuse(const struct rig *r, const Islr__JobSpec *job, const char *dir, const char *say)
{
    struct error e = {0};
    if (!train_until(r, job, dir, 0, 1, &e) || e.code != ERR_INVALID || !strstr(e.text, say))
        fail_msg("rank %d went on from a point of other things, or said not '%s': %s", comm_rank(r->world), say,
                 e.text);
}

static void must(const struct rig *r, int rc, const struct error *e)
{
    if (rc)
        fail_msg("rank %d: %s", comm_rank(r->world), e->text);
}

// A file's place is taken by another one's content, and all ranks see it.
static void swap_files(const struct rig *r, const char *a, const char *b)
{
    struct error e = {0};
    char *c = file_join(r->dir, "swapped");
    if (root(r) && (rename(a, c) || rename(b, a) || rename(c, b)))
        fail_msg("%s cannot be exchanged for %s", a, b);
    must(r, comm_barrier(r->world, &e), &e);
    free(c);
}

static void write_old_point(const char *points)
{
    struct error e = {0};
    char header[320] = "";
    if (resume_save(points, 2, &(struct resume_section){"header", header, sizeof header}, 1, &e))
        fail_msg("%s", e.text);
}

static void only_its_own_points_are_gone_on_with(const struct rig *r)
{
    struct error e = {0};
    char *dir = file_join(r->dir, "stopped"), *other = file_join(r->dir, "other.islr");
    char *student = file_join(r->dir, "whole/final/student.safetensors");
    char *teacher = file_join(r->dir, "whole/final/teacher.safetensors"), *points = file_join(dir, "resume");
    Islr__JobSpec *job = make_job(r);
    set_text(&job->init->student, student);
    if (root(r))
        small_set_write(other, SMALL_CLIPS + 1, 2);
    if (!train_until(r, job, dir, 2, 0, &e) || e.code != ERR_INTERRUPTED)
        fail_msg("the run did not stop: %s", e.text);
    swap_files(r, r->set, other);
    must_refuse(r, job, dir, "another prepared set (data.path): its SHA-256 was ");
    swap_files(r, r->set, other);
    swap_files(r, student, teacher);
    must_refuse(r, job, dir, "another file init.student: its SHA-256 was ");
    swap_files(r, student, teacher);
    must(r, train_until(r, job, dir, 0, 1, &e), &e);
    if (root(r))
        write_old_point(points);
    must_refuse(r, job, dir, "is of another version of this program");
    spec_free(job);
    free(dir);
    free(other);
    free(student);
    free(teacher);
    free(points);
}

static void whole_runs(void **state)
{
    const struct rig *r = *state;
    run_whole(r);
    all_hear_of_a_full_disk(r, "step", (struct full_disk){.step = 2}, 0);
    all_hear_of_a_full_disk(r, "evaluation", (struct full_disk){.evaluation = 1, .step = 3}, 1);
    only_its_own_points_are_gone_on_with(r);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(whole_runs, &r)};
    if (cmocka_run_group_tests(tests, NULL, NULL))
        comm_abort(r.world, 1); // the others may wait
    if (root(&r))
        file_remove_tree(r.dir, NULL);
    free(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}
