// Clips that are fed batch by batch give what those of a set that is resident give, to the bit: views by the device's own
// kernel, however feeds follow one another, and whole training steps. On the device that the environment names
// (tests/kernels/device.h). Argument: the name of one test, or a pattern.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/train/dataset.h"
#include "core/train/evaluate.h"
#include "tests/kernels/device.h"
#include "tests/train/small_run.h"
#include "tests/train/small_set.h"

enum { CLIPS = 6, VIEWS = 2, PLANS = CLIPS * VIEWS, FEEDS = 5, VIEW = SMALL_MAX_LEN * LANDMARKS * 3 };

struct rig {
    struct set *set;
    struct backend *backend;
    struct stream *stream;
    struct dataset resident, fed;
    struct augment_plan *plans; // device [PLANS]
    float *views;               // device [PLANS, VIEW]
};

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

static void *allocate(const struct rig *r, size_t size)
{
    struct error e = {0};
    void *p = r->backend->op->allocate(r->backend, size, &e);
    must(!p, &e);
    return p;
}

static int set_up(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);
    struct error e = {0};
    Islr__Data data = ISLR__DATA__INIT;
    data.fold = (char *)"full";
    r->set = small_set_make();
    r->backend = test_device_open(1, &e);
    must(!r->backend, &e);
    r->stream = r->backend->op->stream_create(r->backend, &e);
    must(!r->stream, &e);
    must(dataset_create(&r->resident, r->set, r->backend, &(struct dataset_options){&data, 0, 0}, &e), &e);
    must(dataset_create(&r->fed, r->set, r->backend, &(struct dataset_options){&data, CLIPS, VIEWS}, &e), &e);
    assert_true(!r->resident.feeder && r->fed.feeder);
    r->plans = allocate(r, PLANS * sizeof *r->plans);
    r->views = allocate(r, PLANS * VIEW * sizeof *r->views);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    r->backend->op->release(r->backend, r->plans);
    r->backend->op->release(r->backend, r->views);
    dataset_destroy(&r->resident);
    dataset_destroy(&r->fed);
    r->backend->op->stream_destroy(r->stream);
    r->backend->op->close(r->backend);
    set_close(r->set);
    free(r);
    return 0;
}

// Views of a batch's clips, some with the face of another clip, of the batch or not.
static void draw_plans(const struct rig *r, uint32_t feed, struct augment_plan plans[PLANS])
{
    struct rng rng = rng_make(12, RNG_BENCH, feed, 0, 0);
    uint32_t clips = (uint32_t)set_count(r->set);
    for (uint32_t i = 0; i < PLANS; i++) {
        plans[i] = dataset_plain_plan(&r->resident, (feed * 7 + i % CLIPS * 3) % clips);
        if (rng_below(&rng, 3))
            plans[i].partner = (int32_t)rng_below(&rng, clips);
        plans[i].flags = AUGMENT_FILL_HAND | (i % 2 ? AUGMENT_INTERPOLATE : AUGMENT_FLIP);
    }
}

// The views that the plans make of the clips in a feed.
static void make_views(const struct rig *r, const struct feed *feed, const struct augment_plan *plans, float *views)
{
    struct error e = {0};
    r->stream->op->upload(r->stream, r->plans, plans, PLANS * sizeof *plans);
    queue(r->stream, augment, .frames = feed->frames, .offset = feed->offset, .frame_count = feed->frame_count,
          .plan = r->plans, .views = PLANS, .max_frames = SMALL_MAX_LEN, .out = r->views);
    r->stream->op->download(r->stream, views, r->views, PLANS * VIEW * sizeof *views);
    must(r->stream->op->synchronize(r->stream, &e), &e);
}

// Each feed is queued before the one before it is computed with, as steps do; it may have arrived by then or not.
static void views_are_the_same_bits(void **state)
{
    struct rig *r = *state;
    struct error e = {0};
    struct augment_plan plans[FEEDS + 1][PLANS], renamed[FEEDS + 1][PLANS];
    struct feed feed[FEEDS + 1], resident;
    float *want = xcalloc(PLANS * VIEW, sizeof *want), *got = xcalloc(PLANS * VIEW, sizeof *got);
    for (uint32_t k = 0; k <= FEEDS; k++) {
        draw_plans(r, k, plans[k]);
        for (int i = 0; i < PLANS; i++)
            renamed[k][i] = plans[k][i];
    }
    feed[0] = feeder_put(r->fed.feeder, renamed[0], PLANS);
    for (uint32_t k = 0; k < FEEDS; k++) {
        must(feeder_wait(r->fed.feeder, &e), &e);
        feed[k + 1] = feeder_put(r->fed.feeder, renamed[k + 1], PLANS);
        if (k % 2)
            must(feeder_wait(r->fed.feeder, &e), &e);
        assert_true(feeder_holds(r->fed.feeder, &feed[k]) && feeder_holds(r->fed.feeder, &feed[k + 1]));
        assert_true(!k || !feeder_holds(r->fed.feeder, &feed[k - 1]));
        must(dataset_feed(&r->resident, plans[k], PLANS, &resident, &e), &e);
        make_views(r, &resident, plans[k], want);
        make_views(r, &feed[k], renamed[k], got);
        assert_memory_equal(got, want, PLANS * VIEW * sizeof *want);
    }
    must(feeder_wait(r->fed.feeder, &e), &e);
    free(want);
    free(got);
}

// Logits of the first clips, as evaluations between steps make them.
static float *evaluate(struct small_run *r, struct comm *comm)
{
    struct error e = {0};
    struct learner *l = &r->step.learner[STUDENT];
    struct evaluator v = {comm, r->step.stream, &r->data, &l->model, &l->space, &l->views, l->x, r->step.clips, 0};
    float *logits;
    if (evaluate_logits(&v, r->data.train, 3 * SMALL_BATCH - 1, &logits, &e))
        fail_msg("%s", e.text);
    return logits;
}

static void steps_give_the_same_bits(void **state)
{
    struct rig *r = *state;
    struct comm *comm = comm_open_single();
    Islr__JobSpec *job = small_run_job();
    job->train->steps = 40;                                              // five epochs
    job->augment->face_cutmix->p = job->augment->face_cutmix->until = 1; // faces of clips that are not in the batch
    struct hash hashes[2];
    float *logits[2];
    for (int fed = 0; fed < 2; fed++) {
        struct small_run run;
        small_run_open(&run, job, r->set, r->backend, comm, DTYPE_F32, fed);
        assert_true(!run.data.feeder == !fed);
        assert_true(augmenter_draw(run.step.augmenter, run.data.train[0], STUDENT, 1).partner >= SMALL_BATCH);
        small_run_steps(&run, 1, 2); // the second batch was fetched during the first step
        logits[fed] = evaluate(&run, comm);
        small_run_steps(&run, 3, 3);
        hashes[fed] = small_run_hash(&run);
        small_run_close(&run);
    }
    assert_true(hash_equal(&hashes[0], &hashes[1]));
    assert_memory_equal(logits[0], logits[1], (3 * SMALL_BATCH - 1) * SMALL_SIGNS * sizeof *logits[0]);
    free(logits[0]);
    free(logits[1]);
    spec_free(job);
    comm_close(comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(views_are_the_same_bits),
                                       cmocka_unit_test(steps_give_the_same_bits)};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("feeder", tests, set_up, tear_down);
}
