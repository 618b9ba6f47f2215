// The control server's start, heartbeat and end: see serve.h and serve_server.h.
#include "daemon/serve_server.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/address.h"
#include "core/rpc/protocol.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_collect.h"
#include "daemon/serve_listen.h"
#include "daemon/serve_pieces.h"
#include "daemon/serve_recover.h"

enum {
    QUIET_MS = 50, // how often is looked whether all is quiet
    JUMP_MS = 5000 // of the clock between two looks: worth a word
};

static void tick(uv_timer_t *timer);

int64_t server_now_ms(void)
{
    return clock_wall_ms();
}

const char *server_directory(const struct server *s)
{
    return s->directory;
}

const char *server_socket(const struct server *s)
{
    return s->socket;
}

// ---- the store and the loop -----------------------------------------------------------------------------------------

static void notify(void *context) // on the writer's thread
{
    struct server *s = context;
    uv_async_send(&s->committed);
}

static void deliver(uv_async_t *async)
{
    struct server *s = async->data;
    if (s->store)
        store_deliver(s->store);
}

void server_queue(struct server *s, struct store_op *op)
{
    s->pending++;
    store_queue(s->store, op);
}

static void check_quiet(struct server *s)
{
    if (!s->on_quiet)
        return;
    for (size_t i = 0; i < s->runs.count; i++) // those that begin have no gang yet
        if (s->runs.items[i]->busy || run_state_live(s->runs.items[i]->now.state))
            return;
    void (*on_quiet)(void *) = s->on_quiet;
    s->on_quiet = NULL;
    on_quiet(s->quiet_context);
}

void server_quiesce(struct server *s, void (*on_quiet)(void *context), void *context)
{
    s->quiet = 1;
    s->on_quiet = on_quiet;
    s->quiet_context = context;
    attempts_drain(s, "the server is being stopped");
    uv_timer_start(&s->tick, tick, 0, QUIET_MS);
}

// Leases, limits and waiting go by the loop's time, which nobody can set. Times of records and tokens go by the wall
// clock: where that is set, people see times that do not fit, and here is why.
static void watch_clock(struct server *s)
{
    char text[32];
    int64_t ahead = server_now_ms() - (int64_t)uv_now(s->loop), jump = ahead - s->clock_ahead_ms;
    s->clock_ahead_ms = ahead;
    if (jump > JUMP_MS)
        log_warn(s->log, "the clock has jumped ahead by %s (or this machine has slept): tokens expire by it",
                 clock_format((double)jump / 1e3, text));
    else if (jump < -JUMP_MS)
        log_warn(s->log, "the clock was set back by %s: the times of a run's events stand still until it has caught up",
                 clock_format((double)-jump / 1e3, text));
}

// A server that was held up has not listened: leases stand still while a tick is late.
static void forgive_own_absence(struct server *s)
{
    uint64_t since = uv_now(s->loop) - s->ticked;
    s->ticked = uv_now(s->loop);
    if (since <= SERVER_TICK_MS)
        return;
    workers_wait_longer(s, since - SERVER_TICK_MS);
    attempts_wait_longer(s, since - SERVER_TICK_MS);
}

static void tick(uv_timer_t *timer)
{
    struct server *s = timer->data;
    s->ticks++;
    forgive_own_absence(s);
    watch_clock(s);
    workers_tick(s);
    health_tick(s);
    sessions_tick(&s->sessions, server_now_ms());
    attempts_tick(s);
    runs_tick(s);
    follow_tick(s);
    pieces_tick(s);
    uploads_tick(s);
    check_quiet(s);
}

// ---- the end --------------------------------------------------------------------------------------------------------
// In steps, each when the one before is through: no new connections and requests; what is under way is answered; the
// connections are hung up; the state is closed; the loop forgets the handles.

static void free_server(struct server *s)
{
    runs_close(&s->runs);
    users_close(&s->users);
    artifact_store_close(&s->artifacts);
    file_lock_release(&s->lock);
    free(s->directory);
    free(s->socket);
    free(s->tls_file);
    tokens_free(&s->tokens);
    free(s);
}

static void handle_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    if (--s->handles)
        return;
    void (*on_stopped)(void *) = s->on_stopped;
    void *context = s->stopped_context;
    free_server(s);
    if (on_stopped)
        on_stopped(context);
}

