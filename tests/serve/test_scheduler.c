// Which run gets which ranks: the rules, by table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/serve_scheduler.h"

enum { RANKS = 32, RUNS = 4, BUSY = 9, USERS = 3 };

// Ranks as text, one word a world: "ab1c." is a world of three ranks on hosts a, b and c; the digit says which busy run
// has the rank before it, "." a run of its own of which nothing is known. An upper-case letter is a rank with a GPU on
// that host.
struct machine {
    struct scheduler_rank ranks[RANKS];
    size_t rank_count;
    struct scheduler_busy busy[BUSY + RANKS];
    size_t busy_count;
};

static struct machine make_machine(const char *text, const struct scheduler_busy *busy)
{
    struct machine m = {.busy_count = BUSY};
    uint32_t world = 0;
    for (size_t i = 0; i < BUSY; i++)
        m.busy[i] = busy && busy[i].id ? busy[i] : (struct scheduler_busy){.left_ms = -1};
    for (const char *p = text; *p; p++) {
        if (*p == ' ') {
            world++;
        } else if (*p == '.') {
            m.busy[m.busy_count] =
                (struct scheduler_busy){.id = 1000 + m.busy_count, .priority = 1 << 20, .left_ms = -1};
            m.ranks[m.rank_count - 1].run = (uint32_t)++m.busy_count;
        } else if (*p >= '1' && *p <= '9') {
            m.ranks[m.rank_count - 1].run = (uint32_t)(*p - '0');
        } else {
            m.ranks[m.rank_count++] = (struct scheduler_rank){
                .world = world, .host = (uint32_t)(*p | 32), .device = *p >= 'a' ? SCHEDULER_CPU : SCHEDULER_CUDA};
        }
    }
    return m;
}

static const struct scheduler_user nobody[USERS] = {{.share = 1}, {.share = 1}, {.share = 1}};

static struct scheduler_input make_input(const struct machine *m, const struct scheduler_run *runs,
                                         const struct scheduler_user *users)
{
    struct scheduler_input in = {m->ranks, m->rank_count, m->busy, m->busy_count, runs, 0, users, USERS};
    in.explain = 1;
    while (in.run_count < RUNS && runs[in.run_count].id)
        in.run_count++;
    return in;
}

// For each run its ranks ("0,2") or "-"; then, in order, who has to stop for whom ("7>2").
static void show(const struct scheduler_input *in, const struct scheduler_plan *plan, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < in->run_count; i++) {
        const struct scheduler_answer *a = &plan->answers[i];
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", a->count ? "" : "-");
        for (size_t k = 0; k < a->count; k++)
            n += (size_t)snprintf(out + n, size - n, "%s%zu", k ? "," : "", a->ranks[k]);
    }
    for (size_t i = 0; i < plan->stop_count; i++)
        n += (size_t)snprintf(out + n, size - n, " %d>%d", (int)in->busy[plan->stops[i].busy].id,
                              (int)plan->stops[i].by_run);
}

static void check(const char *name, const struct scheduler_input *in, const char *wanted)
{
    char got[300] = "";
    struct scheduler_plan plan = scheduler_decide(in);
    show(in, &plan, got, sizeof got);
    if (strcmp(got, wanted))
        fail_msg("%s: %s instead of %s", name, got, wanted);
    scheduler_free(&plan, in->run_count);
}

// ---- how many and which ---------------------------------------------------------------------------------------------

struct row {
    const char *ranks;
    struct scheduler_run runs[RUNS]; // until id 0
    const char *wanted;
};

