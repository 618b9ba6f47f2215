// What a client does with the queue: submit, list, show, control, wait, follow. No rank is there.
#include "tests/serve/scene.h"

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"

static Islr__Envelope *submit(Islr__Submit *s)
{
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, s);
    return actor_call(&client, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
}

static void test_submit(void **state)
{
    (void)state;
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s), *reply;
    s.job = job_tiny(0, 1);
    s.key = (char *)"first";
    reply = submit(&s);
    assert_int_equal(reply->submitted->run, 1);
    assert_false(reply->submitted->existed);
    envelope_free(reply);
    reply = submit(&s);
    assert_int_equal(reply->submitted->run, 1);
    assert_true(reply->submitted->existed);
    envelope_free(reply);
    s.has_dry_run = s.dry_run = 1;
    reply = submit(&s);
    assert_int_equal(reply->submitted->run, 0);
    envelope_free(reply);
    s.job->train->batch = 33; // no whole number of groups
    s.job->train->lr = -1;
    const char *text = actor_call_fault(&client, &m, ERR_INVALID);
    assert_non_null(strstr(text, "train.batch"));
    assert_non_null(strstr(text, "train.lr"));
    spec_free(s.job);
    s.job = NULL;
    actor_call_fault(&client, &m, ERR_INVALID);
    s.job = job_tiny(0, 1);
    s.dry_run = 0;
    uint64_t unknown = 77;
    s.after = &unknown;
    s.n_after = 1;
    s.key = NULL;
    actor_call_fault(&client, &m, ERR_NOT_FOUND);
    spec_free(s.job);
    // the numbers go on after a restart, and the key is still known
    rig_stop_server(&rig);
    rig_start_server(&rig);
    actor_wait_up(&client);
    assert_int_equal(client_submit(&client, job_tiny(0, 1)), 2);
}

static void test_list_and_show(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        client_submit(&client, job_tiny(0, 1));
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, 2);
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list), *reply;
    reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_RUN_LIST);
    assert_int_equal(reply->run_list->n_runs, 3);
    assert_int_equal(reply->run_list->runs[0]->run, 3);
    assert_string_equal(reply->run_list->runs[0]->reason, "no workers are there");
    assert_int_equal(reply->run_list->runs[1]->state, ISLR__RUN_STATE__RUN_HELD);
    envelope_free(reply);
    list.where = (char *)"state=held and name=tiny";
    reply = actor_call(&client, &m, ISLR__ENVELOPE__BODY_RUN_LIST);
    assert_int_equal(reply->run_list->n_runs, 1);
    envelope_free(reply);
    list.where = (char *)"sate=held";
    assert_non_null(strstr(actor_call_fault(&client, &m, ERR_INVALID), "did you mean 'state'"));
    reply = client_show(&client, 0); // the newest of this user
    assert_int_equal(reply->run_detail->summary->run, 3);
    assert_int_equal(reply->run_detail->n_events, 1);
    assert_string_equal(reply->run_detail->job->preset, "tiny");
    envelope_free(reply);
    Islr__GetRun get = ISLR__GET_RUN__INIT;
    Islr__Envelope q = ENVELOPE(GET_RUN, get_run, &get);
    get.has_run = 1;
    get.run = 99;
    assert_string_equal(actor_call_fault(&client, &q, ERR_NOT_FOUND), "there is no run 99");
}

// A list that does not fit into one message comes in several.
static void test_long_list(void **state)
{
    (void)state;
    Islr__JobSpec *job = job_tiny(0, 1);
    char *name = xmalloc(201);
    memset(name, 'n', 200);
    name[200] = 0;
    free(job->name);
    job->name = name;
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job;
    enum { RUNS = 3000 };
    for (int i = 0; i < RUNS; i++)
        actor_ask(&client, &m);
    for (int i = 0; i < RUNS; i++)
        envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED));
    spec_free(job);
    Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
    Islr__Envelope q = ENVELOPE(LIST_RUNS, list_runs, &list);
    list.has_limit = 1;
    list.limit = 0;
    Islr__Envelope *last = actor_call(&client, &q, ISLR__ENVELOPE__BODY_RUN_LIST);
    size_t count = last->run_list->n_runs;
    uint64_t expected = RUNS;
    int messages = 1;
    while (actor_has(&client, ISLR__ENVELOPE__BODY_RUN_LIST)) {
        Islr__Envelope *part = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_LIST);
        assert_true(part->run_list->more);
        for (size_t i = 0; i < part->run_list->n_runs; i++)
            assert_int_equal(part->run_list->runs[i]->run, expected--);
        count += part->run_list->n_runs;
        messages++;
        envelope_free(part);
    }
    assert_int_equal(count, RUNS);
    assert_true(messages > 1);
    envelope_free(last);
}

