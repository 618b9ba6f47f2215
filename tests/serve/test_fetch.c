// A run that is read from the database while something is said to it: whatever the order in which the two are heard of,
// the server's memory is what the database says in the end. Reading stands still here, with what it has read, until a
// test lets it go on.
#include <semaphore.h>
#include <stdatomic.h>

#include "core/spec/spec.h"
#include "core/store/run_read.h"
#include "daemon/serve_server.h"
#include "tests/serve/scene.h"

static atomic_int stalls; // the next read
static sem_t has_read, may_go_on;

int __real_run_read_live(struct store_reader *reader, uint64_t run, struct pool *pool, struct run_live **out,
                         struct error *e);
int __wrap_run_read_live(struct store_reader *reader, uint64_t run, struct pool *pool, struct run_live **out,
                         struct error *e);

int __wrap_run_read_live(struct store_reader *reader, uint64_t run, struct pool *pool, struct run_live **out,
                         struct error *e)
{
    int rc = __real_run_read_live(reader, run, pool, out, e);
    if (!atomic_exchange(&stalls, 0))
        return rc;
    sem_post(&has_read);
    while (sem_wait(&may_go_on))
        ;
    return rc;
}

// A held run that waits for `first`, of which the server has just read that it is held.
static uint64_t submit_and_read(uint64_t first)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(1, 1);
    s.after = &first;
    s.n_after = 1;
    s.has_hold = s.hold = 1;
    sem_init(&has_read, 0, 0);
    sem_init(&may_go_on, 0, 0);
    atomic_store(&stalls, 1);
    Islr__Envelope *answer = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t run = answer->submitted->run;
    envelope_free(answer);
    spec_free(s.job);
    while (sem_trywait(&has_read))
        rig_for(&rig, 1);
    return run;
}

static void let_read(void)
{
    sem_post(&may_go_on);
    while (rig.server->pending)
        uv_run(&rig.loop, UV_RUN_ONCE);
}

static void test_released_meanwhile(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t first = client_submit(&client, job_tiny(1, 1)), run = submit_and_read(first);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RELEASE, run);
    let_read();
    const struct run *r = runs_find(&rig.server->runs, run);
    assert_non_null(r);
    assert_int_equal(r->now.state, ISLR__RUN_STATE__RUN_QUEUED);
    world_open(&rank, &rig, 1, "w");
    rank_finish(&rank, first, world_take(&rank, 1, first), ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    world_take(&rank, 1, run);
    world_close(&rank, 1);
}

static void test_cancelled_meanwhile(void **state)
{
    (void)state;
    uint64_t run = submit_and_read(client_submit(&client, job_tiny(1, 1)));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, run);
    let_read();
    assert_null(runs_find(&rig.server->runs, run));
}

static void test_priority_meanwhile(void **state)
{
    (void)state;
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    uint64_t run = submit_and_read(client_submit(&client, job_tiny(1, 1)));
    c.has_verb = c.has_priority = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_SET_PRIORITY;
    c.priority = 7;
    c.targets = &run;
    c.n_targets = 1;
    actor_call_ok(&client, &m);
    let_read();
    const struct run *r = runs_find(&rig.server->runs, run);
    assert_non_null(r);
    assert_int_equal(r->now.priority, 7);
    assert_int_equal(r->wants.priority, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_released_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_priority_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
