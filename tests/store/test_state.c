// The state machine of runs: its table, and where an attempt's end leads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/store/state.h"

enum { Q, H, S, R, P, OK, F, C }; // queued, held, starting, running, stopping, succeeded, failed, cancelled

static void test_transitions(void **state)
{
    (void)state;
    static const char *const allowed[8] = {
        [Q] = "HSC", [H] = "QC", [S] = "QRPOFC", [R] = "QPOFC", [P] = "QOFC", [OK] = "", [F] = "Q", [C] = "Q"};
    static const char letters[] = "QHSRPOFC";
    for (int from = 0; from < 8; from++)
        for (int to = 0; to < 8; to++)
            assert_int_equal(run_state_allowed((Islr__RunState)from, (Islr__RunState)to),
                             strchr(allowed[from], letters[to]) != NULL);
    assert_false(run_state_allowed((Islr__RunState)8, ISLR__RUN_STATE__RUN_QUEUED));
    assert_false(run_state_allowed(ISLR__RUN_STATE__RUN_QUEUED, (Islr__RunState)-1));
}

static void test_names(void **state)
{
    (void)state;
    for (int s = 0; s < 8; s++) {
        Islr__RunState back;
        assert_int_equal(run_state_from_name(run_state_name((Islr__RunState)s), &back), 0);
        assert_int_equal(back, s);
        assert_false(run_state_ended((Islr__RunState)s) && run_state_live((Islr__RunState)s));
    }
    Islr__RunState none;
    assert_int_equal(run_state_from_name("done", &none), -1);
}

static void test_verdicts(void **state)
{
    (void)state;
    enum { NOBODY = STOP_NOBODY, CANCEL = ISLR__STOP__WHY__WHY_CANCEL, DRAIN = ISLR__STOP__WHY__WHY_DRAIN };
    static const struct {
        enum attempt_outcome outcome;
        int retryable, stop_why;
        unsigned tries, max;
        int next, counts;
    } rows[] = {
        {ATTEMPT_SUCCEEDED, 0, NOBODY, 0, 5, OK, 0},  {ATTEMPT_SUCCEEDED, 0, CANCEL, 0, 5, OK, 0},
        {ATTEMPT_FAILED, 0, NOBODY, 0, 5, F, 1},      {ATTEMPT_FAILED, 1, NOBODY, 0, 5, Q, 1},
        {ATTEMPT_FAILED, 1, NOBODY, 3, 5, Q, 1},      {ATTEMPT_FAILED, 1, NOBODY, 4, 5, F, 1},
        {ATTEMPT_FAILED, 1, NOBODY, 0, 1, F, 1},      {ATTEMPT_FAILED, 0, CANCEL, 0, 5, C, 0},
        {ATTEMPT_STOPPED, 0, CANCEL, 0, 5, C, 0},     {ATTEMPT_STOPPED, 0, DRAIN, 4, 5, Q, 0},
        {ATTEMPT_STOPPED, 0, NOBODY, 4, 5, Q, 0},     {ATTEMPT_LOST, 0, NOBODY, 0, 5, Q, 1},
        {ATTEMPT_LOST, 0, NOBODY, 4, 5, F, 1},        {ATTEMPT_LOST, 0, CANCEL, 4, 5, C, 0},
        {ATTEMPT_LOST, 0, DRAIN, 4, 5, Q, 0},         {ATTEMPT_FAILED, 0, DRAIN, 0, 5, F, 1},
        {ATTEMPT_STOPPED, 0, STOP_LIMIT, 0, 5, F, 1}, {ATTEMPT_SUCCEEDED, 0, STOP_LIMIT, 0, 5, OK, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct attempt_end end = {rows[i].outcome,  rows[i].retryable, "why",
                                  rows[i].stop_why, rows[i].tries,     rows[i].max};
        struct attempt_verdict v = run_state_after_attempt(&end);
        assert_int_equal(v.state, rows[i].next);
        assert_int_equal(v.counts, rows[i].counts);
        // wherever it leads from a live state, the table allows it
        assert_true(run_state_allowed(ISLR__RUN_STATE__RUN_STOPPING, v.state));
        assert_true(run_state_allowed(ISLR__RUN_STATE__RUN_RUNNING, v.state));
        assert_true(run_state_allowed(ISLR__RUN_STATE__RUN_STARTING, v.state));
    }
    struct attempt_end last = {ATTEMPT_LOST, 0, "its ranks are gone", STOP_NOBODY, 4, 5};
    assert_string_equal(run_state_after_attempt(&last).reason, "attempt 5 of 5 lost: its ranks are gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transitions), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_verdicts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
