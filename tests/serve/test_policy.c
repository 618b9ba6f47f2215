// What the scheduler promises, on machines, queues and histories drawn at random: every decision keeps the rules, and
// over weeks of simulated time nobody starves and shares come out fair. ISLR_SEED=N repeats a run that failed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/serve_user.h"
#include "daemon/serve_scheduler.h"

enum { RANKS = 24, RUNS = 14, USERS = 4 };
#define HOUR_MS (3600 * INT64_C(1000))

static unsigned seed, draws;

static uint32_t draw(uint32_t below)
{
    return below ? (uint32_t)rand_r(&draws) % below : 0;
}

// ---- one decision ---------------------------------------------------------------------------------------------------

struct scene {
    struct scheduler_rank ranks[RANKS];
    struct scheduler_busy busy[RANKS + RUNS];
    struct scheduler_run runs[RUNS];
    struct scheduler_user users[USERS];
    struct scheduler_input in;
};

static int same_part(const struct scheduler_rank *a, const struct scheduler_rank *b)
{
    return a->world == b->world && a->device == b->device;
}

static void draw_machine(struct scene *s)
{
    size_t worlds = 1 + draw(3);
    for (uint32_t w = 0; w < worlds; w++) {
        size_t size = 1 + draw(8), mixed = !draw(3);
        enum scheduler_device device = draw(2) ? SCHEDULER_CPU : SCHEDULER_CUDA;
        for (size_t i = 0; i < size; i++) {
            s->ranks[s->in.rank_count++] = (struct scheduler_rank){
                .world = 7 * w,
                .host = draw(3),
                .device = mixed && draw(2) ? SCHEDULER_CPU : device,
            };
        }
    }
}

// Gives about half of the ranks to runs, each of one part.
static void draw_busy(struct scene *s, int limits)
{
    for (size_t i = 0; i < s->in.rank_count; i++) {
        if (s->ranks[i].run || draw(2))
            continue;
        struct scheduler_busy *b = &s->busy[s->in.busy_count++];
        *b = (struct scheduler_busy){.id = 1000 + i,
                                     .priority = (int32_t)draw(4),
                                     .left_ms = limits && draw(3) ? (int64_t)draw(100) : -1,
                                     .settled_ms = draw(2) ? draw(50) : 0,
                                     .ran_ms = draw(1000),
                                     .stopping = !draw(8)};
        for (size_t k = i; k < s->in.rank_count; k++)
            if (!s->ranks[k].run && same_part(&s->ranks[k], &s->ranks[i]) && (k == i || draw(2)))
                s->ranks[k].run = (uint32_t)s->in.busy_count;
    }
}

static void draw_runs(struct scene *s, int limits)
{
    s->in.run_count = 1 + draw(RUNS);
    for (size_t i = 0; i < s->in.run_count; i++) {
        struct scheduler_run *r = &s->runs[i];
        *r = (struct scheduler_run){.id = i + 1,
                                    .user = draw(USERS),
                                    .priority = (int32_t)draw(5),
                                    .waited_ms = draw(3) ? 0 : draw(30) * HOUR_MS,
                                    .left_ms = limits && draw(2) ? 1 + draw(120) : 0,
                                    .min_ranks = 1 + draw(3),
                                    .groups = draw(2) ? 8 : 0,
                                    .last_ranks = draw(3) ? 0 : draw(5),
                                    .device = (enum scheduler_device)draw(3)};
        if (draw(2))
            r->ranks = 1 + draw(7);
        else if (!draw(3))
            r->max_ranks = r->min_ranks + draw(3);
    }
    for (size_t i = 0; i < USERS; i++)
        s->users[i] = (struct scheduler_user){.usage = draw(100) * 1e3,
                                              .share = 1 + draw(2),
                                              .most_runs = draw(4) ? 0 : 1 + draw(2),
                                              .most_ranks = draw(4) ? 0 : 1 + draw(6)};
    s->in.explain = 1;
    s->in.ranks = s->ranks;
    s->in.busy = s->busy;
    s->in.runs = s->runs;
    s->in.users = s->users;
    s->in.user_count = USERS;
}

