// What could have no end in the server's answers has one: jobs, texts of ranks, and what is told of very many runs.
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"
#include "daemon/serve_server.h"
#include "tests/serve/scene.h"

static char *long_text(size_t length)
{
    char *text = xmalloc(length + 1);
    memset(text, 'x', length);
    text[length] = 0;
    return text;
}

// ---- jobs -----------------------------------------------------------------------------------------------------------

// A soup of so many models with names of 4,000 bytes.
static Islr__JobSpec *job_of_models(size_t count)
{
    Islr__JobSpec *job = job_tiny(1, 1);
    job->has_kind = 1;
    job->kind = ISLR__JOB_SPEC__KIND__KIND_SOUP;
    job->models = xcalloc(count, sizeof *job->models);
    job->n_models = count;
    for (size_t i = 0; i < count; i++)
        job->models[i] = long_text(4000);
    return job;
}

static void test_large_jobs(void **state)
{
    (void)state;
    enum { FITS = RUN_JOB_MAX / 4000 - 2 };
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_of_models(FITS);
    Islr__Envelope *answer = actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    Islr__Envelope *d = client_show(&client, answer->submitted->run);
    assert_int_equal(d->run_detail->job->n_models, FITS);
    envelope_free(d);
    envelope_free(answer);
    spec_free(s.job);
    s.job = job_of_models(FITS + 3);
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "more than the 491520 that one may have"));
    spec_free(s.job);
    // one run of a sweep
    Islr__JobSpec *differs = job_of_models(FITS + 3);
    Islr__Variation variation = ISLR__VARIATION__INIT, *variations = &variation;
    s.job = job_tiny(1, 1);
    s.variations = &variations;
    s.n_variations = 1;
    variation.differs = differs;
    variation.label = (char *)"models";
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "more than the 491520"));
    Islr__Axis axis = ISLR__AXIS__INIT, *axes = &axis;
    s.n_variations = 0;
    s.axes = &axes;
    s.n_axes = 1;
    axis.values = &differs;
    axis.labels = &variation.label;
    axis.n_values = axis.n_labels = 1;
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "more than the 491520"));
    spec_free(differs);
    spec_free(s.job);
}

// One that an older server has taken, larger than a message: its attempt ends with the reason, and who asks for it is
// not left waiting.
static void test_job_of_an_older_server(void **state)
{
    (void)state;
    struct actor rank;
    Islr__JobSpec *job = job_of_models(300);
    size_t size = islr__job_spec__get_packed_size(job);
    uint8_t *spec = xmalloc(size);
    islr__job_spec__pack(job, spec);
    struct run_submit r = {.user = "ann",
                           .name = "large",
                           .kind = "soup",
                           .job_hash = spec_hash(job),
                           .spec = spec,
                           .spec_size = size,
                           .max_attempts = 5,
                           .time_ms = server_now_ms()};
    run_submit_prepare(&r);
    assert_int_equal(store_call(rig.server->store, &r.op), 0);
    free(spec);
    spec_free(job);
    rig_stop_server(&rig);
    client.up = 0;
    rig_start_server(&rig);
    actor_wait_up(&client);
    rank_open(&rank, &rig, "w", 0, 1);
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    Islr__RunState now = ISLR__RUN_STATE__RUN_QUEUED;
    for (unsigned ms = 0; now != ISLR__RUN_STATE__RUN_FAILED;) {
        Islr__Envelope *list = actor_call(&client, &m, ISLR__ENVELOPE__BODY_RUN_LIST);
        now = list->run_list->runs[0]->state;
        if (now == ISLR__RUN_STATE__RUN_FAILED)
            assert_non_null(strstr(list->run_list->runs[0]->reason, "a message (assign) of 12"));
        envelope_free(list);
        rig_wait(&rig, &ms, "the run's end");
    }
    Islr__GetRun get = ISLR__GET_RUN__INIT;
    Islr__Envelope show = ENVELOPE(GET_RUN, get_run, &get);
    get.has_run = 1;
    get.run = r.now.run;
    assert_non_null(strstr(actor_call_fault(&client, &show, ERR_FAILED), "a message (run_detail) of 12"));
    actor_close(&rank);
}

