// From a submission to the ranks having the job, and what a long queue costs: a measurement, run by hand.
//
//     build/tests/serve/bench_dispatch
//
// The server, its clients and its ranks are in this one process, on a unix socket, with a real database on the disk of
// /tmp; a client's own start is not counted (tests/bench/slurm.py counts it).
#include <stdio.h>
#include <sys/resource.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "daemon/serve_scheduler.h"
#include "tests/serve/world.h"

enum { ROUNDS = 100, DECISIONS = 50, QUIET_SECONDS = 10 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say(const char *what, double *ms, size_t count)
{
    qsort(ms, count, sizeof *ms, by_value);
    printf("%-64s median %7.3f ms, 99%% %7.3f, most %7.3f\n", what, ms[count / 2], ms[count * 99 / 100], ms[count - 1]);
}

static double cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec +
           1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

// ---- one decision ---------------------------------------------------------------------------------------------------

// 8 worlds of 8 ranks, all but one of which have runs; 20 users.
static void time_decisions(size_t queue, int explain)
{
    enum { RANKS = 64, USERS = 20 };
    struct scheduler_rank ranks[RANKS];
    struct scheduler_busy busy[RANKS];
    struct scheduler_user users[USERS];
    struct scheduler_run *runs = xcalloc(queue, sizeof *runs);
    double ms[DECISIONS];
    char what[80];
    for (uint32_t i = 0; i < RANKS; i++) {
        busy[i] = (struct scheduler_busy){.id = 1000000 + i, .priority = 50, .left_ms = 60000 * i};
        ranks[i] =
            (struct scheduler_rank){.world = i / 8, .host = i / 4, .device = SCHEDULER_CPU, .run = i == 17 ? 0 : i + 1};
    }
    for (uint32_t i = 0; i < USERS; i++)
        users[i] = (struct scheduler_user){.usage = 1000.0 * ((i * 7) % USERS), .share = 1};
    for (size_t i = 0; i < queue; i++)
        runs[i] = (struct scheduler_run){.id = i + 1,
                                         .user = (uint32_t)(i * 13 % USERS),
                                         .priority = (int32_t)(i * 31 % 5),
                                         .waited_ms = (int64_t)(i * 977 % 1000) * 600000,
                                         .min_ranks = 2 + (uint32_t)(i % 4),
                                         .groups = i % 2 ? 8 : 0};
    struct scheduler_input in = {ranks, RANKS, busy, RANKS, runs, queue, users, USERS, .explain = explain};
    for (int i = 0; i < DECISIONS; i++) {
        double begun = cpu_seconds();
        struct scheduler_plan plan = scheduler_decide(&in);
        ms[i] = (cpu_seconds() - begun) * 1e3;
        scheduler_free(&plan, queue);
    }
    snprintf(what, sizeof what, "a decision over %zu waiting runs%s (CPU time)", queue, explain ? ", explained" : "");
    say(what, ms, DECISIONS);
    free(runs);
}

// ---- from a submission to its ranks ---------------------------------------------------------------------------------

static struct rig rig;
static struct actor client, ranks[2];

static void have_run(double *ms)
{
    double begun = clock_seconds();
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s), *assign[2] = {0};
    s.job = job_tiny(2, 1);
    actor_ask(&client, &m);
    while (!assign[0] || !assign[1]) {
        uv_run(&rig.loop, UV_RUN_ONCE);
        for (int i = 0; i < 2; i++)
            if (!assign[i] && actor_has(&ranks[i], ISLR__ENVELOPE__BODY_ASSIGN))
                assign[i] = rank_take(&ranks[i], 1);
    }
    *ms = (clock_seconds() - begun) * 1e3;
    rank_finish(&ranks[0], assign[0]->assign->run, 1, ISLR__FINISHED__OUTCOME__OUTCOME_SUCCEEDED, 0);
    envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED));
    envelope_free(assign[0]);
    envelope_free(assign[1]);
    spec_free(s.job);
}

// Runs that wait: they need more ranks than there are, so that each decision has to look at all of them.
static void fill_queue(size_t count)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    s.job = job_tiny(8, 1);
    for (size_t i = 0; i < count; i++)
        actor_ask(&client, &m);
    for (size_t i = 0; i < count; i++)
        envelope_free(actor_next(&client, ISLR__ENVELOPE__BODY_SUBMITTED));
    spec_free(s.job);
}

static void time_dispatch(size_t queue)
{
    double ms[ROUNDS];
    char what[80];
    for (int i = 0; i < ROUNDS; i++)
        have_run(&ms[i]);
    snprintf(what, sizeof what, "submission to both ranks having the job, %zu others waiting", queue);
    say(what, ms, ROUNDS);
}

// ---- waiting --------------------------------------------------------------------------------------------------------

static void time_waiting(size_t queue)
{
    double before = cpu_seconds();
    rig_for(&rig, QUIET_SECONDS * 1000);
    printf("%zu waiting runs, two idle ranks, one client: %.3f%% of a core, all of them together\n", queue,
           100 * (cpu_seconds() - before) / QUIET_SECONDS);
}

int main(void)
{
    time_decisions(1000, 0);
    time_decisions(10000, 0);
    time_decisions(10000, 1);
    rig_open(&rig);
    actor_open(&client, &rig, ISLR__HELLO__ROLE__ROLE_CLIENT);
    world_open(ranks, &rig, 2, "w");
    time_waiting(0);
    time_dispatch(0);
    fill_queue(1000);
    time_dispatch(1000);
    fill_queue(9000);
    time_dispatch(10000);
    time_waiting(10000);
    world_close(ranks, 2);
    actor_close(&client);
    rig_close(&rig);
    return 0;
}
