// Training steps that are recorded and replayed give the bits of steps that are queued operation by operation: in shapes
// with mixup and without, while learning rate, dropout's counter, EMA, lengths and pairs change from step to step; from a
// set that is fed batch by batch too. Where the device refuses to record, a run goes on without. Under mpirun: over ranks,
// with what NCCL does among what is recorded, and with the optimizer's state shared out. Arguments: fp32 or bf16, and how
// many steps; over the device that the environment names.
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

struct rig {
    struct comm *comm;
    struct backend *backend;
    struct set *set;
    Islr__JobSpec *job;
    enum dtype type;
    uint32_t steps;
};

struct outcome {
    struct hash hash;
    struct step_result last;
    uint64_t recorded, replayed;
    struct error trouble;
};

// spread: the set is fed, and the ranks share out the optimizer's state.
static struct outcome train(struct rig *r, const char *record, int spread)
{
    struct small_run run;
    struct error e = {0};
    setenv("ISLR_RECORD", record, 1);
    r->job->resources->shard_optimizer = spread;
    small_run_open(&run, r->job, r->set, r->backend, r->comm, r->type, spread);
    const struct recorder *recorder = &run.step.recorder;
    assert_true(recorder->uniform && recorder->on == !strcmp(record, "on"));
    assert_true(!run.data.feeder == !spread);
    struct step_result last = small_run_steps(&run, 1, r->steps);
    if (step_gather_weights(&run.step, &e))
        fail_msg("%s", e.text);
    struct outcome o = {small_run_hash(&run), last, recorder->recorded, recorder->replayed, recorder->trouble};
    small_run_close(&run);
    return o;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    assert_true(hash_equal(&a->hash, &b->hash));
    assert_memory_equal(&a->last, &b->last, sizeof a->last);
}

static void check_replays(void **state)
{
    struct rig *r = *state;
    struct outcome direct = train(r, "off", 0);
    assert_true(direct.recorded == 0 && direct.replayed == 0);
    for (int spread = 0; spread < 2; spread++) {
        struct outcome replayed = train(r, "on", spread);
        if (replayed.trouble.code != ERR_NONE)
            fail_msg("%s", replayed.trouble.text);
        if (comm_rank(r->comm) == 0)
            printf("%s: %u steps: %llu recorded, %llu replayed\n", spread ? "spread" : "plain", r->steps,
                   (unsigned long long)replayed.recorded, (unsigned long long)replayed.replayed);
        assert_true(replayed.recorded >= 1 && replayed.replayed > replayed.recorded);
        check_same(&direct, &replayed);
    }

    // On the host model alone: a card would record.
    static const char *const faults[] = {"spoilt", "broken"};
    for (int i = 0; i < 2; i++) {
        setenv("CUDAHOST_CAPTURE", faults[i], 1);
        struct outcome refused = train(r, "on", 0);
        unsetenv("CUDAHOST_CAPTURE");
        if (refused.replayed == 0) {
            assert_non_null(strstr(refused.trouble.text, "steps are not recorded from here on"));
            check_same(&direct, &refused);
        }
    }
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct rig r = {.comm = comm_open_world(&e)};
    r.steps = argc == 3 ? (uint32_t)atoi(argv[2]) : 0;
    r.type = argc == 3 && !strcmp(argv[1], "bf16") ? DTYPE_BF16 : DTYPE_F32;
    if (!r.comm || r.steps < 3) {
        fprintf(stderr, "%s\n", r.comm ? "usage: test_replay fp32|bf16 STEPS" : e.text);
        return 2;
    }
    if (!(r.backend = test_device_open(1, &e))) {
        fprintf(stderr, "%s\n", e.text);
        comm_abort(r.comm, 1);
    }
    r.set = small_set_make();
    r.job = small_run_job();
    r.job->train->batch = r.job->train->group * (uint32_t)comm_size(r.comm);
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(check_replays, &r)};
    if (cmocka_run_group_tests(tests, NULL, NULL))
        comm_abort(r.comm, 1); // the others may wait
    spec_free(r.job);
    set_close(r.set);
    r.backend->op->close(r.backend);
    comm_close(r.comm);
    return 0;
}
