// Groups of runs in the database: made whole, what their members make of them, what is said to all members.
#include "tests/store/rig.h"

#include <stdio.h>

#include "core/base/memory.h"
#include "core/store/fsck.h"

static int setup(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    *state = &rig;
    return 0;
}

static void on_found(void *context, enum fsck_kind kind, const char *sentence)
{
    (void)context;
    if (kind == FSCK_DAMAGE)
        fail_msg("%s", sentence);
}

// Whatever a test has done to groups, the database is as it should be.
static int teardown(void **state)
{
    struct rig *rig = *state;
    struct fsck_options o = {.directory = rig->directory, .found = on_found};
    struct fsck_result result;
    assert_int_equal(fsck(&o, &result, NULL), 0);
    rig_close(rig);
    return 0;
}

enum { FOLDS = 3 };

// Its job is a name alone.
static struct run_member member(const char *name, enum run_group group, int parent)
{
    static uint8_t specs[64][64];
    static size_t next;
    uint8_t *spec = specs[next++ % 64];
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    job.name = (char *)name;
    struct run_member m = {.name = (char *)name, .spec = spec, .max_attempts = 2, .group = group, .parent = parent};
    m.spec_size = islr__job_spec__pack(&job, spec);
    m.job_hash = hash_memory(spec, m.spec_size);
    return m;
}

// Folds of run `group` are group + 1, ..
static uint64_t submit_folds(struct rig *rig, const char *key)
{
    struct run_member members[FOLDS] = {member("cv/fold-0", RUN_ALONE, -1), member("cv/fold-1", RUN_ALONE, -1),
                                        member("cv/fold-2", RUN_ALONE, -1)};
    struct run_submit r = {.user = "ann", .name = "cv", .kind = "train", .key = key, .spec = "", .max_attempts = 2};
    r.group = RUN_FOLDS;
    r.members = members;
    r.member_count = FOLDS;
    run_submit_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    for (uint64_t i = 0; i < FOLDS && !r.existed; i++)
        assert_int_equal(members[i].run, r.now.run + 1 + i);
    return r.now.run;
}

static struct run_now look(struct rig *rig, uint64_t run)
{
    struct run_now now;
    struct error e;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    if (run_read_now(reader, run, &now, &e))
        fail_msg("%s", e.text);
    store_reader_give(rig->store, reader);
    return now;
}

static void expect(struct rig *rig, uint64_t run, Islr__RunState state, const char *reason)
{
    struct run_now now = look(rig, run);
    if (now.state != state || strcmp(now.reason, reason))
        fail_msg("run %d is %s (%s), not %s (%s)", (int)run, run_state_name(now.state), now.reason,
                 run_state_name(state), reason);
}

static struct run_now end(struct rig *rig, uint64_t run, enum attempt_outcome outcome)
{
    return rig_end(rig, run, rig_start(rig, run, 1), outcome, 0);
}

static size_t count_list(struct rig *rig, Islr__ListRuns filter, struct pool *pool, Islr__RunSummary ***runs)
{
    size_t count;
    struct error e;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    if (run_read_list(reader, &filter, pool, runs, &count, &e))
        fail_msg("%s", e.text);
    store_reader_give(rig->store, reader);
    return count;
}

static void test_made_whole(void **state)
{
    struct rig *rig = *state;
    uint64_t group = submit_folds(rig, "k");
    assert_int_equal(submit_folds(rig, "k"), group); // and no more runs:
    assert_int_equal(rig_submit(rig, "next"), group + FOLDS + 1);
    Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
    Islr__RunSummary **runs;
    struct pool pool = {0};
    assert_int_equal(count_list(rig, filter, &pool, &runs), 2);
    assert_int_equal(runs[1]->run, group);
    assert_string_equal(runs[1]->group, "folds");
    assert_int_equal(runs[1]->children, FOLDS);
    assert_int_equal(runs[1]->children_ended, 0);
    assert_null(runs[0]->group);
    filter.parent = group;
    assert_int_equal(count_list(rig, filter, &pool, &runs), FOLDS);
    assert_int_equal(runs[0]->run, group + 1); // oldest first
    assert_int_equal(runs[0]->parent, group);
    assert_string_equal(runs[2]->name, "cv/fold-2");
    filter.parent = 0;
    filter.children = 1;
    assert_int_equal(count_list(rig, filter, &pool, &runs), 2 + FOLDS);
    pool_free(&pool);
    // @last is the group, never one of its runs
    uint64_t second = submit_folds(rig, NULL), newest;
    struct error e;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_newest(reader, "ann", &newest, &e), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(newest, second);
}

