// Training steps over ranks: however gradients and statistics travel between them (in place, by NCCL or its stand-in,
// through host memory), all ranks have the same bits, each way gives those of the first again, and the results are those
// of one rank with as many groups. Arguments: the ways to try, of ISLR_NCCL (ordered, bf16, fast, off). Run by mpirun over
// the device that the environment names (tests/kernels/device.h).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "tests/kernels/device.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

enum { STEPS = 2 };

struct rig {
    struct comm *world;
    struct backend *backend;
    struct set *set;
    Islr__JobSpec *job;
};

// What a run leaves.
struct result {
    struct hash hash;
    float *values[LEARNERS];
    size_t count[LEARNERS];
    struct step_result last;
    char note[COMM_DEVICE_NOTE];
};

static struct result train(const struct rig *r, struct comm *comm)
{
    struct small_run run;
    struct result result = {.note = ""};
    small_run_open(&run, r->job, r->set, r->backend, comm, DTYPE_F32, 0);
    result.last = small_run_steps(&run, 1, STEPS);
    for (int i = 0; i < LEARNERS; i++)
        result.values[i] = small_run_values(&run, i, &result.count[i]);
    result.hash = small_run_hash(&run);
    memcpy(result.note, run.step.reducer.note, sizeof result.note);
    small_run_close(&run);
    return result;
}

static void result_free(struct result *result)
{
    for (int i = 0; i < LEARNERS; i++)
        free(result->values[i]);
}

static void check_same(const struct result *a, const struct result *b)
{
    assert_true(hash_equal(&a->hash, &b->hash));
    assert_true(a->last.learner[STUDENT].loss == b->last.learner[STUDENT].loss);
    assert_true(a->last.learner[DISTILLED].grad_norm == b->last.learner[DISTILLED].grad_norm);
}

static void check_same_everywhere(const struct rig *r, const struct result *mine)
{
    struct error e;
    struct hash *all = xcalloc((size_t)comm_size(r->world), sizeof *all);
    if (comm_all_gather(r->world, &mine->hash, sizeof mine->hash, all, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < comm_size(r->world); i++)
        assert_true(hash_equal(&all[i], &mine->hash));
    free(all);
}

static void check_near(const struct result *got, const struct result *want, double tolerance)
{
    for (int i = 0; i < LEARNERS; i++) {
        double difference = 0, norm = 0;
        for (size_t k = 0; k < got->count[i]; k++) {
            double d = (double)got->values[i][k] - (double)want->values[i][k];
            difference += d * d;
            norm += (double)want->values[i][k] * (double)want->values[i][k];
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
    struct result one = train(r, alone), first = {.note = ""};
    for (int i = 0; i < ways; i++) {
        setenv("ISLR_NCCL", way[i], 1);
        struct result a = train(r, r->world);
        if (comm_rank(r->world) == 0)
            printf("%s: %s\n", way[i], a.note[0] ? a.note : "gradients are summed in place");
        check_same_everywhere(r, &a);
        int rounded = !strcmp(way[i], "bf16");
        check_near(&a, &one, rounded ? 1e-2 : 1e-4);
        if (i == 0)
            first = a;
        else if (strcmp(way[i], "fast") && !rounded)
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
    r.job = small_run_job();
    train_all_ways(&r, argc - 1, argv + 1);
    spec_free(r.job);
    set_close(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}
