// Runs in the database: submission and its key, the verbs, attempts and where they lead, lists.
#include "tests/store/rig.h"

static int setup(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    return 0;
}

static struct run_submit submission(const char *key)
{
    struct run_submit r = {.user = "ann", .name = "keyed", .kind = "train", .key = key, .spec = "", .max_attempts = 2};
    run_submit_prepare(&r);
    return r;
}

static void test_submit_key(void **state)
{
    struct rig *rig = *state;
    struct run_submit first = submission("k1"), again = submission("k1"), other = submission("k1");
    rig_call(rig, &first.op, STORE_DONE);
    assert_false(first.existed);
    rig_call(rig, &again.op, STORE_DONE);
    assert_true(again.existed);
    assert_int_equal(again.now.run, first.now.run);
    other.user = "bob"; // a key is its user's
    rig_call(rig, &other.op, STORE_DONE);
    assert_false(other.existed);
    assert_int_not_equal(other.now.run, first.now.run);
    rig_reopen(rig);
    struct run_submit later = submission("k1");
    rig_call(rig, &later.op, STORE_DONE);
    assert_int_equal(later.now.run, first.now.run);
}

static void test_submit_after(void **state)
{
    struct rig *rig = *state;
    uint64_t first = rig_submit(rig, "first"), unknown = 99;
    struct run_submit r = submission(NULL);
    r.after = &unknown;
    r.after_count = 1;
    rig_call(rig, &r.op, STORE_REFUSED);
    assert_int_equal(r.op.error.code, ERR_NOT_FOUND);
    r.after = &first;
    rig_call(rig, &r.op, STORE_DONE);
    rig_verb(rig, first, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    struct run_submit late = submission(NULL);
    late.after = &first;
    late.after_count = 1;
    rig_call(rig, &late.op, STORE_REFUSED);
    assert_int_equal(late.op.error.code, ERR_INVALID);
    late.after_any = 1;
    rig_call(rig, &late.op, STORE_DONE);
    // a refusal uses up no number
    assert_int_equal(late.now.run, r.now.run + 1);
    // what waits for a run that was cancelled cannot be retried before it
    rig_verb(rig, r.now.run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    rig_refuse(rig, r.now.run, RUN_RETRY, ERR_INVALID);
    rig_verb(rig, first, RUN_RETRY, 0);
    rig_verb(rig, r.now.run, RUN_RETRY, 0);
}

static void test_verbs(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r");
    rig_refuse(rig, 1234, RUN_STOP, ERR_NOT_FOUND);
    assert_int_equal(rig_verb(rig, run, RUN_HOLD, 0).state, ISLR__RUN_STATE__RUN_HELD);
    rig_refuse(rig, run, RUN_HOLD, ERR_INVALID);
    assert_int_equal(rig_verb(rig, run, RUN_RELEASE, 0).state, ISLR__RUN_STATE__RUN_QUEUED);
    rig_refuse(rig, run, RUN_RETRY, ERR_INVALID);
    assert_int_equal(rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL).state, ISLR__RUN_STATE__RUN_CANCELLED);
    // once more: nothing happens
    uint64_t seq = rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL).last_seq;
    assert_int_equal(seq, 4);
    assert_int_equal(rig_verb(rig, run, RUN_RETRY, 0).state, ISLR__RUN_STATE__RUN_QUEUED);
    uint32_t attempt = rig_start(rig, run, 1);
    rig_refuse(rig, run, RUN_HOLD, ERR_INVALID);
    rig_end(rig, run, attempt, ATTEMPT_SUCCEEDED, 0);
    rig_refuse(rig, run, RUN_STOP, ERR_INVALID);
    rig_refuse(rig, run, RUN_RETRY, ERR_INVALID);
    rig_refuse(rig, run, RUN_PRIORITY, ERR_INVALID);
}