static int number_suits(const struct scheduler_run *r, size_t n)
{
    if (r->ranks)
        return n == r->ranks;
    return n >= r->min_ranks && (!r->max_ranks || n <= r->max_ranks) && (!r->groups || r->groups % n == 0);
}

static int device_suits(const struct scheduler_run *r, const struct scheduler_rank *rank)
{
    return r->device == SCHEDULER_ANY || r->device == rank->device;
}

static void check_starts(const struct scene *s, const struct scheduler_plan *plan)
{
    char given[RANKS] = {0};
    uint32_t runs[USERS] = {0}, ranks[USERS] = {0};
    for (size_t i = 0; i < s->in.run_count; i++) {
        const struct scheduler_answer *a = &plan->answers[i];
        const struct scheduler_run *r = &s->runs[i];
        assert_int_equal(a->why == SCHEDULER_STARTS, a->count > 0);
        assert_true(!a->count || number_suits(r, a->count)); // all or none
        runs[r->user] += a->count > 0;
        ranks[r->user] += (uint32_t)a->count;
        for (size_t k = 0; k < a->count; k++) {
            size_t at = a->ranks[k];
            assert_true(at < s->in.rank_count && !s->ranks[at].run && !given[at]); // nobody else's
            assert_true(!k || at > a->ranks[k - 1]);
            assert_true(same_part(&s->ranks[at], &s->ranks[a->ranks[0]]) && device_suits(r, &s->ranks[at]));
            given[at] = 1;
        }
    }
    for (size_t i = 0; i < USERS; i++) {
        assert_true(!s->users[i].most_runs || runs[i] <= s->users[i].most_runs);
        assert_true(!s->users[i].most_ranks || ranks[i] <= s->users[i].most_ranks);
    }
}

static void check_stops(const struct scene *s, const struct scheduler_plan *plan)
{
    char stopped[RANKS + RUNS] = {0};
    for (size_t i = 0; i < plan->stop_count; i++) {
        const struct scheduler_stop *stop = &plan->stops[i];
        const struct scheduler_busy *b = &s->busy[stop->busy];
        const struct scheduler_run *r = &s->runs[stop->by_run - 1];
        assert_int_equal(plan->answers[stop->by_run - 1].why, SCHEDULER_MAKES_ROOM);
        assert_true(b->priority < r->priority && !b->settled_ms && !b->stopping && !stopped[stop->busy]++);
    }
}

// Ranks of a part that are free after the decision, and those that come free when what stops has stopped.
static size_t coming_ranks(const struct scene *s, const struct scheduler_plan *plan, size_t of)
{
    size_t n = 0;
    for (size_t i = 0; i < s->in.rank_count; i++) {
        if (!same_part(&s->ranks[i], &s->ranks[of]))
            continue;
        int stops = s->ranks[i].run && s->busy[s->ranks[i].run - 1].stopping;
        for (size_t k = 0; k < plan->stop_count; k++)
            stops |= s->ranks[i].run == plan->stops[k].busy + 1;
        n += !s->ranks[i].run || stops;
    }
    for (size_t k = 0; k < s->in.run_count; k++)
        for (size_t i = 0; i < plan->answers[k].count; i++)
            n -= same_part(&s->ranks[plan->answers[k].ranks[i]], &s->ranks[of]);
    return n;
}

// Whoever has runs stopped for him really gets his ranks by that: no run is stopped in vain.
static void check_room(const struct scene *s, const struct scheduler_plan *plan)
{
    for (size_t i = 0; i < plan->stop_count; i++) {
        size_t of = 0;
        while (s->ranks[of].run != plan->stops[i].busy + 1)
            of++;
        assert_true(coming_ranks(s, plan, of) >= plan->answers[plan->stops[i].by_run - 1].needs);
    }
}

static int64_t points(const struct scheduler_run *r)
{
    int64_t age = r->waited_ms / SCHEDULER_AGE_MS;
    return r->priority + (age < SCHEDULER_AGE_MOST ? age : SCHEDULER_AGE_MOST);
}