// A fold that fails, its retry, the join; over restarts of the store.
static void test_folds(void **state)
{
    struct rig *rig = *state;
    uint64_t group = submit_folds(rig, NULL);
    expect(rig, group, ISLR__RUN_STATE__RUN_QUEUED, "none of its runs has begun");
    uint32_t attempt = rig_start(rig, group + 1, 1);
    expect(rig, group, ISLR__RUN_STATE__RUN_RUNNING, "0 of 3 runs done");
    rig_add_records(rig, group + 1, attempt, 1, 30);
    struct run_steps steps = {.run = group + 1, .steps = 90};
    run_steps_prepare(&steps);
    rig_call(rig, &steps.op, STORE_DONE);
    rig_end(rig, group + 1, attempt, ATTEMPT_SUCCEEDED, 0);
    expect(rig, group, ISLR__RUN_STATE__RUN_RUNNING, "1 of 3 runs done");
    assert_int_equal(end(rig, group + 2, ATTEMPT_FAILED).parent, group);
    expect(rig, group, ISLR__RUN_STATE__RUN_RUNNING, "1 of 3 runs done; run 3 (cv/fold-1) failed: the reason");
    end(rig, group + 3, ATTEMPT_SUCCEEDED);
    rig_reopen(rig);
    expect(rig, group, ISLR__RUN_STATE__RUN_FAILED, "2 of 3 runs done; run 3 (cv/fold-1) failed: the reason");
    expect(rig, group + 1, ISLR__RUN_STATE__RUN_SUCCEEDED, "");
    rig_verb(rig, group, RUN_RETRY, 0);
    expect(rig, group, ISLR__RUN_STATE__RUN_RUNNING, "2 of 3 runs done");
    expect(rig, group + 1, ISLR__RUN_STATE__RUN_SUCCEEDED, ""); // only the one that had failed goes on
    assert_int_equal(look(rig, group + 2).state, ISLR__RUN_STATE__RUN_QUEUED);
    assert_false(look(rig, group).joining);
    end(rig, group + 2, ATTEMPT_SUCCEEDED);
    rig_reopen(rig);
    expect(rig, group, ISLR__RUN_STATE__RUN_QUEUED, "all folds are trained; a rank joins their predictions");
    assert_true(look(rig, group).joining);
    // now it is a run like any other
    struct run_rank rank = {0, "host", "cpu", 1};
    struct run_start start = {.run = group, .world = "w", .ranks = &rank, .rank_count = 1};
    run_start_prepare(&start);
    rig_call(rig, &start.op, STORE_DONE);
    assert_int_equal(start.fold_count, FOLDS);
    for (uint64_t i = 0; i < FOLDS; i++)
        assert_int_equal(start.folds[i], group + 1 + i);
    free(start.folds);
    free(start.spec);
    assert_int_equal(rig_end(rig, group, 1, ATTEMPT_FAILED, 0).state, ISLR__RUN_STATE__RUN_FAILED);
    assert_int_equal(rig_verb(rig, group, RUN_RETRY, 0).state, ISLR__RUN_STATE__RUN_QUEUED); // the join alone
    expect(rig, group + 2, ISLR__RUN_STATE__RUN_SUCCEEDED, "");
    assert_int_equal(end(rig, group, ATTEMPT_SUCCEEDED).state, ISLR__RUN_STATE__RUN_SUCCEEDED);
    struct pool pool = {0};
    Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
    Islr__RunSummary **runs;
    assert_int_equal(count_list(rig, filter, &pool, &runs), 1);
    assert_int_equal(runs[0]->step, 29); // of the fold that said how many it has; its last record is a line
    assert_int_equal(runs[0]->steps, 90);
    struct record_page page = rig_read(rig, group, 0, 1 << 20, &pool); // without holes
    assert_int_equal(page.state, ISLR__RUN_STATE__RUN_SUCCEEDED);
    int told = 0;
    for (size_t i = 0; i < page.count; i++)
        told += page.records[i]->what_case == ISLR__RECORD__WHAT_LOG &&
                !strcmp(page.records[i]->log, "run 3 (cv/fold-1): failed: the reason");
    assert_int_equal(told, 1);
    pool_free(&pool);
}