static void test_cancel_live(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r");
    uint32_t attempt = rig_start(rig, run, 2);
    struct run_now now = rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_STOPPING);
    assert_int_equal(now.stop_why, ISLR__STOP__WHY__WHY_CANCEL);
    now = rig_end(rig, run, attempt, ATTEMPT_STOPPED, 0);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_CANCELLED);
    assert_int_equal(now.tries, 0);
    assert_string_equal(now.reason, "by ann"); // whose word it was
    // a second word about the same attempt changes nothing
    struct run_end again = {.run = run, .attempt = attempt, .outcome = ATTEMPT_SUCCEEDED, .reason = ""};
    run_end_prepare(&again);
    rig_call(rig, &again.op, STORE_DONE);
    assert_true(again.repeated);
    assert_int_equal(again.now.state, ISLR__RUN_STATE__RUN_CANCELLED);
    again.attempt = 7;
    rig_call(rig, &again.op, STORE_REFUSED);

    // preemption turned into a cancel; a second cancel does not wait
    rig_verb(rig, run, RUN_RETRY, 0);
    rig_start(rig, run, 2);
    struct run_verb room = {.kind = RUN_STOP, .run = run, .reason = "makes room"};
    room.stop_why = ISLR__STOP__WHY__WHY_PREEMPT;
    run_verb_prepare(&room);
    rig_call(rig, &room.op, STORE_DONE);
    assert_string_equal(room.now.reason, "makes room");
    now = rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_STOPPING);
    assert_int_equal(now.stop_why, ISLR__STOP__WHY__WHY_CANCEL);
    assert_string_equal(now.reason, "by ann");
    now = rig_verb(rig, run, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_CANCELLED);
    assert_string_equal(now.reason,
                        "by ann; it could not save where it was: cancelled again before its ranks had saved");
}

static void test_attempts_are_bounded(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r"); // 3 attempts at most
    struct run_now now;
    now = rig_end(rig, run, rig_start(rig, run, 1), ATTEMPT_LOST, 0);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_QUEUED);
    assert_int_equal(now.tries, 1);
    now = rig_end(rig, run, rig_start(rig, run, 1), ATTEMPT_STOPPED, 0); // does not count
    assert_int_equal(now.tries, 1);
    now = rig_end(rig, run, rig_start(rig, run, 1), ATTEMPT_FAILED, 1);
    assert_int_equal(now.tries, 2);
    now = rig_end(rig, run, rig_start(rig, run, 1), ATTEMPT_LOST, 0);
    assert_int_equal(now.state, ISLR__RUN_STATE__RUN_FAILED);
    assert_string_equal(now.reason, "attempt 3 of 3 lost: the reason");
    now = rig_verb(rig, run, RUN_RETRY, 0);
    assert_int_equal(now.tries, 0);
    assert_int_equal(now.attempt, 4);
    assert_int_equal(rig_start(rig, run, 1), 5);
}

static void test_start_needs_queued(void **state)
{
    struct rig *rig = *state;
    uint64_t run = rig_submit(rig, "r");
    rig_verb(rig, run, RUN_HOLD, 0);
    struct run_rank rank = {0, "h", "cpu", 1};
    struct run_start r = {.run = run, .world = "w", .ranks = &rank, .rank_count = 1};
    run_start_prepare(&r);
    rig_call(rig, &r.op, STORE_REFUSED);
    free(r.spec);
    assert_int_equal(rig_verb(rig, run, RUN_RELEASE, 0).attempt, 0); // the refused attempt left no trace
}

// ---- reading --------------------------------------------------------------------------------------------------------

static size_t list(struct rig *rig, const Islr__ListRuns *filter, struct pool *pool, Islr__RunSummary ***out)
{
    struct error e;
    size_t count;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    if (run_read_list(reader, filter, pool, out, &count, &e))
        fail_msg("%s", e.text);
    store_reader_give(rig->store, reader);
    return count;
}