static size_t free_ranks(const struct scene *s, size_t of)
{
    size_t n = 0;
    for (size_t i = 0; i < s->in.rank_count; i++)
        n += !s->ranks[i].run && same_part(&s->ranks[i], &s->ranks[of]);
    return n;
}

// The run that alone has the most points is given ranks whenever that many are free.
static void check_first(const struct scene *s, const struct scheduler_plan *plan)
{
    size_t first = 0, equals = 0;
    for (size_t i = 1; i < s->in.run_count; i++)
        first = points(&s->runs[i]) > points(&s->runs[first]) ? i : first;
    for (size_t i = 0; i < s->in.run_count; i++)
        equals += points(&s->runs[i]) == points(&s->runs[first]);
    const struct scheduler_run *r = &s->runs[first];
    if (equals > 1 || s->users[r->user].most_ranks)
        return;
    for (size_t i = 0; i < s->in.rank_count; i++)
        for (size_t n = free_ranks(s, i); n > 0 && device_suits(r, &s->ranks[i]); n--)
            if (number_suits(r, n))
                assert_int_equal(plan->answers[first].why, SCHEDULER_STARTS);
}

static void test_every_decision(void **state)
{
    (void)state;
    size_t starts = 0, stops = 0;
    for (int trial = 0; trial < 20000; trial++) {
        struct scene s = {.in = {0}};
        draw_machine(&s);
        draw_busy(&s, 1);
        draw_runs(&s, 1);
        struct scheduler_plan plan = scheduler_decide(&s.in);
        s.in.explain = 0; // what is done does not depend on it
        struct scheduler_plan again = scheduler_decide(&s.in);
        check_starts(&s, &plan);
        check_stops(&s, &plan);
        check_room(&s, &plan);
        check_first(&s, &plan);
        assert_int_equal(plan.stop_count, again.stop_count);
        for (size_t i = 0; i < s.in.run_count; i++) {
            assert_int_equal(plan.answers[i].count, again.answers[i].count);
            starts += plan.answers[i].count > 0;
        }
        stops += plan.stop_count;
        scheduler_free(&plan, s.in.run_count);
        scheduler_free(&again, s.in.run_count);
    }
    assert_true(starts > 10000 && stops > 1000); // there was something to check
}

// ---- backfill -------------------------------------------------------------------------------------------------------
// One part, nobody may be preempted, all priorities differ: the first run that waits is known, and the decision without
// those behind it shows what the machine would be like without backfill.

struct occupant {
    size_t ranks;
    int64_t left_ms; // -1: unknown
    int backfilled;
};

struct stage {
    struct scene scene;
    size_t head; // the first that waits
    size_t needs;
    struct occupant all[RANKS + RUNS];
    size_t count, total;
};

static int draw_stage(struct stage *t, int limits)
{
    struct scene *s = &t->scene;
    memset(t, 0, sizeof *t);
    for (s->in.rank_count = 0; s->in.rank_count < 4 + draw(8);)
        s->ranks[s->in.rank_count++] = (struct scheduler_rank){.device = SCHEDULER_CPU};
    draw_busy(s, limits);
    draw_runs(s, limits);
    for (size_t i = 0; i < s->in.busy_count; i++) {
        s->busy[i].settled_ms = 1;
        s->busy[i].stopping = 0;
    }
    for (size_t i = 0; i < s->in.run_count; i++) {
        s->runs[i].priority = 100 - (int32_t)i;
        s->runs[i].waited_ms = 0;
        s->runs[i].device = SCHEDULER_ANY;
    }
    for (size_t i = 0; i < USERS; i++)
        s->users[i].most_runs = s->users[i].most_ranks = 0;
    t->total = s->in.rank_count;
    struct scheduler_plan plan = scheduler_decide(&s->in);
    t->head = s->in.run_count;
    for (size_t i = 0; i < s->in.busy_count; i++) {
        struct occupant *o = &t->all[t->count++];
        o->left_ms = s->busy[i].left_ms;
        for (size_t k = 0; k < s->in.rank_count; k++)
            o->ranks += s->ranks[k].run == i + 1;
    }
    for (size_t i = 0; i < s->in.run_count; i++) {
        const struct scheduler_answer *a = &plan.answers[i];
        if (a->why == SCHEDULER_OCCUPIED && t->head == s->in.run_count) {
            t->head = i;
            t->needs = a->needs;
        }
        if (a->count)
            t->all[t->count++] = (struct occupant){a->count, s->runs[i].left_ms ? s->runs[i].left_ms : -1, t->head < i};
    }
    scheduler_free(&plan, s->in.run_count);
    return t->head < s->in.run_count;
}

