// Training steps over ranks: however gradients and statistics travel between them (in place, by NCCL or its stand-in,
// through host memory), all ranks have the same bits, each way gives those of the first again, and the results are those
// of one rank with as many groups. Arguments: the ways to try, of ISLR_NCCL (ordered, fast, off). Run by mpirun over the device that the environment names (tests/kernels/device.h).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/train/recipe.h"
#include "core/train/step.h"
#include "tests/kernels/device.h"
#include "tests/train/small_set.h"

enum { STEPS = 2, GROUP = 2, GROUPS = 2 };

struct rig {
    struct comm *world;
    struct backend *backend;
    struct set *set;
    Islr__JobSpec *job;
};

// What a run leaves.
struct result {
    struct hash state[LEARNERS]; // parameters and buffers
    float *parameters[LEARNERS];
    size_t size[LEARNERS];
    struct step_result last;
    char note[COMM_DEVICE_NOTE];
};

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

static Islr__JobSpec *make_job(void)
{
    const char *const settings[] = {"data={path: nowhere, fold: full}",
                                    "model={max_len: 25, dense_dim: 16, transfo_dim: 64, widths: [32,32,48,48]}",
                                    "distill={dense_dim: 16, transfo_dim: 64, widths: [16,16,32,32]}",
                                    "train={steps: 8, batch: 4, group: 2, ousm: 0, warmup: 0}"};
    struct error e = {0};
    struct faults faults = {0};
    Islr__JobSpec *job;
    if (spec_load(NULL, settings, sizeof settings / sizeof *settings, &job, &faults, &e)) {
        faults_print(&faults, stderr);
        fail_msg("%s", e.text);
    }
    return job;
}

static void set_weights(struct step_space *t)
{
    struct error e = {0};
    for (int i = 0; i < LEARNERS; i++) {
        struct model *m = &t->learner[i].model;
        float *parameters = xcalloc(m->layout.size, sizeof *parameters);
        float *buffers = xcalloc(m->layout.buffer_size, sizeof *buffers);
        layout_initialise(&m->layout, 5, (uint32_t)i, parameters, buffers);
        model_set(m, t->stream, parameters, buffers);
        must(t->stream->op->synchronize(t->stream, &e), &e);
        free(parameters);
        free(buffers);
    }
}

static struct result train(const struct rig *r, struct comm *comm)
{
    struct error e = {0};
    struct dataset data;
    struct step_space t;
    struct result result = {.note = ""};
    must(dataset_create(&data, r->set, r->backend, r->job->data, &e), &e);
    must(step_create(&t, &(struct step_options){r->job, r->backend, comm, &data, DTYPE_F32}, &e), &e);
    set_weights(&t);
    for (uint32_t s = 1; s <= STEPS; s++) {
        must(step_run(&t, s, data.train + (s - 1) * GROUP * GROUPS, &result.last, &e), &e);
        assert_true(result.last.finite);
    }
    for (int i = 0; i < LEARNERS; i++) {
        struct model *m = &t.learner[i].model;
        float *all = xcalloc(m->layout.size + m->layout.buffer_size, sizeof *all);
        must(model_get(m, t.stream, all, all + m->layout.size, &e), &e);
        result.size[i] = m->layout.size + m->layout.buffer_size;
        result.parameters[i] = all;
        result.state[i] = hash_memory(all, result.size[i] * sizeof *all);
    }
    memcpy(result.note, t.reducer.note, sizeof result.note);
    step_destroy(&t);
    dataset_destroy(&data);
    return result;
}

static void result_free(struct result *result)
{
    for (int i = 0; i < LEARNERS; i++)
        free(result->parameters[i]);
}

static void check_same(const struct result *a, const struct result *b)
{
    for (int i = 0; i < LEARNERS; i++)
        assert_true(hash_equal(&a->state[i], &b->state[i]));
    assert_true(a->last.learner[STUDENT].loss == b->last.learner[STUDENT].loss);
    assert_true(a->last.learner[DISTILLED].grad_norm == b->last.learner[DISTILLED].grad_norm);
}

static void check_same_everywhere(const struct rig *r, const struct result *mine)
{
    struct error e;
    struct hash *all = xcalloc((size_t)comm_size(r->world) * LEARNERS, sizeof *all);
    must(comm_all_gather(r->world, mine->state, sizeof mine->state, all, &e), &e);
    for (int i = 0; i < comm_size(r->world) * LEARNERS; i++)
        assert_true(hash_equal(&all[i], &mine->state[i % LEARNERS]));
    free(all);
}

static void check_near(const struct result *got, const struct result *want, double tolerance)
{
    for (int i = 0; i < LEARNERS; i++) {
        double difference = 0, norm = 0;
        for (size_t k = 0; k < got->size[i]; k++) {
            double d = (double)got->parameters[i][k] - (double)want->parameters[i][k];
            difference += d * d;
            norm += (double)want->parameters[i][k] * (double)want->parameters[i][k];
        }
        if (sqrt(difference / norm) > tolerance)
            fail_msg("the %s differs by %g", learner_names[i], sqrt(difference / norm));
        assert_true(fabs(got->last.learner[i].loss - want->last.learner[i].loss) <=
                    tolerance * fabs(want->last.learner[i].loss));
        assert_true(fabs(got->last.learner[i].grad_norm - want->last.learner[i].grad_norm) <=
                    10 * tolerance * want->last.learner[i].grad_norm);
    }
}

static void train_all_ways(struct rig *r, int ways, char **way)
{
    struct comm *alone = comm_open_single();
    struct result one = train(r, alone), first = {{{{0}}}};
    for (int i = 0; i < ways; i++) {
        setenv("ISLR_NCCL", way[i], 1);
        struct result a = train(r, r->world);
        if (comm_rank(r->world) == 0)
            printf("%s: %s\n", way[i], a.note[0] ? a.note : "gradients are summed in place");
        check_same_everywhere(r, &a);
        check_near(&a, &one, 1e-4);
        if (i == 0)
            first = a;
        else if (strcmp(way[i], "fast"))
            check_same(&a, &first); // all but NCCL's own sums have one order
        if (i)
            result_free(&a);
    }
    result_free(&first);
    result_free(&one);
    comm_close(alone);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct rig r = {.world = comm_open_world(&e)};
    if (!r.world || argc < 2) {
        fprintf(stderr, "%s\n", r.world ? "usage: test_ranks WAY.." : e.text);
        return 2;
    }
    r.backend = test_device_open(1, &e);
    if (!r.backend) {
        fprintf(stderr, "%s\n", e.text);
        comm_abort(r.world, 1);
    }
    r.set = small_set_make();
    r.job = make_job();
    train_all_ways(&r, argc - 1, argv + 1);
    spec_free(r.job);
    set_close(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}