static const struct row rows[] = {
    // how many: what is free, or what is asked for
    {"aaaa", {{.id = 1, .min_ranks = 1}}, "0,1,2,3"},
    {"aaaa", {{.id = 1, .ranks = 2}}, "0,1"},
    {"aa.aa", {{.id = 1, .min_ranks = 1}}, "0,2,3"},
    {"aa.aa", {{.id = 1, .ranks = 4}}, "-"},
    {"a.a", {{.id = 1, .min_ranks = 2}}, "-"},
    {"aaaa", {{.id = 1, .min_ranks = 1, .max_ranks = 1}}, "0"},
    {"", {{.id = 1, .min_ranks = 1}}, "-"},
    // groups are shared evenly
    {"aaa", {{.id = 1, .min_ranks = 1, .groups = 8}}, "0,1"},
    {"aaaaa", {{.id = 1, .min_ranks = 1, .groups = 6}}, "0,1,2"},
    {"aaa", {{.id = 1, .min_ranks = 3, .groups = 4}}, "-"},
    {"aa", {{.id = 1, .min_ranks = 1, .groups = 1}}, "0"},
    // goes on with as many ranks as before, where it can
    {"aaaa", {{.id = 1, .min_ranks = 1, .groups = 8, .last_ranks = 2}}, "0,1"},
    {"a", {{.id = 1, .min_ranks = 1, .groups = 8, .last_ranks = 2}}, "0"},
    {"aa", {{.id = 1, .min_ranks = 2, .last_ranks = 1}}, "0,1"},
    // priority, then age; side by side
    {"aa", {{.id = 1, .ranks = 2}, {.id = 2, .ranks = 2}}, "0,1 -"},
    {"aa", {{.id = 1, .ranks = 2}, {.id = 2, .ranks = 2, .priority = 1}}, "- 0,1"},
    {"aaaa", {{.id = 1, .ranks = 1}, {.id = 2, .ranks = 2}, {.id = 3, .ranks = 1}}, "0 1,2 3"},
    {"aaaa", {{.id = 9, .min_ranks = 1}, {.id = 4, .ranks = 3}}, "3 0,1,2"},
    // one world only, and what waits holds the world that is nearest to being free
    {"aa aa", {{.id = 1, .ranks = 3}}, "-"},
    {"a.aa", {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}}, "- -"},
    {"a.aa aa", {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}}, "- 3"},
    {"a.a a.aa", {{.id = 1, .ranks = 2}, {.id = 2, .ranks = 1}}, "3,4 1"},
    {"aa aaa", {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 1}}, "- 0"}, // could never start here: holds nothing
    // devices
    {"aaaa AA", {{.id = 1, .min_ranks = 1}}, "4,5"},
    {"aaaa AA", {{.id = 1, .min_ranks = 1, .device = SCHEDULER_CPU}}, "0,1,2,3"},
    {"aaaa", {{.id = 1, .min_ranks = 1, .device = SCHEDULER_CUDA}}, "-"},
    {"aA", {{.id = 1, .ranks = 2}}, "-"},
    {"A.A aa", {{.id = 1, .ranks = 2}}, "2,3"},
    // as few hosts as possible, the fullest that has room
    {"aabbbcc", {{.id = 1, .ranks = 2}}, "0,1"},
    {"aabbbcc", {{.id = 1, .ranks = 3}}, "2,3,4"},
    {"abbbcc", {{.id = 1, .ranks = 4}}, "0,1,2,3"},
    {"abab", {{.id = 1, .ranks = 2}}, "0,2"},
    {"aaa b", {{.id = 1, .ranks = 1}}, "3"}, // the world with the least left over
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct machine m = make_machine(rows[i].ranks, NULL);
        struct scheduler_input in = make_input(&m, rows[i].runs, nobody);
        check(rows[i].ranks, &in, rows[i].wanted);
    }
}

// ---- whose turn -----------------------------------------------------------------------------------------------------

static void test_turns(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct scheduler_user users[USERS];
        struct scheduler_run runs[RUNS];
        const char *wanted;
    } cases[] = {
        {"who has had less goes first",
         {{.usage = 10, .share = 1}, {.usage = 9, .share = 1}},
         {{.id = 1, .user = 0, .ranks = 2}, {.id = 2, .user = 1, .ranks = 2}},
         "- 0,1"},
        {"for his share",
         {{.usage = 10, .share = 2}, {.usage = 9, .share = 1}},
         {{.id = 1, .user = 0, .ranks = 2}, {.id = 2, .user = 1, .ranks = 2}},
         "0,1 -"},
        {"what he has now counts",
         {{.usage = 0, .share = 1, .ranks = 1, .runs = 1}, {.usage = 9, .share = 1}},
         {{.id = 1, .user = 0, .ranks = 2}, {.id = 2, .user = 1, .ranks = 2}},
         "- 0,1"},
        {"also what was given just now",
         {{.usage = 0, .share = 1}, {.usage = 9, .share = 1}},
         {{.id = 1, .user = 0, .ranks = 1}, {.id = 2, .user = 0, .ranks = 1}, {.id = 3, .user = 1, .ranks = 1}},
         "0 - 1"},
        {"priority goes before fairness",
         {{.usage = 1e9, .share = 1}, {.usage = 0, .share = 1}},
         {{.id = 1, .user = 0, .ranks = 2, .priority = 1}, {.id = 2, .user = 1, .ranks = 2}},
         "0,1 -"},
        {"half a day of waiting is a point",
         {{.share = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .ranks = 2, .priority = 1},
          {.id = 2, .user = 1, .ranks = 2, .waited_ms = 2 * SCHEDULER_AGE_MS}},
         "- 0,1"},
        {"a little less is none",
         {{.share = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .ranks = 2, .priority = 1},
          {.id = 2, .user = 1, .ranks = 2, .waited_ms = SCHEDULER_AGE_MS - 1}},
         "0,1 -"},
        {"not more than so many points",
         {{.share = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .ranks = 2, .priority = SCHEDULER_AGE_MOST + 1},
          {.id = 2, .user = 1, .ranks = 2, .waited_ms = 1000 * SCHEDULER_AGE_MS}},
         "0,1 -"},
        {"limit of runs",
         {{.share = 1, .most_runs = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .ranks = 1}, {.id = 2, .user = 0, .ranks = 1}, {.id = 3, .user = 1, .ranks = 1}},
         "0 - 1"},
        {"limit of ranks",
         {{.share = 1, .most_ranks = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .min_ranks = 1}, {.id = 2, .user = 0, .min_ranks = 1}, {.id = 3, .user = 1, .ranks = 1}},
         "0 - 1"},
        {"a limit holds no ranks back",
         {{.share = 1, .most_ranks = 1}, {.share = 1}},
         {{.id = 1, .user = 0, .ranks = 2, .priority = 9}, {.id = 2, .user = 1, .ranks = 2}},
         "- 0,1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct machine m = make_machine("aa", NULL);
        struct scheduler_input in = make_input(&m, cases[i].runs, cases[i].users);
        check(cases[i].name, &in, cases[i].wanted);
    }
}