static void test_verbs(void **state)
{
    struct rig *rig = *state;
    uint64_t group = submit_folds(rig, NULL);
    rig_refuse(rig, group, RUN_RETRY, ERR_INVALID);
    rig_refuse(rig, group, RUN_RELEASE, ERR_INVALID);
    uint32_t attempt = rig_start(rig, group + 1, 1);
    rig_verb(rig, group, RUN_HOLD, 0); // those that have not begun
    expect(rig, group + 1, ISLR__RUN_STATE__RUN_RUNNING, "");
    assert_int_equal(look(rig, group + 3).state, ISLR__RUN_STATE__RUN_HELD);
    expect(rig, group, ISLR__RUN_STATE__RUN_RUNNING, "0 of 3 runs done");
    rig_verb(rig, group, RUN_RELEASE, 0);
    struct run_verb priority = {.kind = RUN_PRIORITY, .run = group, .reason = "set by ann", .priority = 7};
    run_verb_prepare(&priority);
    rig_call(rig, &priority.op, STORE_DONE);
    assert_int_equal(priority.member_count, FOLDS);
    free(priority.members);
    assert_int_equal(look(rig, group).priority, 7);
    assert_int_equal(look(rig, group + 2).priority, 7);
    struct run_verb stranger = {.kind = RUN_STOP, .run = group, .as_user = "eve", .reason = "cancelled by eve"};
    run_verb_prepare(&stranger);
    rig_call(rig, &stranger.op, STORE_REFUSED);
    assert_int_equal(stranger.op.error.code, ERR_DENIED);
    struct run_verb stop = {.kind = RUN_STOP, .run = group, .reason = "cancelled by ann"};
    stop.stop_why = ISLR__STOP__WHY__WHY_CANCEL;
    run_verb_prepare(&stop);
    rig_call(rig, &stop.op, STORE_DONE);
    assert_int_equal(stop.member_count, FOLDS);
    assert_int_equal(stop.members[0].state, ISLR__RUN_STATE__RUN_STOPPING);
    assert_int_equal(stop.members[0].parent, group);
    assert_int_equal(stop.members[1].state, ISLR__RUN_STATE__RUN_CANCELLED);
    free(stop.members);
    assert_int_equal(look(rig, group).state, ISLR__RUN_STATE__RUN_STOPPING); // one still saves
    rig_end(rig, group + 1, attempt, ATTEMPT_STOPPED, 0);
    assert_int_equal(look(rig, group).state, ISLR__RUN_STATE__RUN_CANCELLED);
    rig_verb(rig, group, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL); // again: nothing
    rig_verb(rig, group, RUN_RETRY, 0);
    assert_int_equal(look(rig, group).state, ISLR__RUN_STATE__RUN_QUEUED);
    assert_int_equal(look(rig, group + 1).state, ISLR__RUN_STATE__RUN_QUEUED);
}