// Ranks that are free once everything that is sure to have ended by `ms` has.
static size_t free_at(const struct stage *t, int64_t ms, int with_backfill)
{
    size_t n = t->total;
    for (size_t i = 0; i < t->count; i++)
        if ((with_backfill || !t->all[i].backfilled) && (t->all[i].left_ms < 0 || t->all[i].left_ms > ms))
            n -= t->all[i].ranks;
    return n;
}

static int64_t sure_start(const struct stage *t)
{
    int64_t best = -1;
    for (size_t i = 0; i < t->count; i++)
        if (!t->all[i].backfilled && t->all[i].left_ms >= 0 && free_at(t, t->all[i].left_ms, 0) >= t->needs &&
            (best < 0 || t->all[i].left_ms < best))
            best = t->all[i].left_ms;
    return best;
}

// In whatever order the others end, and though what was backfilled never does, the same end lets the head start.
static void check_orders(const struct stage *t)
{
    size_t order[RANKS + RUNS], count = 0, held = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->all[i].backfilled)
            held += t->all[i].ranks;
        else
            order[count++] = i;
    }
    for (int trial = 0; trial < 20; trial++) {
        for (size_t i = count; i > 1; i--) {
            size_t k = draw((uint32_t)i), swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        size_t have = t->total;
        for (size_t i = 0; i < count; i++)
            have -= t->all[order[i]].ranks;
        for (size_t i = 0; i < count && have < t->needs; i++)
            have += t->all[order[i]].ranks;
        assert_true(have < t->needs || have - held >= t->needs);
    }
}

static void test_backfill(void **state)
{
    (void)state;
    size_t sure = 0, unsure = 0;
    for (int trial = 0; trial < 40000; trial++) {
        struct stage t;
        size_t backfilled = 0;
        if (!draw_stage(&t, trial % 2))
            continue;
        for (size_t i = 0; i < t.count; i++)
            backfilled += t.all[i].backfilled != 0;
        int64_t ms = sure_start(&t);
        if (ms >= 0)
            assert_true(free_at(&t, ms, 1) >= t.needs);
        else
            check_orders(&t);
        sure += ms >= 0 && backfilled;
        unsure += ms < 0 && backfilled;
    }
    assert_true(sure > 500 && unsure > 50);
}

// ---- weeks ----------------------------------------------------------------------------------------------------------
// One world. Each user keeps runs waiting at all times; what happens is what the decisions say.

struct plenty { // one user's runs
    int32_t priority;
    uint32_t ranks;
    int64_t ms; // each takes so long
    double share;
    // results
    double used;                      // rank-seconds
    int64_t first_ms, longest_gap_ms; // until the first start; between starts
};

struct weeks {
    struct plenty *users;
    size_t user_count, ranks;
    int64_t end_ms;
};

struct running {
    size_t user;
    int64_t begun, end;
};

struct simulation {
    const struct weeks *w;
    struct scheduler_rank ranks[RANKS];
    struct running running[RANKS]; // by rank of its first; end 0: none
    struct user *known[USERS];
    struct users table;
    int64_t now;
    uint64_t next_id;
};