// ---- backfill and preemption ----------------------------------------------------------------------------------------

static void test_beside_others(void **state)
{
    (void)state;
    static const struct {
        const char *name, *ranks;
        struct scheduler_busy busy[BUSY];
        struct scheduler_run runs[RUNS];
        const char *wanted;
    } cases[] = {
        {"it ends before the first one can start",
         "a1a1aa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 2, .left_ms = 100}},
         "- 2,3"},
        {"it does not",
         "a1a1aa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 2, .left_ms = 101}},
         "- -"},
        {"nobody knows when it ends",
         "a1a1aa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 2}},
         "- -"},
        {"nobody knows when the other ends",
         "a1a1aa",
         {{.id = 7, .left_ms = -1}},
         {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 2, .left_ms = 1}},
         "- -"},
        {"there are enough for both then",
         "a1a1aa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}, {.id = 3, .ranks = 1}},
         "- 2 -"},
        {"the same without a limit",
         "a1a1aa",
         {{.id = 7, .left_ms = -1}},
         {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}, {.id = 3, .ranks = 1}},
         "- 2 -"},
        {"whichever ends first",
         "a1a2a2aa",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1}},
         {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}},
         "- -"},
        {"the second one that waits is not protected",
         "a1a1aa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 4}, {.id = 2, .ranks = 3}, {.id = 3, .ranks = 1, .left_ms = 50}},
         "- - 2"},
        {"it waits where it is sure to start first",
         "a1a1a a2a2a",
         {{.id = 7, .left_ms = 900}, {.id = 8, .left_ms = 5}},
         {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}},
         "- 2"},
        {"an elastic one takes what it may",
         "a1aaaa",
         {{.id = 7, .left_ms = 100}},
         {{.id = 1, .ranks = 5}, {.id = 2, .min_ranks = 1, .left_ms = 90}},
         "- 1,2,3,4"},
        // preemption
        {"a more important one", "a1a1", {{.id = 7, .left_ms = -1}}, {{.id = 1, .ranks = 2, .priority = 1}}, "- 7>1"},
        {"as important is not enough",
         "a1a1",
         {{.id = 7, .left_ms = -1, .priority = 1}},
         {{.id = 1, .ranks = 2, .priority = 1}},
         "-"},
        {"age does not count",
         "a1a1",
         {{.id = 7, .left_ms = -1}},
         {{.id = 1, .ranks = 2, .waited_ms = 9 * SCHEDULER_AGE_MS}},
         "-"},
        {"not so soon after its start",
         "a1a1",
         {{.id = 7, .left_ms = -1, .settled_ms = 5}},
         {{.id = 1, .ranks = 2, .priority = 1}},
         "-"},
        {"it is stopping already",
         "a1a1",
         {{.id = 7, .left_ms = -1, .stopping = 1}},
         {{.id = 1, .ranks = 2, .priority = 1}},
         "-"},
        {"what is free is used too, and only for it",
         "a1a1a",
         {{.id = 7, .left_ms = -1}},
         {{.id = 1, .ranks = 3, .priority = 1}, {.id = 2, .ranks = 1}},
         "- - 7>1"},
        {"the least important",
         "a1a2a3",
         {{.id = 7, .left_ms = -1, .priority = 2}, {.id = 8, .left_ms = -1}, {.id = 9, .left_ms = -1, .priority = 1}},
         {{.id = 1, .ranks = 1, .priority = 5}},
         "- 8>1"},
        {"the youngest of them",
         "a1a2",
         {{.id = 7, .left_ms = -1, .ran_ms = 50}, {.id = 8, .left_ms = -1, .ran_ms = 60}},
         {{.id = 1, .ranks = 1, .priority = 5}},
         "- 7>1"},
        {"no more than it takes",
         "a1a2a2",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1, .priority = 1}},
         {{.id = 1, .ranks = 2, .priority = 5}},
         "- 8>1"},
        {"where fewer have to stop",
         "a1a2 a3a3",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1}, {.id = 9, .left_ms = -1}},
         {{.id = 1, .ranks = 2, .priority = 5}},
         "- 9>1"},
        {"rather two of no importance than an important one",
         "a1a2 a3a3",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1}, {.id = 9, .left_ms = -1, .priority = 1}},
         {{.id = 1, .ranks = 2, .priority = 5}},
         "- 8>1 7>1"},
        {"not for nothing",
         "a1a2",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1, .priority = 9}},
         {{.id = 1, .ranks = 2, .priority = 5}},
         "-"},
        {"two that make room each for its own",
         "a1a1 a2a2",
         {{.id = 7, .left_ms = -1}, {.id = 8, .left_ms = -1}},
         {{.id = 1, .ranks = 2, .priority = 1}, {.id = 2, .ranks = 2, .priority = 1}},
         "- - 7>1 8>2"},
        {"not where another waits that comes first",
         "a1a1",
         {{.id = 7, .left_ms = -1, .priority = 3}},
         {{.id = 1, .ranks = 2, .priority = 2, .waited_ms = 3 * SCHEDULER_AGE_MS},
          {.id = 2, .ranks = 2, .priority = 4}},
         "- -"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct machine m = make_machine(cases[i].ranks, cases[i].busy);
        struct scheduler_input in = make_input(&m, cases[i].runs, nobody);
        check(cases[i].name, &in, cases[i].wanted);
    }
}

