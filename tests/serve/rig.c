// The server of a test, and its loop: see rig.h.
#include "tests/serve/rig.h"

#include <signal.h>
#include <stdio.h>

#include "core/base/file.h"

void rig_start_server(struct rig *rig)
{
    struct error e;
    char file[100], where[100] = "127.0.0.1:0";
    if (rig->keep_network)
        snprintf(where, sizeof where, "127.0.0.1:%s", rig->network.port);
    struct server_options options = {.directory = rig->directory,
                                     .log = &rig->log,
                                     .lease_ms = rig->lease_ms,
                                     .hang_ms = RIG_HANG_MS,
                                     .settle_ms = rig->settle_ms,
                                     .listen = rig->listening ? where : NULL};
    rig->server = server_open(&rig->loop, &options, &e);
    if (!rig->server)
        fail_msg("%s", e.text);
    if (!rig->listening)
        return;
    snprintf(file, sizeof file, "%s/tls.pem", rig->directory);
    if (address_parse(server_network_address(rig->server), &rig->network, &e) ||
        address_trust(&rig->network, NULL, file, &e))
        fail_msg("%s", e.text);
}

void rig_open_with(struct rig *rig, int listening, uint32_t lease_ms)
{
    signal(SIGPIPE, SIG_IGN); // as in a server and its clients
    memset(rig, 0, sizeof *rig);
    rig->listening = listening;
    rig->lease_ms = lease_ms;
    strcpy(rig->directory, "/tmp/islr-serve-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    rig->log = (struct log){getenv("ISLR_TEST_LOG") ? stderr : NULL, LOG_DEBUG, NULL};
    uv_loop_init(&rig->loop);
    rig_start_server(rig);
}

void rig_open(struct rig *rig)
{
    rig_open_with(rig, 0, RIG_LEASE_MS);
}

void rig_open_listening(struct rig *rig)
{
    rig_open_with(rig, 1, RIG_LEASE_MS);
}

static void set_flag(void *context)
{
    *(int *)context = 1;
}

static int is_any_up(const struct rig *rig)
{
    for (const struct ear *i = rig->ears; i; i = i->next)
        if (i->actor && i->actor->up)
            return 1;
    return 0;
}

void rig_stop_server(struct rig *rig)
{
    int stopped = 0;
    server_stop(rig->server, set_flag, &stopped);
    rig_until(rig, &stopped, "the server's end");
    rig->server = NULL;
    for (unsigned ms = 0; is_any_up(rig);) // or one would be taken for connected to the next server
        rig_wait(rig, &ms, "the connections' end");
}

void rig_hang_up(struct rig *rig)
{
    for (struct ear *i = rig->ears; i; i = i->next) {
        i->actor = NULL;
        link_close(i->link);
    }
    for (unsigned ms = 0; rig->ears;)
        rig_wait(rig, &ms, "the connections' end");
}

void rig_close(struct rig *rig)
{
    rig_hang_up(rig);
    if (rig->server)
        rig_stop_server(rig);
    for (unsigned ms = 0; uv_loop_alive(&rig->loop);)
        rig_wait(rig, &ms, "the loop's end");
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    file_remove_tree(rig->directory, NULL);
}

static void ring(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
    uv_stop(timer->loop); // or uv_run() would wait for something more
}

static void run_loop(struct rig *rig, const int *flag, const int *late)
{
    while (!*flag && !*late)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void with_timer(struct rig *rig, unsigned ms, const int *flag, int *late)
{
    uv_timer_t timer;
    uv_timer_init(&rig->loop, &timer);
    timer.data = late;
    uv_update_time(&rig->loop); // the test may have slept
    uv_timer_start(&timer, ring, ms, 0);
    run_loop(rig, flag, late);
    uv_close((uv_handle_t *)&timer, NULL);
    while (uv_is_active((uv_handle_t *)&timer))
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

void rig_until(struct rig *rig, const int *flag, const char *what)
{
    int late = 0;
    with_timer(rig, RIG_PATIENCE_MS, flag, &late);
    if (!*flag)
        fail_msg("waited in vain for %s", what);
}

void rig_for(struct rig *rig, unsigned ms)
{
    int never = 0, late = 0;
    with_timer(rig, ms, &never, &late);
}

void rig_wait(struct rig *rig, unsigned *waited_ms, const char *what)
{
    if (*waited_ms >= RIG_PATIENCE_MS)
        fail_msg("waited in vain for %s", what);
    rig_for(rig, 2);
    *waited_ms += 2;
}
