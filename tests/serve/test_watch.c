// Live screens: whoever watches hears of every change, once however much happens, and nothing while nothing happens.
#include "tests/serve/world.h"

#include "core/rpc/protocol.h"

static struct rig rig;
static struct actor client, watcher;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    actor_open(&watcher, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void ask(struct actor *a, uint64_t seen)
{
    Islr__Watch watch = ISLR__WATCH__INIT;
    Islr__Envelope m = ENVELOPE(WATCH, watch, &watch);
    watch.has_seen = 1;
    watch.seen = seen;
    actor_ask(a, &m);
}

static uint64_t next(struct actor *a)
{
    Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_CHANGED);
    uint64_t version = m->changed->version;
    assert_true(version > 0);
    envelope_free(m);
    return version;
}

static Islr__RunState state_of(uint64_t run)
{
    Islr__Envelope *m = client_show(&watcher, run);
    Islr__RunState state = m->run_detail->summary->state;
    envelope_free(m);
    return state;
}

// Watches until the run is in that state, looking only when told.
static uint64_t watch_for(uint64_t seen, uint64_t run, Islr__RunState state)
{
    while (state_of(run) != state) {
        ask(&watcher, seen);
        uint64_t version = next(&watcher);
        assert_true(version >= seen); // on a very slow machine nothing has changed
        seen = version;
    }
    return seen;
}

static void test_changes_are_told(void **state)
{
    (void)state;
    struct actor rank;
    ask(&watcher, 0); // at once
    uint64_t seen = next(&watcher);
    ask(&watcher, seen);
    rig_for(&rig, 700); // longer than anything that is on its way would be kept back
    assert_false(actor_has(&watcher, ISLR__ENVELOPE__BODY_CHANGED));
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    assert_true(next(&watcher) > seen);
    assert_int_equal(state_of(run), ISLR__RUN_STATE__RUN_QUEUED);
    seen = watch_for(seen, run, ISLR__RUN_STATE__RUN_QUEUED);
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, run);
    seen = watch_for(seen, run, ISLR__RUN_STATE__RUN_HELD);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RELEASE, run);
    rank_open(&rank, &rig, "w", 0, 1);
    uint32_t attempt = world_take(&rank, 1, run);
    seen = watch_for(seen, run, ISLR__RUN_STATE__RUN_RUNNING);
    ask(&watcher, seen); // figures are told of, too
    rank_records(&rank, run, attempt, 1, 5);
    assert_true(next(&watcher) > seen);
    rank_finish(&rank, run, attempt, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    watch_for(seen, run, ISLR__RUN_STATE__RUN_SUCCEEDED);
    actor_close(&rank);
}

// A thousand changes are a few answers: no two in a quarter of a second, by the server's clock, which is this process's.
static void test_much_is_told_once(void **state)
{
    (void)state;
    ask(&watcher, 0);
    uint64_t seen = next(&watcher), first = seen, begun = uv_hrtime(), answers = 0;
    ask(&watcher, seen);
    for (int i = 0; i < 1000; i++) {
        client_submit(&client, job_tiny(1, 1));
        if (!actor_has(&watcher, ISLR__ENVELOPE__BODY_CHANGED))
            continue;
        seen = next(&watcher);
        ask(&watcher, seen);
        answers++;
    }
    double seconds = (double)(uv_hrtime() - begun) / 1e9;
    next(&watcher);                                     // of the last ones
    assert_true((double)answers <= seconds / 0.25 + 2); // the loop's time may lie behind by one
    assert_true(seen - first > answers);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    Islr__Watch watch = ISLR__WATCH__INIT;
    Islr__Envelope m = ENVELOPE(WATCH, watch, &watch);
    ask(&watcher, 0);
    uint64_t seen = next(&watcher);
    ask(&watcher, seen);
    assert_non_null(strstr(actor_call_fault(&watcher, &m, ERR_INVALID), "watches already"));
    // One that hangs up is forgotten, and another server's numbers mean nothing here.
    actor_close(&watcher);
    client_submit(&client, job_tiny(1, 1));
    actor_open(&watcher, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    ask(&watcher, seen + 1000000);
    assert_true(next(&watcher) < seen + 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_changes_are_told, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_much_is_told_once, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