static void expect_misspelt(struct rig *rig, Islr__ListRuns *filter, struct pool *pool)
{
    struct error e;
    size_t count;
    Islr__RunSummary **runs;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_list(reader, filter, pool, &runs, &count, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_string_equal(e.text, "no run has a metric 'accuracy/sup'; did you mean 'accuracy/soup'?");
    store_reader_give(rig->store, reader);
}

static size_t list_where(struct rig *rig, const char *where, struct pool *pool, Islr__RunSummary ***out)
{
    Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
    filter.where = (char *)where;
    return list(rig, &filter, pool, out);
}

// The attempt's record `seq`, an evaluation with name = value.
static void evaluate_as(struct rig *rig, uint64_t run, uint32_t attempt, uint64_t seq, char *name, double value)
{
    Islr__MetricPoint m = ISLR__METRIC_POINT__INIT;
    Islr__Record record = ISLR__RECORD__INIT, *list_of_one = &record;
    Islr__Records records = ISLR__RECORDS__INIT;
    m.evaluation = 1;
    m.step = 70;
    m.n_names = m.n_values = 1;
    m.names = &name;
    m.values = &value;
    record.seq = seq;
    record.what_case = ISLR__RECORD__WHAT_METRIC;
    record.metric = &m;
    records.run = run;
    records.attempt = attempt;
    records.n_records = 1;
    records.records = &list_of_one;
    struct record_add r = {.records = &records};
    record_add_prepare(&r);
    rig_call(rig, &r.op, STORE_DONE);
}

static void evaluate(struct rig *rig, uint64_t run, uint32_t attempt, double value)
{
    evaluate_as(rig, run, attempt, 1, "accuracy/soup", value);
}

// One piece after the other.
static size_t read_pieces(struct rig *rig, const Islr__ListRuns *filter, size_t piece, struct pool *pool,
                          Islr__RunSummary *out[16])
{
    Islr__RunSummary **runs;
    struct error e;
    size_t n, count = 0;
    int more;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    struct run_list *list = run_list_open(reader, filter, &e);
    assert_non_null(list);
    do {
        more = run_list_next(list, piece, SIZE_MAX, pool, &runs, &n, &e);
        assert_true(more >= 0 && n <= piece && (n == piece || !more));
        for (size_t i = 0; i < n; i++)
            out[count++] = runs[i];
    } while (more);
    run_list_close(list);
    store_reader_give(rig->store, reader);
    return count;
}

// Parked after the first piece and gone on with by another reader: the same runs in the same order, and no other than
// were there at first.
static void check_parked(struct rig *rig, Islr__RunSummary **runs, size_t count, struct pool *pool)
{
    Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
    Islr__RunSummary **piece;
    struct error e;
    size_t n, seen;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    struct run_list *list = run_list_open(reader, &filter, &e);
    assert_int_equal(run_list_next(list, 1, SIZE_MAX, pool, &piece, &seen, &e), 1);
    assert_int_equal(run_list_park(list, &e), 0);
    assert_int_equal(run_list_park(list, &e), 0); // it is
    struct store_reader *other = store_reader_take(rig->store, &e);
    store_reader_give(rig->store, reader);
    run_list_resume(list, other);
    while (run_list_next(list, 2, SIZE_MAX, pool, &piece, &n, &e) > 0 || n)
        for (size_t i = 0; i < n; i++)
            assert_int_equal(piece[i]->run, runs[seen++]->run);
    assert_int_equal(seen, count);
    run_list_close(list);
    store_reader_give(rig->store, other);
}

static const Islr__Value *first_of(const Islr__RunSummary *r, const Islr__ListRuns *filter)
{
    for (size_t k = 0; k < filter->n_first_of; k++)
        for (size_t i = 0; i < r->n_final; i++)
            if (!strcmp(r->final[i]->name, filter->first_of[k]))
                return r->final[i];
    return NULL;
}

// Of the final values the one that is wanted, whatever else the run has.
static void check_first_of(struct rig *rig, Islr__RunSummary **runs, size_t count, struct pool *pool)
{
    static const char *const wanted[] = {"loss/valid", "accuracy/soup", "accuracy/none"};
    for (size_t from = 0; from < 3; from++) {
        Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
        Islr__RunSummary *packed[16];
        filter.first_of = (char **)wanted + from;
        filter.n_first_of = 3 - from;
        assert_int_equal(read_pieces(rig, &filter, 100, pool, packed), count);
        for (size_t i = 0; i < count; i++) {
            uint8_t bytes[1000];
            const Islr__Value *one = first_of(runs[i], &filter);
            Islr__RunSummary *back = islr__run_summary__unpack(NULL, islr__run_summary__pack(packed[i], bytes), bytes);
            assert_int_equal(back->n_final, one != NULL);
            if (one) {
                assert_string_equal(back->final[0]->name, one->name);
                assert_true(back->final[0]->value == one->value);
            }
            islr__run_summary__free_unpacked(back, NULL);
        }
    }
}

// The list that is made to be sent is, once packed, the same bytes' meaning: unpacked and packed again it is equal.
static void check_packed(struct rig *rig, Islr__RunSummary **runs, size_t count, struct pool *pool)
{
    Islr__ListRuns all = ISLR__LIST_RUNS__INIT;
    Islr__RunSummary *packed[16];
    size_t n = read_pieces(rig, &all, 2, pool, packed);
    assert_int_equal(n, count);
    assert_int_equal(read_pieces(rig, &all, 1, pool, packed), count);
    check_first_of(rig, runs, count, pool);
    check_parked(rig, runs, count, pool);
    for (size_t i = 0; i < n; i++) {
        uint8_t a[1000], b[1000];
        size_t size = islr__run_summary__pack(packed[i], a);
        Islr__RunSummary *back = islr__run_summary__unpack(NULL, size, a);
        assert_non_null(back);
        assert_int_equal(back->n_final, runs[i]->n_final);
        assert_int_equal(islr__run_summary__pack(back, a), islr__run_summary__pack(runs[i], b));
        assert_memory_equal(a, b, islr__run_summary__get_packed_size(back));
        islr__run_summary__free_unpacked(back, NULL);
    }
}

static void test_list(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    Islr__RunSummary **runs;
    uint64_t a = rig_submit(rig, "l25-a"), b = rig_submit(rig, "l25-b"), c = rig_submit(rig, "l80");
    evaluate(rig, a, rig_start(rig, a, 1), 0.75);
    uint32_t attempt = rig_start(rig, b, 2);
    evaluate(rig, b, attempt, 0.5);
    evaluate_as(rig, b, attempt, 2, "loss/valid", 0.25);
    rig_verb(rig, c, RUN_HOLD, 0);

    assert_int_equal(list_where(rig, NULL, &pool, &runs), 3);
    assert_int_equal(runs[0]->run, c); // newest first
    assert_int_equal(runs[2]->run, a);
    assert_int_equal(runs[2]->n_final, 1);
    assert_string_equal(runs[2]->final[0]->name, "accuracy/soup");
    assert_true(runs[2]->final[0]->value == 0.75);
    check_packed(rig, runs, 3, &pool);
    char lengthy[120] = "accuracy/"; // more than a length of one byte: packed otherwise
    memset(lengthy + 9, 'x', 108);
    evaluate_as(rig, b, attempt, 3, lengthy, 1);
    assert_int_equal(list_where(rig, NULL, &pool, &runs), 3);
    check_packed(rig, runs, 3, &pool);
    assert_int_equal(runs[2]->step, 70);
    assert_int_equal(runs[1]->ranks, 2);

    assert_int_equal(list_where(rig, "accuracy/soup>0.7", &pool, &runs), 1);
    assert_int_equal(runs[0]->run, a);
    assert_int_equal(list_where(rig, "not accuracy/soup>0.7", &pool, &runs), 2);
    assert_int_equal(list_where(rig, "state=held or accuracy/soup<0.6 and ranks=2", &pool, &runs), 2);
    assert_int_equal(list_where(rig, "unseen/metric>0", &pool, &runs), 0);
    assert_int_equal(list_where(rig, "name~l25-* and user!=bob", &pool, &runs), 2);

    Islr__ListRuns filter = ISLR__LIST_RUNS__INIT;
    Islr__RunState states[] = {ISLR__RUN_STATE__RUN_RUNNING, ISLR__RUN_STATE__RUN_HELD};
    filter.states = states;
    filter.n_states = 1;
    filter.sort = "accuracy/soup";
    assert_int_equal(list(rig, &filter, &pool, &runs), 2);
    assert_int_equal(runs[0]->run, b);
    filter.n_states = 2;
    filter.sort = "-accuracy/soup";
    assert_int_equal(list(rig, &filter, &pool, &runs), 3);
    assert_int_equal(runs[0]->run, a);
    assert_int_equal(runs[2]->run, c); // without the metric: last either way
    filter.sort = "name";
    filter.name = "l*";
    filter.limit = 2;
    filter.has_limit = 1;
    assert_int_equal(list(rig, &filter, &pool, &runs), 2);
    assert_int_equal(runs[0]->run, a);
    filter.user = "bob";
    assert_int_equal(list(rig, &filter, &pool, &runs), 0);

    Islr__ListRuns misspelt = ISLR__LIST_RUNS__INIT;
    misspelt.where = "state=held or accuracy/sup>0.7";
    expect_misspelt(rig, &misspelt, &pool);
    misspelt.where = "";
    misspelt.sort = "-accuracy/sup";
    expect_misspelt(rig, &misspelt, &pool);
    pool_free(&pool);
}

static void test_detail(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    Islr__RunDetail *d;
    uint64_t run = rig_submit(rig, "seen"), newest;
    rig_end(rig, run, rig_start(rig, run, 2), ATTEMPT_LOST, 0);
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_detail(reader, run, &pool, &d, &e), 0);
    assert_string_equal(d->summary->name, "seen");
    assert_string_equal(d->job->name, "seen");
    assert_int_equal(strlen(d->job_hash), 64);
    assert_int_equal(d->n_attempts, 1);
    assert_string_equal(d->attempts[0]->outcome, "lost");
    assert_int_equal(d->attempts[0]->n_ranks, 2);
    assert_int_equal(d->attempts[0]->ranks[1]->pid, 101);
    assert_int_equal(d->n_events, 4); // queued, starting, running, queued
    assert_string_equal(d->events[0]->text, "submitted");
    assert_int_equal(d->events[3]->state, ISLR__RUN_STATE__RUN_QUEUED);
    assert_int_equal(run_read_detail(reader, 55, &pool, &d, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(run_read_newest(reader, "ann", &newest, &e), 0);
    assert_int_equal(newest, run);
    assert_int_equal(run_read_newest(reader, "nobody", &newest, &e), 0);
    assert_int_equal(newest, 0);
    store_reader_give(rig->store, reader);
    pool_free(&pool);
}

enum { ATTEMPTS = 150, GANG = 16 };

// An attempt on hosts and with a reason of long names.
static void attempt_at_length(struct rig *rig, uint64_t run)
{
    static char host[201], reason[1001];
    struct run_rank gang[GANG];
    memset(host, 'h', sizeof host - 1);
    memset(reason, 'r', sizeof reason - 1);
    for (uint32_t i = 0; i < GANG; i++)
        gang[i] = (struct run_rank){i, host, "cpu", 100 + i};
    struct run_start start = {.run = run, .world = "w1", .ranks = gang, .rank_count = GANG, .time_ms = 3000};
    run_start_prepare(&start);
    rig_call(rig, &start.op, STORE_DONE);
    free(start.folds);
    free(start.spec);
    struct run_end end = {
        .run = run, .attempt = start.now.attempt, .outcome = ATTEMPT_LOST, .reason = reason, .time_ms = 4000};
    run_end_prepare(&end);
    rig_call(rig, &end.op, STORE_DONE);
    if (run_state_ended(end.now.state))
        rig_verb(rig, run, RUN_RETRY, 0);
}

// What has no room in one message is left out: the oldest, and how many there are is said.
static void test_long_detail(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    Islr__RunDetail *d;
    uint64_t run = rig_submit(rig, "often");
    for (int i = 0; i < ATTEMPTS; i++)
        attempt_at_length(rig, run);
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_detail(reader, run, &pool, &d, &e), 0);
    store_reader_give(rig->store, reader);
    assert_in_range(islr__run_detail__get_packed_size(d), 200 << 10, RUN_DETAIL_MAX / 2);
    assert_int_equal(d->attempt_count, ATTEMPTS);
    assert_in_range(d->n_attempts, 50, ATTEMPTS - 1);
    size_t with_ranks = 0;
    for (size_t i = 0; i < d->n_attempts; i++) {
        const Islr__Attempt *a = d->attempts[i];
        assert_int_equal(a->number, ATTEMPTS - d->n_attempts + 1 + i);
        assert_int_equal(a->rank_count, GANG);
        assert_true(!with_ranks || a->n_ranks == GANG); // only the oldest of them may have a part of its ranks
        with_ranks += a->n_ranks > 0;
        for (size_t k = 0; k < a->n_ranks; k++)
            assert_int_equal(a->ranks[k]->rank, k);
    }
    assert_in_range(with_ranks, 20, d->n_attempts - 1);
    assert_in_range(d->n_events, 50, d->event_count - 1);
    assert_in_range(d->event_count, 2 * ATTEMPTS, 4 * ATTEMPTS);
    const Islr__Event *last = d->events[d->n_events - 1], *lost = d->events[d->n_events - 2];
    assert_int_equal(last->state, ISLR__RUN_STATE__RUN_QUEUED);
    assert_true(strstr(last->text, "rrr") || strstr(lost->text, "rrr"));
    pool_free(&pool);
}

static void test_live(void **state)
{
    struct rig *rig = *state;
    struct pool pool = {0};
    struct error e;
    struct run_live *live;
    uint64_t *runs;
    size_t count;
    uint64_t a = rig_submit(rig, "a"), b = rig_submit(rig, "b"), c = rig_submit(rig, "c");
    uint64_t after[] = {a, b};
    struct run_submit d = submission(NULL);
    d.after = after;
    d.after_count = 2;
    rig_call(rig, &d.op, STORE_DONE);
    rig_end(rig, a, rig_start(rig, a, 1), ATTEMPT_SUCCEEDED, 0);
    rig_start(rig, c, 3);
    rig_reopen(rig);
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_live_list(reader, &runs, &count, &e), 0);
    assert_int_equal(count, 3);
    assert_int_equal(runs[0], b);
    assert_int_equal(runs[2], d.now.run);
    free(runs);
    assert_int_equal(run_read_live(reader, c, &pool, &live, &e), 0);
    assert_int_equal(live->now.state, ISLR__RUN_STATE__RUN_RUNNING);
    assert_string_equal(live->world, "w1");
    assert_int_equal(live->gang_count, 3);
    assert_int_equal(live->gang[2], 2);
    assert_int_equal(run_read_live(reader, d.now.run, &pool, &live, &e), 0);
    assert_int_equal(live->after_count, 1); // a has succeeded
    assert_int_equal(live->after[0], b);
    assert_int_equal(live->broken_after, 0);
    store_reader_give(rig->store, reader);
    rig_verb(rig, b, RUN_STOP, ISLR__STOP__WHY__WHY_CANCEL);
    reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_live(reader, d.now.run, &pool, &live, &e), 0);
    assert_int_equal(live->broken_after, b);
    store_reader_give(rig->store, reader);
    pool_free(&pool);
}

