// Schedules and the order of clips: the published counting (reference section 4).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/train/sampler.h"
#include "core/train/schedule.h"

static void near(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-6 * fabs(want));
}

static struct schedule published(void)
{
    struct error e;
    struct schedule s;
    Islr__JobSpec *job = spec_default();
    assert_int_equal(schedule_make(&s, job, 94477, &e), 0);
    spec_free(job);
    return s;
}

static void steps_are_counted_as_published(void **state)
{
    (void)state;
    struct schedule s = published();
    assert_int_equal(s.steps_per_epoch, 94477 / 256);
    assert_int_equal(s.steps, 36900);
    assert_int_equal(s.warmup, 9225);
    assert_int_equal(s.ramp, 9225);
    assert_int_equal(schedule_epoch(&s, 0), 1); // of a resume point before the first step
    assert_int_equal(schedule_epoch(&s, 1), 1);
    assert_int_equal(schedule_epoch(&s, 369), 1);
    assert_int_equal(schedule_epoch(&s, 370), 2);
    assert_int_equal(schedule_epoch(&s, 36900), 100);
    assert_true(schedule_ends_epoch(&s, 369));
    assert_false(schedule_ends_epoch(&s, 370));
}

static void rates_and_weights_follow_the_formulas(void **state)
{
    (void)state;
    struct schedule s = published();
    struct step_scalars first = schedule_scalars(&s, 1);
    assert_true(first.lr == 0); // the first step's rate is 0
    near(first.bias1, 0.1);
    near(first.bias2, 1 - 0.999);
    near(first.ema_alpha, 0.5);
    near(first.consistency, 5 * exp(-5 * pow(1 - 1.0 / 9225, 2)));
    near(schedule_lr(&s, 2), 3e-4 / 9225);
    near(schedule_lr(&s, 9226), 3e-4); // s-1 = W: the peak
    near(schedule_lr(&s, 36900), 3e-4 / (36900 - 9225));
    near(schedule_scalars(&s, 9225).consistency, 5);
    near(schedule_scalars(&s, 36900).consistency, 5);
    near(schedule_scalars(&s, 20).ema_alpha, 1 - 1.0 / 21);
    near(schedule_scalars(&s, 100).ema_alpha, 0.97);
}

static void steps_take_the_place_of_epochs(void **state)
{
    (void)state;
    struct error e;
    struct schedule s;
    Islr__JobSpec *job = spec_default();
    job->train->steps = 8;
    job->train->batch = 32;
    assert_int_equal(schedule_make(&s, job, 100, &e), 0); // 3 batches an epoch
    assert_int_equal(s.steps, 8);
    assert_int_equal(s.epochs, 3);
    assert_int_equal(s.warmup, 2);
    assert_true(schedule_ends_epoch(&s, 8)); // the last epoch is short
    job->train->warmup = 0;
    assert_int_equal(schedule_make(&s, job, 100, &e), 0);
    near(schedule_lr(&s, 1), 3e-4); // no warm-up: begins at the peak
    spec_free(job);
}

static void too_few_clips_are_refused(void **state)
{
    (void)state;
    struct error e = {0};
    struct schedule s;
    Islr__JobSpec *job = spec_default();
    assert_int_equal(schedule_make(&s, job, 255, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "255 clips"));
    spec_free(job);
}

static void every_epoch_has_each_clip_once_in_its_own_order(void **state)
{
    (void)state;
    enum { CLIPS = 50, BATCH = 8 };
    uint32_t clips[CLIPS], first[CLIPS / BATCH * BATCH];
    for (uint32_t i = 0; i < CLIPS; i++)
        clips[i] = 1000 + i;
    struct sampler s;
    sampler_create(&s, clips, CLIPS, BATCH, 42, 1);
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        int seen[CLIPS] = {0};
        for (uint32_t b = 0; b < CLIPS / BATCH; b++) {
            const uint32_t *batch = sampler_batch(&s, epoch, b);
            for (int i = 0; i < BATCH; i++) {
                assert_int_equal(seen[batch[i] - 1000]++, 0);
                if (epoch == 1)
                    first[b * BATCH + (uint32_t)i] = batch[i];
            }
        }
        if (epoch == 2)
            assert_memory_not_equal(sampler_batch(&s, 2, 0), first, BATCH * sizeof *first);
    }
    // Depends on seed and epoch alone, whatever was asked before.
    assert_memory_equal(sampler_batch(&s, 1, 3), first + 3 * BATCH, BATCH * sizeof *first);
    sampler_destroy(&s);
    sampler_create(&s, clips, CLIPS, BATCH, 42, 0);
    assert_memory_equal(sampler_batch(&s, 7, 0), clips, BATCH * sizeof *clips);
    sampler_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_counted_as_published),
        cmocka_unit_test(rates_and_weights_follow_the_formulas),
        cmocka_unit_test(steps_take_the_place_of_epochs),
        cmocka_unit_test(too_few_clips_are_refused),
        cmocka_unit_test(every_epoch_has_each_clip_once_in_its_own_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
