// What workers may read: with a worker's token only as a rank of an attempt under way, and then only what that run has
// made, what its job names, and what the folds have made that it joins. Clients read everything.
#include "tests/serve/world.h"

#include <stdio.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"

static const Islr__Finished__Outcome OK = ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED;

static struct rig rig;
static struct actor admin, reader; // the server's user; who reads with a worker's token, by a connection of its own
static struct actor rank;          // world "w"
static Islr__ReadAs as;            // that rank, and the attempt that it works on

static void enter(struct actor *a, const char *role)
{
    Islr__CreateToken q = ISLR__CREATE_TOKEN__INIT;
    Islr__Envelope m = ENVELOPE(CREATE_TOKEN, create_token, &q);
    q.user = (char *)"node";
    q.role = (char *)role;
    Islr__Envelope *reply = actor_call(&admin, &m, ISLR__ENVELOPE__BODY_TOKEN_CREATED);
    actor_dial(a, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT, reply->token_created->token);
    envelope_free(reply);
    actor_wait_up(a);
}

static int setup(void **state)
{
    (void)state;
    rig_open_listening(&rig);
    actor_open(&admin, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    enter(&reader, "worker");
    rank_open(&rank, &rig, "w", 0, 1);
    islr__read_as__init(&as);
    as.has_run = as.has_attempt = as.has_rank = 1;
    as.world = (char *)"w";
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

// ---- reading --------------------------------------------------------------------------------------------------------

// denied ERR_NONE: it is read.
static void fetch(struct actor *a, const Islr__ReadAs *who, const struct hash *hash, enum error_code denied)
{
    Islr__Fetch q = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &q);
    q.has_sha256 = q.has_size = 1;
    q.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    q.size = 4;
    q.as = (Islr__ReadAs *)who;
    if (!denied) {
        envelope_free(actor_call(a, &m, ISLR__ENVELOPE__BODY_CHUNK));
        return;
    }
    char hex[65];
    hash_to_hex(hash, hex);
    const char *text = actor_call_fault(a, &m, denied);
    if (who && denied == ERR_DENIED && !strcmp(who->world, "w") && who->rank == 0)
        assert_non_null(strstr(text, hex));
}

static void list(struct actor *a, const Islr__ReadAs *who, uint64_t run, enum error_code denied)
{
    Islr__ListCheckpoints q = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &q);
    q.has_run = 1;
    q.run = run;
    q.as = (Islr__ReadAs *)who;
    if (denied)
        actor_call_fault(a, &m, denied);
    else
        envelope_free(actor_call(a, &m, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST));
}

// ---- what there is --------------------------------------------------------------------------------------------------

static void take(uint64_t run)
{
    as.run = run;
    as.attempt = world_take(&rank, 1, run);
}

static struct hash make(const char *what, uint32_t epoch, const char *content)
{
    struct hash hash = rank_put(&rank, content, strlen(content));
    if (epoch)
        return rank_epoch(&rank, as.run, as.attempt, epoch, content, strlen(content));
    rank_checkpoint(&rank, as.run, as.attempt, what, 3, &hash);
    return hash;
}

static void finish(void)
{
    rank_finish(&rank, as.run, as.attempt, OK, 0);
    client_wait_state(&admin, as.run, ISLR__RUN_STATE__RUN_SUCCEEDED);
}

static void set(char **field, const char *text)
{
    free(*field);
    *field = xstrdup(text);
}

// A run that has a soup, a student and an epoch, and has ended.
struct other {
    uint64_t run;
    struct hash soup, student, epoch;
};

static struct other make_other(const char *name)
{
    char text[3][40];
    struct other o = {.run = client_submit(&admin, job_tiny(1, 1))};
    snprintf(text[0], sizeof text[0], "the soup of %s", name);
    snprintf(text[1], sizeof text[1], "the student of %s", name);
    snprintf(text[2], sizeof text[2], "an epoch of %s", name);
    take(o.run);
    o.soup = make("soup", 0, text[0]);
    o.student = make("student", 0, text[1]);
    o.epoch = make(NULL, 7, text[2]);
    finish();
    return o;
}

// ---- tests ----------------------------------------------------------------------------------------------------------