static void close_handles(struct server *s)
{
    s->handles = 7;
    uv_close((uv_handle_t *)&s->committed, handle_closed);
    uv_close((uv_handle_t *)&s->tick, handle_closed);
    uv_close((uv_handle_t *)&s->stopper, handle_closed);
    retry_close(s, handle_closed);
    schedule_close(s, handle_closed);
    watch_close(s, handle_closed);
    expand_close(s, handle_closed);
}

static void stop_step(uv_timer_t *timer)
{
    struct server *s = timer->data;
    if (s->pending)
        return;
    if (!s->hung_up) {
        s->hung_up = 1;
        sessions_hang_up(&s->sessions);
    }
    if (s->sessions.first || s->closed)
        return;
    s->closed = 1;
    uploads_close(s);
    workers_close(s);
    store_close(s->store);
    s->store = NULL;
    close_handles(s);
}

void server_settled(struct server *s)
{
    s->pending--;
    server_check_stopped(s);
}

void server_check_stopped(struct server *s)
{
    if (s->stopping && !s->closed)
        uv_timer_start(&s->stopper, stop_step, 0, 0); // not here: the caller is not through with the server
}

void server_stop(struct server *s, void (*on_stopped)(void *context), void *context)
{
    if (s->stopping) {
        sessions_cut(&s->sessions);
        return;
    }
    s->stopping = 1;
    s->on_stopped = on_stopped;
    s->stopped_context = context;
    listeners_close(s);
    uv_timer_stop(&s->tick);
    pieces_stop(s);
    retry_stop(s);
    server_check_stopped(s);
}

// ---- the start ------------------------------------------------------------------------------------------------------

static int take_directory(struct server *s, struct error *e)
{
    if (file_make_dirs(s->directory, e))
        return -1;
    char *path = file_join(s->directory, "lock");
    int rc = file_lock_try(&s->lock, path, e);
    free(path);
    if (rc > 0)
        error_set(e, ERR_FAILED, "another server already runs on the directory %s", s->directory);
    return rc ? -1 : 0;
}

static void open_handles(struct server *s)
{
    uv_async_init(s->loop, &s->committed, deliver);
    uv_timer_init(s->loop, &s->tick);
    uv_timer_init(s->loop, &s->stopper);
    s->committed.data = s->tick.data = s->stopper.data = s;
    retry_open(s);
    schedule_open(s);
    watch_open(s);
    expand_open(s);
}

static int open_state(struct server *s, const struct server_options *o, struct error *e)
{
    struct store_options options = {s->directory, notify, s, s->log};
    s->store = store_open(&options, e);
    if (!s->store || artifact_store_open(&s->artifacts, s->directory, e) || recover(s, e))
        return -1;
    return listeners_open(s, o, e);
}

// Absolute, as clients and workers name them.
static int find_places(struct server *s, const struct server_options *o, struct error *e)
{
    s->directory = o->directory ? file_absolute(o->directory, e) : address_default_directory();
    if (!s->directory)
        return -1;
    s->socket = o->socket ? file_absolute(o->socket, e) : address_default_socket(s->directory);
    return s->socket ? 0 : -1;
}

struct server *server_open(uv_loop_t *loop, const struct server_options *options, struct error *e)
{
    struct server *s = xcalloc(1, sizeof *s);
    s->loop = loop;
    s->log = options->log;
    s->lease_ms = options->lease_ms ? options->lease_ms : RPC_IDLE_MS;
    s->hang_ms = options->hang_ms;
    s->settle_ms = options->settle_ms ? options->settle_ms : (uint32_t)(SETTLE_SECONDS * 1e3);
    s->started_ms = server_now_ms();
    users_open(&s->users);
    if (find_places(s, options, e) || take_directory(s, e)) {
        free_server(s);
        return NULL;
    }
    open_handles(s);
    if (open_state(s, options, e)) {
        server_stop(s, NULL, NULL);   // what recovering has begun comes to its end first
        uv_run(loop, UV_RUN_DEFAULT); // nothing else is on it yet
        return NULL;
    }
    uv_update_time(loop);
    s->clock_ahead_ms = server_now_ms() - (int64_t)uv_now(loop);
    s->ticked = uv_now(loop);
    uv_timer_start(&s->tick, tick, SERVER_TICK_MS, SERVER_TICK_MS);
    expand_start(s);
    collect_soon(s);
    schedule_soon(s);
    return s;
}