// The clock is set back between all that happens to a run: its times do not go back with it.
static void test_clock_set_back(void **state)
{
    struct rig *rig = *state;
    struct run_submit s = {
        .user = "ann", .name = "n", .kind = "train", .spec = "", .max_attempts = 1, .time_ms = 1000000};
    run_submit_prepare(&s);
    rig_call(rig, &s.op, STORE_DONE);
    uint64_t run = s.now.run;
    struct run_verb p = {.kind = RUN_PRIORITY, .run = run, .reason = "by ann", .priority = 1, .time_ms = 900000};
    run_verb_prepare(&p);
    rig_call(rig, &p.op, STORE_DONE);
    rig_start(rig, run, 1); // at 3000
    rig_end(rig, run, 1, ATTEMPT_FAILED, 0);
    struct pool pool = {0};
    struct error e;
    Islr__RunDetail *d;
    struct store_reader *reader = store_reader_take(rig->store, &e);
    assert_int_equal(run_read_detail(reader, run, &pool, &d, &e), 0);
    store_reader_give(rig->store, reader);
    assert_int_equal(d->summary->submitted_ms, 1000000);
    assert_true(d->summary->started_ms >= 1000000 && d->summary->ended_ms >= d->summary->started_ms);
    assert_true(d->attempts[0]->ended_ms >= d->attempts[0]->started_ms);
    assert_int_equal(d->n_events, 5);
    for (size_t i = 1; i < d->n_events; i++)
        assert_true(d->events[i]->time_ms >= d->events[i - 1]->time_ms);
    assert_true(rig_submit(rig, "later, with an earlier time") > run);
    pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_submit_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submit_after, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verbs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attempts_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_needs_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_detail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_detail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock_set_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