static void check_strangers(const struct hash *own)
{
    Islr__ReadAs other = as;
    fetch(&reader, NULL, own, ERR_DENIED); // says nothing
    list(&reader, NULL, as.run, ERR_DENIED);
    other.world = (char *)"x";
    fetch(&reader, &other, own, ERR_DENIED);
    list(&reader, &other, as.run, ERR_DENIED);
    other.world = NULL;
    list(&reader, &other, as.run, ERR_DENIED);
    other = as;
    other.rank = 1;
    fetch(&reader, &other, own, ERR_DENIED);
    other = as;
    other.attempt++;
    list(&reader, &other, as.run, ERR_DENIED);
}

static void check_inputs(const struct other *named, const struct other *strange)
{
    fetch(&reader, &as, &named->soup, ERR_NONE);
    fetch(&reader, &as, &named->epoch, ERR_NONE);
    fetch(&reader, &as, &strange->soup, ERR_NONE); // by its hash
    fetch(&reader, &as, &named->student, ERR_DENIED);
    fetch(&reader, &as, &strange->student, ERR_DENIED);
    list(&reader, &as, named->run, ERR_NONE);
    list(&reader, &as, strange->run, ERR_DENIED);
    list(&reader, &as, 4711, ERR_DENIED);
}

static void test_inputs(void **state)
{
    (void)state;
    struct other named = make_other("one"), strange = make_other("two");
    char text[120], hex[65];
    struct hash nothing = hash_memory("nothing", 7);
    Islr__JobSpec *job = job_tiny(1, 1);
    snprintf(text, sizeof text, "%llu:soup", (unsigned long long)named.run);
    set(&job->init->student, text);
    snprintf(text, sizeof text, "%llu:epoch-7", (unsigned long long)named.run);
    set(&job->init->teacher, text);
    hash_to_hex(&strange.soup, hex);
    snprintf(text, sizeof text, "sha256:%s", hex);
    set(&job->init->distilled, text);
    take(client_submit(&admin, job));
    struct hash own = make("resume", 0, "a resume point");
    fetch(&reader, &as, &own, ERR_NONE);
    list(&reader, &as, as.run, ERR_NONE);
    check_inputs(&named, &strange);
    fetch(&reader, &as, &nothing, ERR_DENIED);
    check_strangers(&own);
    // Who says it over the socket is held to it as well; clients read everything.
    fetch(&admin, &as, &strange.student, ERR_DENIED);
    fetch(&admin, NULL, &strange.student, ERR_NONE);
    struct actor viewer;
    enter(&viewer, "viewer");
    fetch(&viewer, NULL, &strange.student, ERR_NONE);
    list(&viewer, NULL, strange.run, ERR_NONE);
    actor_close(&viewer);
    finish();
    fetch(&reader, &as, &own, ERR_NOT_FOUND); // its attempt is over
    list(&reader, &as, as.run, ERR_NOT_FOUND);
}

static void expect_refused(const char *input, enum error_code code, const char *why)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(1, 1);
    set(&s.job->init->teacher, input);
    const char *text = actor_call_fault(&admin, &m, code);
    if (!strstr(text, why))
        fail_msg("%s: '%s'", input, text);
    spec_free(s.job);
}

// What cannot be found is refused when the job is submitted, not when a rank looks for it.
static void test_inputs_that_are_none(void **state)
{
    (void)state;
    expect_refused("4711:soup", ERR_NOT_FOUND, "init.teacher: there is no run 4711");
    expect_refused("0:soup", ERR_INVALID, "init.teacher: '0:soup' does not name a run");
    expect_refused("sha256:12", ERR_INVALID, "init.teacher: sha256:12 is no SHA-256");
}

static void test_models_of_a_soup(void **state)
{
    (void)state;
    struct other one = make_other("one"), two = make_other("two");
    Islr__JobSpec *job = job_tiny(1, 1);
    char text[2][40];
    job->has_kind = 1;
    job->kind = ISLR__JOB_SPEC__KIND__KIND_SOUP;
    job->models = xcalloc(2, sizeof *job->models);
    job->n_models = 2;
    for (int i = 0; i < 2; i++) {
        snprintf(text[i], sizeof text[i], "%llu:student", (unsigned long long)(i ? two.run : one.run));
        job->models[i] = xstrdup(text[i]);
    }
    take(client_submit(&admin, job));
    fetch(&reader, &as, &one.student, ERR_NONE);
    fetch(&reader, &as, &two.student, ERR_NONE);
    fetch(&reader, &as, &two.soup, ERR_DENIED);
    list(&reader, &as, two.run, ERR_NONE);
}