static void decide_once(struct simulation *sim)
{
    const struct weeks *w = sim->w;
    struct scheduler_busy busy[RANKS];
    struct scheduler_run runs[USERS * RANKS];
    struct scheduler_user users[USERS];
    size_t run_count = 0;
    for (size_t i = 0; i < w->user_count; i++) {
        int64_t last = user_last_start(sim->known[i], w->users[i].priority);
        users[i] =
            (struct scheduler_user){.usage = usage_at(&sim->known[i]->usage, sim->now), .share = w->users[i].share};
        for (size_t k = 0; k < w->ranks; k++)
            runs[run_count++] = (struct scheduler_run){.id = ++sim->next_id,
                                                       .user = (uint32_t)i,
                                                       .priority = w->users[i].priority,
                                                       .waited_ms = sim->now - (last > 0 ? last : 0),
                                                       .ranks = w->users[i].ranks};
    }
    for (size_t i = 0; i < w->ranks; i++) {
        const struct running *r = &sim->running[i];
        busy[i] = (struct scheduler_busy){.left_ms = -1, .settled_ms = 1};
        if (!r->end)
            continue;
        users[r->user].runs++;
        users[r->user].ranks += w->users[r->user].ranks;
        users[r->user].usage += (double)(sim->now - r->begun) / 1e3 * w->users[r->user].ranks;
    }
    struct scheduler_input in = {sim->ranks, w->ranks, busy, w->ranks, runs, run_count, users, w->user_count};
    struct scheduler_plan plan = scheduler_decide(&in);
    for (size_t i = 0; i < run_count; i++) {
        const struct scheduler_answer *a = &plan.answers[i];
        size_t user = runs[i].user;
        struct plenty *p = &w->users[user];
        if (!a->count)
            continue;
        int64_t last = user_last_start(sim->known[user], INT32_MAX),
                gap = last == INT64_MIN ? sim->now : sim->now - last;
        p->longest_gap_ms = gap > p->longest_gap_ms ? gap : p->longest_gap_ms;
        p->first_ms = p->first_ms < 0 ? sim->now : p->first_ms;
        user_started(sim->known[user], p->priority, sim->now);
        for (size_t k = 0; k < a->count; k++)
            sim->ranks[a->ranks[k]].run = 1 + (uint32_t)a->ranks[0];
        sim->running[a->ranks[0]] = (struct running){user, sim->now, sim->now + p->ms};
    }
    scheduler_free(&plan, run_count);
}

static void end_runs(struct simulation *sim)
{
    const struct weeks *w = sim->w;
    for (size_t i = 0; i < w->ranks; i++) {
        struct running *r = &sim->running[i];
        if (!r->end || r->end > sim->now)
            continue;
        double amount = (double)(sim->now - r->begun) / 1e3 * w->users[r->user].ranks;
        usage_add(&sim->known[r->user]->usage, amount, sim->now);
        w->users[r->user].used += amount;
        for (size_t k = 0; k < w->ranks; k++)
            sim->ranks[k].run = sim->ranks[k].run == 1 + (uint32_t)i ? 0 : sim->ranks[k].run;
        r->end = 0;
    }
}

// Time goes from one end of a run to the next; a quarter of an hour when ranks are kept free.
static void simulate(const struct weeks *w)
{
    struct simulation sim = {.w = w};
    for (size_t i = 0; i < w->user_count; i++) {
        char name[24];
        snprintf(name, sizeof name, "u%zu", i);
        sim.known[i] = users_take(&sim.table, name);
        w->users[i].first_ms = -1;
    }
    for (size_t i = 0; i < w->ranks; i++)
        sim.ranks[i].device = SCHEDULER_CPU;
    while (sim.now < w->end_ms) {
        end_runs(&sim);
        decide_once(&sim);
        int64_t next = sim.now + HOUR_MS / 4;
        for (size_t i = 0; i < w->ranks; i++)
            if (sim.running[i].end && sim.running[i].end < next)
                next = sim.running[i].end;
        sim.now = next;
    }
    users_close(&sim.table);
}

