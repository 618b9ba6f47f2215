// The watchdog: who works or looks for others is left alone for as long as it takes; who does neither is found, once, with
// the place where it is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "daemon/watchdog.h"

static const double HANG = 2;

struct seen {
    atomic_int looks, stuck;
    _Atomic double quiet; // the longest
    char *brief, *stacks;
};

static void look(void *context, const struct watchdog_view *v)
{
    struct seen *s = context;
    if (v->quiet_seconds > atomic_load(&s->quiet))
        atomic_store(&s->quiet, v->quiet_seconds);
    if (v->stuck) {
        s->brief = xstrdup(v->brief);
        s->stacks = xstrdup(v->stacks);
        atomic_fetch_add(&s->stuck, 1);
    }
    atomic_fetch_add(&s->looks, 1);
}

static void work_for(struct pulse *p, double seconds, void (*sign)(struct pulse *p))
{
    for (double until = clock_seconds() + seconds; clock_seconds() < until;) {
        sign(p);
        clock_sleep(0.01);
    }
}

static void poll_once(struct pulse *p)
{
    atomic_fetch_add(&p->polls, 1);
}

static __attribute__((noinline)) int stand_still_here(struct seen *s)
{
    double until = clock_seconds() + 100;
    while (!atomic_load(&s->stuck) && clock_seconds() < until)
        clock_sleep(0.01);
    return atomic_load(&s->stuck);
}

static void finds_who_stands_still(void **state)
{
    struct pulse pulse = {0};
    struct seen s = {0};
    struct error e;
    (void)state;
    struct watchdog *w = watchdog_start(&(struct watchdog_options){&pulse, &s, look}, &e);
    assert_non_null(w);
    clock_sleep(1.2);
    assert_int_equal(s.looks, 0); // it sleeps while there is nothing to do
    watchdog_watch(w, HANG);
    work_for(&pulse, HANG + 1.5, pulse_beat);
    while (s.looks < 3)
        work_for(&pulse, 0.1, pulse_beat);
    assert_int_equal(s.stuck, 0);
    // One that waits for others is quiet, but not stuck.
    atomic_store(&pulse.waits, "a sum");
    while (s.quiet < HANG)
        work_for(&pulse, 0.1, poll_once);
    work_for(&pulse, 1.5, poll_once);
    atomic_store(&pulse.waits, NULL);
    assert_int_equal(s.stuck, 0);
    assert_int_equal(stand_still_here(&s), 1);
    assert_non_null(strstr(s.brief, "stand_still_here"));
    assert_non_null(strstr(s.stacks, "finds_who_stands_still"));
    clock_sleep(1.5);
    watchdog_rest(w);
    assert_int_equal(s.stuck, 1); // said once
    int looks = s.looks;
    clock_sleep(1.2);
    assert_int_equal(s.looks, looks);
    // The next piece of work begins anew; without a bound nothing is ever stuck.
    watchdog_watch(w, 0);
    clock_sleep(HANG + 1.5);
    watchdog_stop(w);
    assert_int_equal(s.stuck, 1);
    free(s.brief);
    free(s.stacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_who_stands_still)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