static void test_control(void **state)
{
    (void)state;
    uint64_t a = client_submit(&client, job_tiny(0, 1)), b = client_submit(&client, job_tiny(0, 1));
    client_control(&client, ISLR__CONTROL__VERB__VERB_HOLD, a);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RELEASE, a);
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, a);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RETRY, a);
    Islr__Envelope *d = client_show(&client, a);
    assert_int_equal(d->run_detail->n_events, 5);
    assert_string_equal(strstr(d->run_detail->events[3]->text, "cancelled by"), d->run_detail->events[3]->text);
    envelope_free(d);
    // several at a time: what can be done is done, what went wrong is said
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    uint64_t targets[] = {a, 55, b};
    c.has_verb = 1;
    c.verb = ISLR__CONTROL__VERB__VERB_CANCEL;
    c.targets = targets;
    c.n_targets = 3;
    assert_string_equal(actor_call_fault(&client, &m, ERR_NOT_FOUND), "there is no run 55");
    client_wait_state(&client, a, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, b, ISLR__RUN_STATE__RUN_CANCELLED);
    c.n_targets = 0;
    actor_call_fault(&client, &m, ERR_INVALID);
    c.verb = ISLR__CONTROL__VERB__VERB_PIN;
    c.n_targets = 1;
    actor_call_fault(&client, &m, ERR_NOT_FOUND);
    c.verb = (Islr__Control__Verb)99;
    actor_call_fault(&client, &m, ERR_INVALID);
    client_control(&client, ISLR__CONTROL__VERB__VERB_DRAIN, 0);
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope q = ENVELOPE(GET_STATUS, get_status, &get), *status;
    rig_stop_server(&rig);
    rig_start_server(&rig); // remembered
    actor_wait_up(&client);
    status = actor_call(&client, &q, ISLR__ENVELOPE__BODY_STATUS);
    assert_true(status->status->draining);
    assert_int_equal(status->status->ended, 2);
    envelope_free(status);
    client_control(&client, ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING, 0);
    status = actor_call(&client, &q, ISLR__ENVELOPE__BODY_STATUS);
    assert_false(status->status->draining);
    envelope_free(status);
}

static void test_wait(void **state)
{
    (void)state;
    uint64_t runs[3];
    for (int i = 0; i < 3; i++)
        runs[i] = client_submit(&client, job_tiny(0, 1));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, runs[0]);
    Islr__Wait wait = ISLR__WAIT__INIT;
    Islr__Envelope m = ENVELOPE(WAIT, wait, &wait);
    wait.runs = runs;
    wait.n_runs = 3;
    uint64_t id = actor_ask(&client, &m);
    Islr__Envelope *first = actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED); // had ended before
    assert_int_equal(first->id, id);
    assert_int_equal(first->run_ended->run, runs[0]);
    assert_int_equal(first->run_ended->state, ISLR__RUN_STATE__RUN_CANCELLED);
    envelope_free(first);
    rig_for(&rig, 30);
    assert_false(actor_has(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, runs[2]);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
    assert_false(actor_has(&client, ISLR__ENVELOPE__BODY_OK));
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, runs[1]);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_OK));
    runs[1] = 1234;
    actor_call_fault(&client, &m, ERR_NOT_FOUND);
    // what they said before the fault
    while (actor_has(&client, ISLR__ENVELOPE__BODY_RUN_ENDED))
        envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_RUN_ENDED));
}

static void test_after(void **state)
{
    (void)state;
    uint64_t first = client_submit(&client, job_tiny(0, 1));
    uint64_t strict = client_submit_after(&client, first, 0), any = client_submit_after(&client, first, 1);
    uint64_t second = client_submit_after(&client, strict, 0);
    client_wait_reason(&client, strict, "waits for run 1");
    client_control(&client, ISLR__CONTROL__VERB__VERB_CANCEL, first);
    client_wait_state(&client, strict, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_state(&client, second, ISLR__RUN_STATE__RUN_CANCELLED);
    client_wait_reason(&client, second, "run 2, which had to succeed first, has not");
    client_wait_reason(&client, any, "no workers are there"); // any end will do
}

static void test_greeting(void **state)
{
    (void)state;
    struct error e;
    struct server_options options = {.directory = rig.directory};
    assert_null(server_open(&rig.loop, &options, &e)); // one server a directory
    assert_non_null(strstr(e.text, "another server"));
    // only workers send what workers send
    Islr__Register r = ISLR__REGISTER__INIT;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &r);
    actor_call_fault(&client, &m, ERR_DENIED);
    Islr__Welcome w = ISLR__WELCOME__INIT; // and nobody what servers send
    Islr__Envelope no = ENVELOPE(ASSIGN, assign, (Islr__Assign *)&w);
    Islr__Assign assign = ISLR__ASSIGN__INIT;
    no.assign = &assign;
    actor_call_fault(&client, &no, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_submit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_and_show, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after, setup, teardown),
        cmocka_unit_test_setup_teardown(test_greeting, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
