// Training steps over ranks: however gradients and statistics travel between them (in place, by NCCL or its stand-in,
// through host memory), all ranks have the same bits, each way gives those of the first again, and the results are those
// of one rank with as many groups. Where the ranks share out the optimizer's state (core/train/shard.h), weights, figures
// and resume points are those of ranks that do not, to the bit. Arguments: the ways to try, of ISLR_NCCL (ordered, bf16,
// fast, off). Run by mpirun over the device that the environment names (tests/kernels/device.h).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/gather.h"
#include "core/train/state.h"
#include "tests/kernels/device.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

enum { STEPS = 2 };

struct rig {
    struct comm *world;
    struct backend *backend;
    struct set *set;
    Islr__JobSpec *job;
    char **ways; // NULL behind the last one
};

// What a run leaves.
struct result {
    struct hash hash;
    float *values[LEARNERS];
    size_t count[LEARNERS];
    struct step_result last;
    char note[COMM_DEVICE_NOTE];
};

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

static struct result result_of(struct small_run *run)
{
    struct error e = {0};
    struct result result = {.note = ""};
    must(step_gather_weights(&run->step, &e), &e);
    for (int i = 0; i < LEARNERS; i++)
        result.values[i] = small_run_values(run, i, &result.count[i]);
    result.hash = small_run_hash(run);
    memcpy(result.note, run->step.reducer.note, sizeof result.note);
    return result;
}

static struct result train(const struct rig *r, struct comm *comm)
{
    struct small_run run;
    small_run_open(&run, r->job, r->set, r->backend, comm, DTYPE_F32, 0);
    struct step_result last = small_run_steps(&run, 1, STEPS);
    struct result result = result_of(&run);
    result.last = last;
    small_run_close(&run);
    return result;
}

static void result_free(struct result *result)
{
    for (int i = 0; i < LEARNERS; i++)
        free(result->values[i]);
}