// ---- what is said ---------------------------------------------------------------------------------------------------

static void test_reasons(void **state)
{
    (void)state;
    static const struct scheduler_run runs[RUNS] = {{.id = 1, .ranks = 3, .priority = 5},
                                                    {.id = 2, .ranks = 1},
                                                    {.id = 3, .ranks = 9},
                                                    {.id = 4, .ranks = 1, .device = SCHEDULER_CUDA}};
    struct machine m = make_machine("a.a.aa", NULL);
    struct scheduler_input in = make_input(&m, runs, nobody);
    struct scheduler_plan plan = scheduler_decide(&in);
    const struct scheduler_answer *a = plan.answers;
    assert_int_equal(a[0].why, SCHEDULER_OCCUPIED);
    assert_int_equal(a[0].needs, 3);
    assert_int_equal(a[0].free, 2);
    assert_int_equal(a[0].possible, 4);
    assert_int_equal(a[1].why, SCHEDULER_BEHIND);
    assert_int_equal(a[1].behind, 1);
    assert_int_equal(a[1].behind_priority, 5);
    assert_int_equal(a[2].why, SCHEDULER_TOO_LARGE);
    assert_int_equal(a[2].needs, 9);
    assert_int_equal(a[3].why, SCHEDULER_NO_RANK);
    assert_int_equal(plan.again_ms, SCHEDULER_AGE_MS); // ranks are kept free: who comes first may change
    scheduler_free(&plan, in.run_count);

    struct scheduler_user users[USERS] = {{.share = 1, .runs = 2, .most_runs = 2}, {.share = 1, .most_ranks = 2}};
    static const struct scheduler_run limited[RUNS] = {{.id = 1, .ranks = 1}, {.id = 2, .user = 1, .ranks = 3}};
    in = make_input(&m, limited, users);
    plan = scheduler_decide(&in);
    assert_int_equal(plan.answers[0].why, SCHEDULER_USER_RUNS);
    assert_int_equal(plan.answers[1].why, SCHEDULER_USER_RANKS);
    assert_int_equal(plan.answers[1].needs, 3);
    scheduler_free(&plan, in.run_count);

    static const struct scheduler_busy busy[BUSY] = {{.id = 7, .left_ms = -1, .settled_ms = 40},
                                                     {.id = 8, .left_ms = -1}};
    static const struct scheduler_run urgent[RUNS] = {{.id = 1, .ranks = 1, .priority = 1},
                                                      {.id = 2, .ranks = 2, .priority = 1}};
    m = make_machine("a1 a2", busy);
    in = make_input(&m, urgent, nobody);
    plan = scheduler_decide(&in);
    assert_int_equal(plan.answers[0].why, SCHEDULER_MAKES_ROOM);
    assert_int_equal(plan.answers[0].behind, 8);
    assert_int_equal(plan.again_ms, 40); // then the other may be stopped
    scheduler_free(&plan, in.run_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_turns),
                                       cmocka_unit_test(test_beside_others), cmocka_unit_test(test_reasons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
