// fp16 on the host model of a card: the loss scale falls until gradients are finite and weights move, a resume point
// carries it to the bit, one without a scale begins anew, and devices get the types that they can train in. Argument:
// a pattern of the names of tests.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/recipe.h"
#include "core/train/state.h"
#include "kernels/cuda_open.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

// So large a scale that fp16 cannot hold the first steps' gradients.
#define LARGE_SCALE 0x1p20f

struct rig {
    struct backend *backend;
    struct comm *comm;
    struct set *set;
    Islr__JobSpec *job;
    char *directory;
};

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

static int set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);
    struct error e = {0};
    char directory[] = "/tmp/islr-test-scaling-XXXXXX";
    r->backend = backend_cuda_open(0, &e);
    must(!r->backend, &e);
    r->comm = comm_open_single();
    r->set = small_set_make();
    r->job = small_run_job();
    r->directory = xstrdup(mkdtemp(directory));
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    struct error e;
    must(file_remove_tree(r->directory, &e), &e);
    free(r->directory);
    spec_free(r->job);
    set_close(r->set);
    comm_close(r->comm);
    r->backend->op->close(r->backend);
    free(r);
    return 0;
}

static struct loss_scaler read_scaler(struct small_run *run)
{
    struct error e = {0};
    struct loss_scaler scaler;
    run->step.stream->op->download(run->step.stream, &scaler, run->step.scaler, sizeof scaler);
    must(run->step.stream->op->synchronize(run->step.stream, &e), &e);
    return scaler;
}

static void open_run(struct rig *r, struct small_run *run, enum dtype type)
{
    small_run_open(run, r->job, r->set, r->backend, r->comm, type, 0);
}

static void start_large(struct small_run *run)
{
    const float large = LARGE_SCALE;
    run->step.stream->op->upload(run->step.stream, &run->step.scaler->scale, &large, sizeof large);
}

static void scale_falls_and_weights_move(void **state)
{
    struct rig *r = *state;
    struct small_run run, exact;
    open_run(r, &exact, DTYPE_F32);
    struct step_result want = small_run_steps(&exact, 1, 1);
    small_run_close(&exact);

    open_run(r, &run, DTYPE_F16);
    start_large(&run);
    struct step_result got = small_run_steps(&run, 1, 1);
    assert_true(got.loss_scale == (double)LARGE_SCALE && got.skipped == 1);
    assert_true(fabs(got.learner[STUDENT].loss - want.learner[STUDENT].loss) < 5e-3 * want.learner[STUDENT].loss);
    assert_true(got.lr == 0); // the schedule's first step, and it is so again
    struct loss_scaler scaler = read_scaler(&run);
    assert_true(scaler.scale == LARGE_SCALE / 2 && scaler.taken[STUDENT] == 0);
    size_t count;
    float *student = small_run_values(&run, STUDENT, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(isfinite(student[i]));
    free(student);

    for (uint32_t step = 2; step <= 5; step++) {
        struct loss_scaler before = scaler;
        got = small_run_steps(&run, step, step);
        scaler = read_scaler(&run);
        int fell = scaler.scale < before.scale;
        assert_true(got.loss_scale == (double)before.scale && scaler.scale == before.scale * (fell ? 0.5f : 1));
        assert_true(scaler.skipped == before.skipped + (uint32_t)fell && got.skipped == scaler.skipped);
        assert_true(fabs(got.lr - schedule_lr(&run.step.schedule, step - before.skipped)) < 1e-9);
        assert_true(fell || (scaler.taken[0] == before.taken[0] + 1 && isfinite(got.learner[0].grad_norm)));
    }
    assert_true(scaler.skipped > 1 && scaler.taken[STUDENT] > 0);
    small_run_close(&run);
}

static void resume_point_carries_the_scale(void **state)
{
    struct rig *r = *state;
    struct small_run run;
    struct error e = {0};
    open_run(r, &run, DTYPE_F16);
    start_large(&run);
    struct step_result through = small_run_steps(&run, 1, 5);
    struct hash want = small_run_hash(&run);
    struct loss_scaler scaler = read_scaler(&run);
    small_run_close(&run);

    const uint32_t at = 3;
    open_run(r, &run, DTYPE_F16);
    start_large(&run);
    small_run_steps(&run, 1, at);
    must(state_save(r->directory, &(struct run_state){.step = at}, &run.step, &e), &e);
    small_run_close(&run);

    struct run_state back = {0};
    open_run(r, &run, DTYPE_F16);
    must(state_load(r->directory, NULL, &back, &run.step, &e), &e);
    assert_int_equal(back.step, at);
    struct step_result last = small_run_steps(&run, at + 1, 5);
    struct loss_scaler again = read_scaler(&run);
    struct hash got = small_run_hash(&run);
    assert_true(hash_equal(&got, &want));
    assert_memory_equal(&again, &scaler, sizeof again);
    assert_memory_equal(&last, &through, sizeof last);
    small_run_close(&run);
    must(file_remove_tree(r->directory, &e), &e);
}

static void resume_point_without_a_scale_begins_anew(void **state)
{
    struct rig *r = *state;
    struct small_run run;
    struct error e = {0};
    char *text = NULL;
    size_t size;
    open_run(r, &run, DTYPE_BF16);
    small_run_steps(&run, 1, 1);
    must(state_save(r->directory, &(struct run_state){.step = 1}, &run.step, &e), &e);
    small_run_close(&run);

    struct run_state back = {0};
    struct log log = {open_memstream(&text, &size), LOG_INFO, ""};
    open_run(r, &run, DTYPE_F16);
    must(state_load(r->directory, &log, &back, &run.step, &e), &e);
    fclose(log.stream);
    assert_non_null(strstr(text, "is of a run without loss scaling: the scale begins anew"));
    struct loss_scaler scaler = read_scaler(&run);
    assert_true(scaler.scale == 65536 && scaler.taken[0] == 1 && scaler.taken[1] == 1 && scaler.skipped == 0);
    assert_true(fabs(scaler.power1[0] - 0.9) < 1e-12);
    small_run_steps(&run, 2, 2);
    small_run_close(&run);
    free(text);
    must(file_remove_tree(r->directory, &e), &e);
}

static void types_are_those_of_the_device(void **state)
{
    struct rig *r = *state;
    struct error e = {0};
    enum dtype type;
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_AUTO, r->backend, &type, &e), 0);
    assert_int_equal(type, DTYPE_BF16);
    setenv("CUDAHOST_CAPABILITY", "7.5", 1); // a T4's
    struct backend *turing = backend_cuda_open(0, &e);
    must(!turing, &e);
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_AUTO, turing, &type, &e), 0);
    assert_int_equal(type, DTYPE_F16);
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_BF16, turing, &type, &e), -1);
    assert_non_null(strstr(e.text, "train.precision is bf16"));
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_FP16, turing, &type, &e), 0);
    turing->op->close(turing);
    setenv("CUDAHOST_CAPABILITY", "9.0", 1);
    struct backend *cpu = backend_cpu_open(1, &e);
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_FP16, cpu, &type, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "train.precision is fp16"));
    assert_int_equal(recipe_type(ISLR__TRAIN__PRECISION__PRECISION_AUTO, cpu, &type, &e), 0);
    assert_true(type == DTYPE_F32 || type == DTYPE_BF16);
    cpu->op->close(cpu);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_falls_and_weights_move),
        cmocka_unit_test(resume_point_carries_the_scale),
        cmocka_unit_test(resume_point_without_a_scale_begins_anew),
        cmocka_unit_test(types_are_those_of_the_device),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("scaling", tests, set_up, tear_down);
}