static struct hash make_epoch(struct actor *of, uint64_t run, uint32_t attempt, uint32_t epoch, double accuracy)
{
    char text[40];
    snprintf(text, sizeof text, "epoch %u", epoch);
    struct hash hash = rank_put(of, text, strlen(text));
    Islr__Value value = ISLR__VALUE__INIT, *values = &value;
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    value.name = (char *)"accuracy";
    value.has_value = 1;
    value.value = accuracy;
    info.what = (char *)"distilled";
    info.has_sha256 = info.has_epoch = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    info.epoch = epoch;
    info.metrics = &values;
    info.n_metrics = 1;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_ok(of, &m);
    return hash;
}

// The best of a run that is under way: what a rank has begun to fetch it goes on with when there is a better one.
static void test_best_changes(void **state)
{
    (void)state;
    struct actor other;
    char text[40];
    rank_open(&other, &rig, "v", 0, 1);
    uint64_t run = client_submit(&admin, job_tiny(1, 1));
    struct actor *trains = &rank, *reads = &other; // whichever is given it
    while (!actor_has(&rank, ISLR__ENVELOPE__BODY_ASSIGN) && !actor_has(&other, ISLR__ENVELOPE__BODY_ASSIGN))
        rig_for(&rig, 1);
    if (actor_has(&other, ISLR__ENVELOPE__BODY_ASSIGN)) {
        trains = &other;
        reads = &rank;
    }
    uint32_t attempt = world_take(trains, 1, run);
    struct hash first = make_epoch(trains, run, attempt, 1, 0.5), soup = rank_put(trains, "soup", 4);
    rank_checkpoint(trains, run, attempt, "soup", 9, &soup);
    Islr__JobSpec *job = job_tiny(1, 1);
    snprintf(text, sizeof text, "%llu:best", (unsigned long long)run);
    set(&job->init->student, text);
    as.run = client_submit(&admin, job);
    as.attempt = world_take(reads, 1, as.run);
    as.world = reads->world;
    fetch(&reader, &as, &first, ERR_NONE);
    struct hash second = make_epoch(trains, run, attempt, 2, 0.75);
    fetch(&reader, &as, &first, ERR_NONE);
    fetch(&reader, &as, &second, ERR_NONE);
    fetch(&reader, &as, &soup, ERR_DENIED);
    actor_close(&other);
}

// A rank that is being restored reads on while the server is restarted, before it has registered again.
static void test_restart(void **state)
{
    (void)state;
    struct other strange = make_other("one");
    take(client_submit(&admin, job_tiny(1, 1)));
    struct hash own = make("resume", 0, "a resume point");
    client_wait_state(&admin, as.run, ISLR__RUN_STATE__RUN_RUNNING);
    rig.keep_network = 1;
    rig_stop_server(&rig);
    admin.up = reader.up = rank.up = 0;
    rig_start_server(&rig);
    actor_wait_up(&reader);
    fetch(&reader, &as, &own, ERR_NONE);
    fetch(&reader, &as, &strange.soup, ERR_DENIED);
    actor_wait_up(&rank);
    actor_wait_up(&admin);
}

static void test_folds(void **state)
{
    enum { K = 3 };
    (void)state;
    struct hash made[K];
    struct other strange = make_other("one");
    Islr__JobSpec *job = job_tiny(1, 1);
    set(&job->data->fold, "all");
    job->data->has_k = 1;
    job->data->k = K;
    uint64_t group = client_submit(&admin, job);
    for (int i = 0; i < K; i++) {
        char text[40];
        take(group + 1 + (uint64_t)i);
        snprintf(text, sizeof text, "predictions of fold %d", i);
        made[i] = make("predictions", 0, text);
        list(&reader, &as, group + 1, i ? ERR_DENIED : ERR_NONE); // folds know nothing of each other
        if (i)
            fetch(&reader, &as, &made[0], ERR_DENIED);
        finish();
    }
    take(group);
    for (int i = 0; i < K; i++) {
        fetch(&reader, &as, &made[i], ERR_NONE);
        list(&reader, &as, group + 1 + (uint64_t)i, ERR_NONE);
    }
    fetch(&reader, &as, &strange.soup, ERR_DENIED);
    list(&reader, &as, strange.run, ERR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_inputs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inputs_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models_of_a_soup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_best_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
