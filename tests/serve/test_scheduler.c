// Which run gets which ranks: the rules, by table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/serve_scheduler.h"

// Ranks as text, one word a world: "ab.c" is a world of three ranks on hosts a, b and c whose second is taken ("."
// after it); an upper-case letter is a rank with a GPU on that host.
static size_t make_ranks(const char *text, struct scheduler_rank *out)
{
    size_t n = 0;
    uint32_t world = 0;
    for (const char *p = text; *p; p++) {
        if (*p == ' ')
            world++;
        else if (*p == '.')
            out[n - 1].free = 0;
        else
            out[n++] = (struct scheduler_rank){.world = world,
                                               .host = (uint32_t)(*p | 32),
                                               .device = *p >= 'a' ? SCHEDULER_CPU : SCHEDULER_CUDA,
                                               .free = 1};
    }
    return n;
}

struct row {
    const char *ranks;
    struct scheduler_run runs[4]; // until id 0
    const char *wanted;           // for each run its ranks ("0,2") or "-"
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

static void show(const struct scheduler_answer *answers, size_t runs, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < runs; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", answers[i].count ? "" : "-");
        for (size_t k = 0; k < answers[i].count; k++)
            n += (size_t)snprintf(out + n, size - n, "%s%zu", k ? "," : "", answers[i].ranks[k]);
    }
}

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scheduler_rank ranks[32];
        struct scheduler_input input = {.ranks = ranks, .rank_count = make_ranks(rows[i].ranks, ranks)};
        char got[200] = "";
        input.runs = rows[i].runs;
        while (input.run_count < 4 && rows[i].runs[input.run_count].id)
            input.run_count++;
        struct scheduler_answer *answers = scheduler_decide(&input);
        show(answers, input.run_count, got, sizeof got);
        if (strcmp(got, rows[i].wanted))
            fail_msg("row %zu (%s): %s instead of %s", i, rows[i].ranks, got, rows[i].wanted);
        scheduler_free(answers, input.run_count);
    }
}

static void test_reasons(void **state)
{
    (void)state;
    struct scheduler_rank ranks[8];
    struct scheduler_run runs[] = {{.id = 1, .ranks = 3}, {.id = 2, .ranks = 1}, {.id = 3, .ranks = 9}};
    struct scheduler_input input = {ranks, make_ranks("a.aaa", ranks), runs, 3};
    ranks[1].free = 0;
    struct scheduler_answer *a = scheduler_decide(&input);
    assert_int_equal(a[0].needs, 3);
    assert_int_equal(a[0].free, 2);
    assert_int_equal(a[0].possible, 4);
    assert_int_equal(a[1].behind, 1);
    assert_int_equal(a[2].needs, 9);
    assert_int_equal(a[2].behind, 0);
    scheduler_free(a, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_reasons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