// ---- what ranks say -------------------------------------------------------------------------------------------------

static void follow_progress_of(struct actor *a, uint64_t run)
{
    Islr__Follow follow = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &follow);
    follow.has_run = follow.has_progress = 1;
    follow.run = run;
    follow.progress = 1;
    actor_ask(a, &m);
}

static void test_long_texts(void **state)
{
    (void)state;
    struct actor rank;
    uint64_t run = client_submit(&client, job_tiny(1, 1));
    world_open(&rank, &rig, 1, "w");
    uint32_t attempt = world_take(&rank, 1, run);
    follow_progress_of(&client, run);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_RECORDS));
    Islr__Progress progress = ISLR__PROGRESS__INIT;
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, &progress);
    progress.has_run = progress.has_attempt = 1;
    progress.run = run;
    progress.attempt = attempt;
    progress.doing = long_text(RPC_FRAME_MAX - 13); // as much as a message holds
    assert_in_range(islr__envelope__get_packed_size(&m), RPC_FRAME_MAX - 1, RPC_FRAME_MAX);
    actor_send(&rank, &m);
    free(progress.doing);
    Islr__Envelope *told = actor_next(&client, ISLR__ENVELOPE__BODY_PROGRESS);
    assert_int_equal(strlen(told->progress->doing), 63);
    envelope_free(told);
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope end = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = ISLR__FINISHED__OUTCOME__OUTCOME_FAILED;
    f.reason = long_text(RPC_FRAME_MAX - 100);
    actor_call_ok(&rank, &end);
    free(f.reason);
    Islr__Envelope *d = client_show(&client, run);
    assert_int_equal(strlen(d->run_detail->attempts[0]->reason), 1999);
    envelope_free(d);
    world_close(&rank, 1);
}

// ---- waits ----------------------------------------------------------------------------------------------------------

enum { RUNS = 5000, WAITS = 60 };

struct heard {
    size_t ended;
    int answered, refused;
};

static void hear(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct heard *h = context;
    (void)p;
    (void)why;
    h->ended += m && m->body_case == ISLR__ENVELOPE__BODY_RUN_ENDED;
    h->answered += m && m->body_case == ISLR__ENVELOPE__BODY_OK;
    h->refused += !m;
}

static void wait_for_all(struct actor *a, uint64_t group, struct heard *h)
{
    uint64_t runs[RUNS];
    Islr__Wait wait = ISLR__WAIT__INIT;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    struct error e;
    for (size_t i = 0; i < RUNS; i++)
        runs[i] = group + 1 + i;
    wait.runs = runs;
    wait.n_runs = RUNS;
    for (int i = 0; i < WAITS; i++)
        assert_true(peer_request(link_peer(a->link), &m, 0, hear, h, &e));
}

static void expect_all(const struct heard *h)
{
    for (unsigned ms = 0; h->answered + h->refused < WAITS;)
        rig_wait(&rig, &ms, "the answers");
    assert_int_equal(h->refused, 0);
    assert_int_equal(h->answered, WAITS);
    assert_int_equal(h->ended, WAITS * RUNS);
}

// Several times what a connection's queue takes is told of runs that end, to one that does not read for a while; and then
// again of the same that have ended long ago.
static void test_waits(void **state)
{
    (void)state;
    struct actor slow;
    struct heard live = {0}, later = {0};
    uint64_t group = client_sweep(&client, RUNS);
    actor_open(&slow, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    wait_for_all(&slow, group, &live);
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, group); // the waits are there by then
    peer_throttle(link_peer(slow.link), 1);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, group);
    client_wait_state(&client, group, ISLR__RUN_STATE__RUN_CANCELLED);
    rig_for(&rig, 200);
    peer_throttle(link_peer(slow.link), 0);
    expect_all(&live);
    wait_for_all(&slow, group, &later);
    peer_throttle(link_peer(slow.link), 1);
    rig_for(&rig, 200);
    peer_throttle(link_peer(slow.link), 0);
    expect_all(&later);
    actor_close(&slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_large_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_job_of_an_older_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