// A skipped step's norm may be no number, with all ranks.
static int equal(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void check_same(const struct result *a, const struct result *b)
{
    assert_true(hash_equal(&a->hash, &b->hash));
    assert_true(a->last.learner[STUDENT].loss == b->last.learner[STUDENT].loss);
    assert_true(equal(a->last.learner[DISTILLED].grad_norm, b->last.learner[DISTILLED].grad_norm));
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

static void check_shared(const struct rig *r, const struct result *want)
{
    r->job->resources->shard_optimizer = 1;
    struct result got = train(r, r->world);
    r->job->resources->shard_optimizer = 0;
    check_same_everywhere(r, &got);
    check_same(&got, want);
    result_free(&got);
}

static void train_all_ways(struct rig *r)
{
    struct comm *alone = comm_open_single();
    struct result one = train(r, alone), first = {.note = ""};
    char **way = r->ways;
    for (int i = 0; way[i]; i++) {
        setenv("ISLR_NCCL", way[i], 1);
        struct result a = train(r, r->world);
        if (comm_rank(r->world) == 0)
            printf("%s: %s\n", way[i], a.note[0] ? a.note : "gradients are summed in place");
        check_same_everywhere(r, &a);
        int rounded = !strcmp(way[i], "bf16");
        if (!rounded && strcmp(way[i], "fast")) // those two differ in core/comm alone, and are tested there
            check_shared(r, &a);
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

// ---- the optimizer's state shared out -----------------------------------------------------------------------------

static int cuda(const struct rig *r)
{
    return !strcmp(r->backend->op->kind, "cuda");
}

// Buckets of one size cut into equal parts, all of the parameters, each with its place.
static void shards_cover_all(void)
{
    const size_t sizes[] = {16, 8192, 100000, 4 << 20, 35143040};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int ranks = 1; ranks <= 600; ranks += ranks < 9 ? 1 : 197) {
            size_t all = 0, end = 0;
            struct shard s;
            for (int r = 0; r < ranks; r++, all += s.own)
                shard_plan(&s, sizes[k], ranks, r);
            assert_int_equal(all, sizes[k]);
            for (int b = 0; b < shard_buckets(&s); b++)
                for (int r = 0; r < ranks; r++) {
                    shard_plan(&s, sizes[k], ranks, r);
                    struct shard_part p = shard_part(&s, b);
                    assert_true(p.start == end && p.at + p.count <= s.own);
                    end += p.count;
                }
            assert_int_equal(end, sizes[k]);
        }
}

static struct hash hash_of_file(const char *path)
{
    struct error e = {0};
    struct hash h;
    must(hash_file(path, &h, &e), &e);
    return h;
}

// Steps before and after a resume point; so large a loss scale in fp16 that the first is skipped.
static struct result resume(const struct rig *r, enum dtype type, const char *dir, int shared)
{
    struct error e = {0};
    struct small_run run;
    const float large = 0x1p18f;
    struct run_state state = {.step = 2};
    r->job->resources->shard_optimizer = shared;
    small_run_open(&run, r->job, r->set, r->backend, r->world, type, 0);
    if (run.step.scaler)
        run.step.stream->op->upload(run.step.stream, &run.step.scaler->scale, &large, sizeof large);
    small_run_steps(&run, 1, 2);
    must(state_save(dir, &state, &run.step, &e), &e);
    small_run_close(&run);
    must(comm_barrier(r->world, &e), &e);
    small_run_open(&run, r->job, r->set, r->backend, r->world, type, 0);
    if (comm_rank(r->world) == 0) {
        char *damaged = xprintf("%s/point-9.islr-resume", dir);
        must(file_write_atomic(damaged, "cut off", 7, &e), &e);
        must(state_load(dir, NULL, &state, &run.step, &e), &e);
        assert_false(file_exists(damaged)); // it would take a whole one's place
        free(damaged);
    }
    must(state_share(&state, &run.step, &e), &e);
    struct step_result last = small_run_steps(&run, 3, 3);
    struct result result = result_of(&run);
    result.last = last;
    small_run_close(&run);
    r->job->resources->shard_optimizer = 0;
    return result;
}

static void resume_points_are_the_same(const struct rig *r, enum dtype type)
{
    struct error e = {0};
    struct result first = {.note = ""};
    struct hash files[2];
    char dir[] = "/tmp/islr-test-ranks-XXXXXX";
    assert_non_null(mkdtemp(dir));
    for (int k = 0; k < 2; k++) {
        char *point = xprintf("%s/%d", dir, k), *file = xprintf("%s/point-2.islr-resume", point);
        struct result a = resume(r, type, point, k);
        check_same_everywhere(r, &a);
        if (comm_rank(r->world) == 0)
            files[k] = hash_of_file(file);
        if (k == 0)
            first = a;
        else
            check_same(&a, &first);
        if (k)
            result_free(&a);
        free(point);
        free(file);
    }
    assert_true(type != DTYPE_F16 || first.last.skipped > 0);
    assert_true(comm_rank(r->world) != 0 || hash_equal(&files[0], &files[1]));
    result_free(&first);
    must(file_remove_tree(dir, &e), &e);
}

// A model of more than one bucket.
static void large_models_are_the_same(const struct rig *r)
{
    Islr__Model *m = r->job->model;
    uint32_t dense = m->dense_dim, widths[4];
    memcpy(widths, m->widths, sizeof widths);
    m->dense_dim = 512;
    for (int i = 0; i < 4; i++)
        m->widths[i] = 512;
    struct result a = train(r, r->world);
    assert_true(a.count[STUDENT] > COMM_DEVICE_PIECE);
    check_shared(r, &a);
    result_free(&a);
    m->dense_dim = dense;
    memcpy(m->widths, widths, sizeof widths);
}

// A gradient that is not finite with one rank is so for all, and all can name it.
static void one_ranks_gradient_is_all_ranks(const struct rig *r)
{
    struct error e = {0};
    struct small_run run;
    char text[160];
    double norm = 0;
    const float nan = NAN;
    int last = comm_size(r->world) - 1;
    r->job->resources->shard_optimizer = 1;
    small_run_open(&run, r->job, r->set, r->backend, r->world, DTYPE_F32, 0);
    small_run_steps(&run, 1, 1);
    struct learner *l = &run.step.learner[STUDENT];
    struct stream *s = run.step.stream;
    struct shard_part p = shard_part(&l->shard, 0);
    if (comm_rank(r->world) == last)
        s->op->upload(s, l->gradient + p.start + p.count / 2, &nan, sizeof nan);
    learner_measure(l, s);
    must(gather_squares(run.step.learner, &run.step.reducer, &e), &e);
    learner_norm(l, s);
    s->op->download(s, &norm, l->square_norm, sizeof norm);
    must(reducer_wait(&run.step.reducer, &e), &e);
    assert_true(isnan(norm));
    must(step_find_not_finite(&run.step, text, sizeof text, &e), &e);
    if (strncmp(text, "the gradient of ", 16) || !strstr(text, "of the student"))
        fail_msg("'%s' is not finite", text);
    small_run_close(&run);
    r->job->resources->shard_optimizer = 0;
}

static void over_ranks(void **state)
{
    struct rig *r = *state;
    shards_cover_all();
    train_all_ways(r);
    setenv("ISLR_NCCL", r->ways[0], 1);
    resume_points_are_the_same(r, cuda(r) ? DTYPE_F16 : DTYPE_BF16);
    one_ranks_gradient_is_all_ranks(r);
    if (!cuda(r)) // minutes on the host model
        large_models_are_the_same(r);
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
    r.ways = argv + 1;
    r.set = small_set_make();
    r.job = small_run_job();
    r.job->train->batch = (uint32_t)comm_size(r.world) * r.job->train->group;
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(over_ranks, &r)};
    if (cmocka_run_group_tests(tests, NULL, NULL))
        comm_abort(r.world, 1); // the others may wait
    spec_free(r.job);
    set_close(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}
