// Users' names on a unix socket, from a user database that is slow or fails: this file's getpwuid_r().
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pwd.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/rpc/rig.h"

static uv_thread_t loop_thread;
static atomic_int lookups, on_loop, failing;
static sem_t answers; // that the database may give

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **found)
{
    uv_thread_t self = uv_thread_self();
    atomic_fetch_add(&lookups, 1);
    *found = NULL;
    if (uv_thread_equal(&self, &loop_thread)) {
        atomic_store(&on_loop, 1);
        return EIO;
    }
    while (sem_wait(&answers)) {
    }
    if (atomic_load(&failing))
        return EIO;
    snprintf(buffer, size, "somebody");
    *entry = (struct passwd){.pw_name = buffer, .pw_uid = uid};
    *found = entry;
    return 0;
}

struct visitor {
    struct link *link;
    int up, closed;
    char user[64];
};

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct visitor *v = link_context(l);
    (void)p;
    v->up = 1;
    snprintf(v->user, sizeof v->user, "%s", welcome->user);
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)l;
    (void)m;
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    (void)l;
    (void)why;
    (void)again_ms;
}

static void on_closed(struct link *l)
{
    struct visitor *v = link_context(l);
    v->closed = 1;
}

static void visit(struct rig *r, struct visitor *v)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    struct link_options options = {.address = r->address};
    memset(v, 0, sizeof *v);
    v->link = link_open(&r->loop, &options, &events, v);
}

static void leave(struct rig *r, struct visitor *v)
{
    link_close(v->link);
    rig_run_until(r, &v->closed);
}

static void begin(struct rig *r)
{
    atomic_store(&lookups, 0);
    atomic_store(&failing, 0);
    loop_thread = uv_thread_self();
    assert_int_equal(sem_init(&answers, 0, 0), 0);
    rig_open(r);
}

static void wait_for_lookups(struct rig *r, int count)
{
    for (int i = 0; atomic_load(&lookups) < count; i++) {
        assert_true(i < 20000);
        rig_run_for(r, 1);
    }
}

// Others are served meanwhile; one lookup is enough for all of a user's connections, now and later.
static void a_slow_database_holds_nobody_up(void **state)
{
    struct rig r = {.context = NULL};
    struct visitor v[3];
    (void)state;
    begin(&r);
    visit(&r, &v[0]);
    visit(&r, &v[1]);
    wait_for_lookups(&r, 1);
    rig_run_for(&r, 30);
    assert_int_equal(r.opened, 0); // and the loop runs
    sem_post(&answers);
    rig_run_until(&r, &v[0].up);
    rig_run_until(&r, &v[1].up);
    visit(&r, &v[2]);
    rig_run_until(&r, &v[2].up);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(v[i].user, "somebody");
        leave(&r, &v[i]);
    }
    assert_int_equal(lookups, 1);
    assert_int_equal(on_loop, 0);
    rig_close(&r);
}

// What a database that fails could not say is not remembered.
static void a_failure_is_not_remembered(void **state)
{
    struct rig r = {.context = NULL};
    struct visitor v;
    char number[32];
    (void)state;
    begin(&r);
    snprintf(number, sizeof number, "%lu", (unsigned long)getuid());
    sem_post(&answers);
    sem_post(&answers);
    atomic_store(&failing, 1);
    visit(&r, &v);
    rig_run_until(&r, &v.up);
    assert_string_equal(v.user, number);
    leave(&r, &v);
    atomic_store(&failing, 0);
    visit(&r, &v);
    rig_run_until(&r, &v.up);
    assert_string_equal(v.user, "somebody");
    leave(&r, &v);
    rig_close(&r);
}

// A listener that is closed, and a client that has gone, before the name is there.
static void the_end_comes_first(void **state)
{
    struct rig r = {.context = NULL};
    struct visitor v;
    (void)state;
    begin(&r);
    visit(&r, &v);
    wait_for_lookups(&r, 1);
    leave(&r, &v);
    rig_unlisten(&r);
    rig_run_for(&r, 5);
    sem_post(&answers);
    rig_close(&r);
    assert_int_equal(r.opened, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_database_holds_nobody_up),
        cmocka_unit_test(a_failure_is_not_remembered),
        cmocka_unit_test(the_end_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