// A sweep over jobs that are cross-validated: groups in a group.
static void test_groups_in_a_group(void **state)
{
    struct rig *rig = *state;
    struct run_member members[] = {member("s/a", RUN_FOLDS, -1),       member("s/b", RUN_FOLDS, -1),
                                   member("s/a/fold-0", RUN_ALONE, 0), member("s/a/fold-1", RUN_ALONE, 0),
                                   member("s/b/fold-0", RUN_ALONE, 1), member("s/b/fold-1", RUN_ALONE, 1)};
    struct run_submit r = {.user = "ann", .name = "s", .kind = "train", .spec = "", .max_attempts = 2};
    r.group = RUN_SWEEP;
    r.members = members;
    r.member_count = sizeof members / sizeof *members;
    run_submit_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
    uint64_t sweep = r.now.run, a = sweep + 1, b = sweep + 2;
    end(rig, members[2].run, ATTEMPT_SUCCEEDED);
    assert_int_equal(look(rig, sweep).state, ISLR__RUN_STATE__RUN_RUNNING);
    end(rig, members[3].run, ATTEMPT_SUCCEEDED);
    assert_true(look(rig, a).joining);
    uint64_t *live;
    size_t count;
    struct error e;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_live_list(reader, &live, &count, &e), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(count, 3); // the join of a, the folds of b: what there is to do
    assert_int_equal(live[0], a);
    free(live);
    end(rig, a, ATTEMPT_SUCCEEDED);
    expect(rig, sweep, ISLR__RUN_STATE__RUN_RUNNING, "1 of 2 runs done");
    struct run_verb stop = {.kind = RUN_STOP, .run = sweep, .reason = "cancelled by ann"};
    stop.stop_why = ISLR__STOP__WHY__WHY_CANCEL;
    run_verb_prepare(&stop);
    rig_call(rig, &stop.op, STORE_DONE);
    assert_int_equal(stop.member_count, 3); // b and its folds
    free(stop.members);
    assert_int_equal(look(rig, b).state, ISLR__RUN_STATE__RUN_CANCELLED);
    expect(rig, sweep, ISLR__RUN_STATE__RUN_CANCELLED,
           "1 of 2 runs done; run 3 (s/b) was cancelled: 0 of 2 runs done; run 6 (s/b/fold-0) was cancelled: cancelled "
           "by ann");
    rig_verb(rig, sweep, RUN_RETRY, 0);
    for (int i = 4; i < 6; i++)
        end(rig, members[i].run, ATTEMPT_SUCCEEDED);
    end(rig, b, ATTEMPT_SUCCEEDED);
    expect(rig, sweep, ISLR__RUN_STATE__RUN_SUCCEEDED, "");
}

// All runs of a submission or none: a fault in the middle leaves nothing.
static void test_all_or_none(void **state)
{
    struct rig *rig = *state;
    uint64_t unknown = 77;
    struct run_member members[FOLDS] = {member("a", RUN_ALONE, -1), member("b", RUN_ALONE, -1),
                                        member("c", RUN_ALONE, -1)};
    members[2].name = NULL; // what the database refuses
    struct run_submit r = {.user = "ann", .name = "s", .kind = "train", .spec = "", .max_attempts = 2};
    r.group = RUN_SWEEP;
    r.members = members;
    r.member_count = FOLDS;
    run_submit_prepare(&r);
    assert_int_not_equal(store_call(rig->store, &r.op), 0);
    members[2].name = "c";
    r.after = &unknown;
    r.after_count = 1;
    rig_call(rig, &r.op, STORE_REFUSED);
    r.after_count = 0;
    rig_call(rig, &r.op, STORE_DONE);
    assert_int_equal(r.now.run, 1);
}

// ---- large groups: their members come after them ---------------------------------------------------------------------

enum { LARGE = 50 };

static struct run_submit large(const char *key)
{
    struct run_submit r = {.user = "ann", .name = "s", .kind = "train", .key = key, .spec = "", .max_attempts = 2};
    r.group = RUN_SWEEP;
    r.recipe = "flour";
    r.recipe_size = 5;
    r.member_count = LARGE;
    run_submit_prepare(&r);
    return r;
}