// Whatever the shape of his runs, each gets his share of the machine.
static void test_shares(void **state)
{
    (void)state;
    struct plenty users[] = {{.ranks = 1, .ms = HOUR_MS, .share = 1},
                             {.ranks = 4, .ms = 3 * HOUR_MS, .share = 1},
                             {.ranks = 2, .ms = HOUR_MS / 3, .share = 2}};
    struct weeks w = {users, 3, 8, 28 * 24 * HOUR_MS};
    simulate(&w);
    double all = users[0].used + users[1].used + users[2].used;
    assert_true(all > 0.85 * 8 * (double)w.end_ms / 1e3); // what gangs of four leave idle while they gather
    for (size_t i = 0; i < 3; i++) {
        double got = users[i].used / all, due = users[i].share / 4;
        if (got < 0.93 * due || got > 1.07 * due)
            fail_msg("user %zu got %.3f of the machine instead of %.3f", i, got, due);
    }
}

// A run of lower priority starts when it has waited out the difference, and what then runs has ended; one that is
// further behind than waiting can bring never does.
static void test_no_starvation(void **state)
{
    (void)state;
    for (int32_t behind = 1; behind <= SCHEDULER_AGE_MOST + 1; behind++) {
        struct plenty users[] = {{.priority = behind, .ranks = 1, .ms = HOUR_MS, .share = 1},
                                 {.priority = 0, .ranks = 8, .ms = 5 * HOUR_MS, .share = 1}}; // needs all at once
        struct weeks w = {users, 2, 8, (SCHEDULER_AGE_MOST + 3) * SCHEDULER_AGE_MS};
        simulate(&w);
        int64_t bound = behind * SCHEDULER_AGE_MS + 2 * HOUR_MS;
        if (behind > SCHEDULER_AGE_MOST)
            assert_int_equal(users[1].first_ms, -1);
        else
            assert_in_range(users[1].first_ms, behind * SCHEDULER_AGE_MS, bound + SCHEDULER_AGE_MS);
    }
    // of equal priority nobody waits for age: all large ones and small ones have their turns
    struct plenty equal[] = {{.ranks = 1, .ms = HOUR_MS, .share = 1},
                             {.ranks = 8, .ms = HOUR_MS, .share = 1},
                             {.ranks = 3, .ms = 2 * HOUR_MS, .share = 1}};
    struct weeks w = {equal, 3, 8, 14 * 24 * HOUR_MS};
    simulate(&w);
    for (size_t i = 0; i < 3; i++)
        assert_true(equal[i].longest_gap_ms < 24 * HOUR_MS);
}

// ---- what is known of users -----------------------------------------------------------------------------------------

static void test_usage(void **state)
{
    (void)state;
    struct usage u = {0};
    int64_t half_life = (int64_t)(SCHEDULER_HALF_LIFE_S * 1e3);
    usage_add(&u, 100, 0);
    assert_true(usage_at(&u, half_life) > 49.999 && usage_at(&u, half_life) < 50.001);
    usage_add(&u, 10, half_life);
    assert_true(usage_at(&u, half_life) > 59.999 && usage_at(&u, half_life) < 60.001);
    usage_add(&u, -5, 0); // a clock that was set back adds and takes nothing
    assert_true(usage_at(&u, half_life) > 59.999 && usage_at(&u, half_life) < 60.001);
}

static void test_last_start(void **state)
{
    (void)state;
    struct users all = {0};
    struct user *u = users_take(&all, "ann");
    assert_ptr_equal(users_take(&all, "ann"), u);
    struct {
        int32_t priority;
        int64_t at;
    } starts[40];
    for (int i = 0; i < 40; i++) {
        starts[i].priority = (int32_t)draw(9) - 4;
        starts[i].at = draw(1000);
        user_started(u, starts[i].priority, starts[i].at);
        for (int32_t p = -5; p < 6; p++) {
            int64_t last = INT64_MIN;
            for (int k = 0; k <= i; k++)
                if (starts[k].priority <= p && starts[k].at > last)
                    last = starts[k].at;
            assert_int_equal(user_last_start(u, p), last);
        }
    }
    assert_true(u->start_count <= 9);
    users_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_decision), cmocka_unit_test(test_backfill),
                                       cmocka_unit_test(test_shares),         cmocka_unit_test(test_no_starvation),
                                       cmocka_unit_test(test_usage),          cmocka_unit_test(test_last_start)};
    const char *given = getenv("ISLR_SEED");
    draws = seed = given ? (unsigned)atoi(given) : (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