// Members `first` to `first` + `count`.
static void expand(struct rig *rig, const struct run_submit *group, size_t first, size_t count,
                   enum store_status wanted)
{
    struct run_member members[LARGE];
    char names[LARGE][16];
    struct run_submit of = *group;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "s/%zu", first + i);
        members[i] = member(names[i], RUN_ALONE, -1);
    }
    of.members = members;
    of.member_count = count;
    struct run_expand x = {.of = &of, .first = first};
    run_expand_prepare(&x);
    rig_call(rig, &x.op, wanted);
    if (wanted == STORE_DONE)
        assert_int_equal(x.made, first + count);
}

static size_t expansions(struct rig *rig, size_t *made)
{
    struct pool pool = {0};
    struct run_expansion *rows;
    size_t count;
    struct store_reader *reader = store_reader_take(rig->store, NULL);
    assert_int_equal(run_read_expansions(reader, &pool, &rows, &count, NULL), 0);
    store_reader_give(rig->store, reader);
    if (count) {
        *made = rows[0].made;
        assert_int_equal(rows[0].members, LARGE);
        assert_string_equal(rows[0].user, "ann");
        assert_memory_equal(rows[0].recipe, "flour", rows[0].recipe_size);
    }
    pool_free(&pool);
    return count;
}

static void check_clean(struct rig *rig)
{
    struct fsck_options o = {.directory = rig->directory, .found = on_found};
    struct fsck_result result;
    assert_int_equal(fsck(&o, &result, NULL), 0);
}

// The numbers are the group's from the beginning; nothing is said to it or its members before all are there, and what is
// asked twice is done once.
static void test_members_later(void **state)
{
    struct rig *rig = *state;
    size_t made = 0;
    struct run_submit group = large("k"), again = large("k");
    rig_call(rig, &group.op, STORE_DONE);
    uint64_t run = group.now.run, next = rig_submit(rig, "next");
    assert_int_equal(next, run + LARGE + 1);
    rig_call(rig, &again.op, STORE_DONE);
    assert_true(again.existed);
    assert_int_equal(again.now.run, run);
    expand(rig, &group, 0, 20, STORE_DONE);
    expand(rig, &group, 0, 20, STORE_DONE); // nothing
    expand(rig, &group, 30, 10, STORE_REFUSED);
    expand(rig, &group, 20, LARGE - 10, STORE_REFUSED); // more than it has
    check_clean(rig);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(expansions(rig, &made), 1);
        assert_int_equal(made, 20);
        rig_refuse(rig, run, RUN_HOLD, ERR_FAILED);
        rig_refuse(rig, run + 20, RUN_HOLD, ERR_FAILED);
        rig_verb(rig, next, RUN_HOLD, 0);
        rig_verb(rig, next, RUN_RELEASE, 0);
        uint64_t *live;
        size_t count;
        struct store_reader *reader = store_reader_take(rig->store, NULL);
        assert_int_equal(run_read_live_list(reader, &live, &count, NULL), 0);
        store_reader_give(rig->store, reader);
        assert_int_equal(count, 1); // no member is started before all are there
        assert_int_equal(live[0], next);
        free(live);
        rig_reopen(rig);
    }
    expand(rig, &group, 20, LARGE - 20, STORE_DONE);
    expand(rig, &group, 20, LARGE - 20, STORE_DONE); // nothing
    assert_int_equal(expansions(rig, &made), 0);
    rig_verb(rig, run, RUN_HOLD, 0);
    assert_int_equal(look(rig, run + LARGE).state, ISLR__RUN_STATE__RUN_HELD);
    assert_int_equal(look(rig, run + LARGE).parent, run);
    assert_int_equal(rig_submit(rig, "last"), next + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verbs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_groups_in_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_later, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
