// The ranks that are there: see serve_worker.h.
#include "daemon/serve_worker.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/store/text.h"
#include "core/store/worker_row.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_server.h"

enum { WORLD_SIZE_MAX = 65536, SHUN_MS = 10000 };

// ---- what the database remembers ------------------------------------------------------------------------------------
// Only history: if it cannot be written, so be it.

struct seen {
    struct worker_seen request;
    struct server *server;
    Islr__Register *facts; // a copy: the worker may be gone before
    char user[64];
    uint64_t worker;
};

static struct worker *find_id(struct server *s, uint64_t id)
{
    for (struct world *w = s->workers.first; w; w = w->next)
        for (uint32_t i = 0; i < w->size; i++)
            if (w->ranks[i] && w->ranks[i]->id == id)
                return w->ranks[i];
    return NULL;
}

static void seen_done(struct store_op *op)
{
    struct seen *r = (struct seen *)op;
    struct worker *w = find_id(r->server, r->worker);
    if (w && op->status == STORE_DONE)
        w->row = r->request.id;
    server_settled(r->server);
    islr__register__free_unpacked(r->facts, NULL);
    free(r);
}

static Islr__Register *copy_facts(const Islr__Register *facts)
{
    size_t size = islr__register__get_packed_size(facts);
    uint8_t *bytes = xmalloc(size ? size : 1);
    islr__register__pack(facts, bytes);
    Islr__Register *copy = islr__register__unpack(NULL, size, bytes);
    free(bytes);
    return copy;
}

static void remember(struct worker *w)
{
    struct seen *r = xcalloc(1, sizeof *r);
    r->server = w->server;
    r->worker = w->id;
    r->facts = copy_facts(w->facts);
    text_fit(r->user, sizeof r->user, w->session->user);
    r->request.who = r->facts;
    r->request.user = r->user;
    r->request.time_ms = server_now_ms();
    r->request.op.done = seen_done;
    worker_seen_prepare(&r->request);
    server_queue(w->server, &r->request.op);
}

struct gone {
    struct worker_gone request;
    struct server *server;
};

static void gone_done(struct store_op *op)
{
    struct gone *r = (struct gone *)op;
    server_settled(r->server);
    free(r);
}

static void remember_gone(const struct worker *w)
{
    if (!w->row)
        return;
    struct gone *r = xcalloc(1, sizeof *r);
    r->server = w->server;
    r->request.id = w->row;
    r->request.time_ms = server_now_ms();
    r->request.op.done = gone_done;
    worker_gone_prepare(&r->request);
    server_queue(w->server, &r->request.op);
}

// ---- the process ----------------------------------------------------------------------------------------------------

static void give_up(struct worker *w, const char *why);

static void free_handle(uv_handle_t *handle)
{
    uv_os_fd_t fd = (int)(intptr_t)handle->data;
    close(fd);
    free(handle);
}

static void stop_watching(struct worker *w)
{
    uv_os_fd_t fd;
    if (!w->process)
        return;
    uv_fileno((uv_handle_t *)w->process, &fd);
    w->process->data = (void *)(intptr_t)fd; // its callback may not see the worker any more
    uv_close((uv_handle_t *)w->process, free_handle);
    w->process = NULL;
}

static void process_ended(uv_poll_t *poll_handle, int status, int events)
{
    struct worker *w = poll_handle->data;
    (void)status;
    (void)events;
    stop_watching(w);
    w->dead = 1;
    if (!w->session) // otherwise what it has sent is read first: its connection ends behind that
        give_up(w, "its process has ended");
}

static void watch_process(struct worker *w, const struct peer_identity *who)
{
    stop_watching(w);
    if (!who->known || who->pid <= 0 || who->pid == getpid())
        return;
    int fd = (int)syscall(SYS_pidfd_open, who->pid, 0);
    if (fd < 0)
        return;
    uv_poll_t *watch = xcalloc(1, sizeof *watch);
    if (uv_poll_init(w->server->loop, watch, fd)) {
        close(fd);
        free(watch);
        return;
    }
    watch->data = w;
    w->process = watch;
    uv_poll_start(watch, UV_READABLE, process_ended);
}

// ---- life -----------------------------------------------------------------------------------------------------------

static struct world *find_world(struct server *s, const char *name)
{
    for (struct world *w = s->workers.first; w; w = w->next)
        if (!strcmp(w->name, name))
            return w;
    return NULL;
}

static struct world *add_world(struct server *s, const char *name, uint32_t size)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->name = xstrdup(name);
    w->size = size;
    w->number = ++s->workers.last_world;
    w->ranks = xcalloc(size, sizeof *w->ranks);
    w->incomplete_since = uv_now(s->loop);
    w->next = s->workers.first;
    s->workers.first = w;
    return w;
}

static void drop_world(struct server *s, struct world *world)
{
    struct world **at = &s->workers.first;
    while (*at != world)
        at = &(*at)->next;
    *at = world->next;
    free(world->ranks);
    free(world->name);
    free(world);
}

struct worker *workers_find(struct server *s, const char *world, uint32_t rank)
{
    struct world *w = find_world(s, world);
    return w && rank < w->size ? w->ranks[rank] : NULL;
}

struct worker *worker_add(struct server *s, const Islr__Register *facts, struct error *e)
{
    struct world *world = find_world(s, facts->world);
    if (!facts->size || facts->size > WORLD_SIZE_MAX || facts->rank >= facts->size) {
        error_set(e, ERR_INVALID, "rank %u of %u cannot be", facts->rank, facts->size);
        return NULL;
    }
    if (world && world->size != facts->size) {
        error_set(e, ERR_INVALID, "rank %u says that its world %s has %u ranks, others said %u", facts->rank,
                  facts->world, facts->size, world->size);
        return NULL;
    }
    if (!world)
        world = add_world(s, facts->world, facts->size);
    struct worker *w = xcalloc(1, sizeof *w);
    w->server = s;
    w->world = world;
    w->id = ++s->workers.last_id;
    w->rank = facts->rank;
    w->facts = copy_facts(facts);
    w->since_ms = server_now_ms();
    world->ranks[w->rank] = w;
    world->known++;
    return w;
}

int worker_is_another(const struct worker *w, const Islr__Register *facts, const char *user, struct error *e)
{
    if (strcmp(w->user, user))
        return error_set(e, ERR_DENIED, "rank %u of world %.8s is %s's, not %s's", w->rank, w->world->name, w->user,
                         user);
    if (w->facts->pid == facts->pid && !strcmp(w->facts->host, facts->host))
        return 0;
    return error_set(e, ERR_INVALID,
                     "rank %u of world %s is there already (host %s, pid %u): host %s, pid %u cannot be the same one",
                     w->rank, w->world->name, w->facts->host, w->facts->pid, facts->host, facts->pid);
}

struct run *worker_reports_on(const struct worker *w)
{
    struct run *r = w->run ? runs_find(&w->server->runs, w->run) : NULL;
    return r && r->gang_count && r->gang[0].worker == w ? r : NULL;
}

void worker_connected(struct worker *w, struct session *session)
{
    if (w->session && w->session != session) { // the old connection is half dead
        struct session *old = w->session;
        old->worker = NULL;
        peer_close(old->peer, NULL);
    }
    w->session = session;
    session->worker = w;
    text_fit(w->user, sizeof w->user, session->user);
    peer_set_keepalive(session->peer, 0, w->server->lease_ms); // it was told to ping three times as often
    watch_process(w, peer_identity(session->peer));
    remember(w);
    if (world_complete(w->world))
        schedule_soon(w->server);
}

static int can_work(const struct worker *w)
{
    return w->session && !w->dead && !w->leaving && uv_now(w->server->loop) >= w->shunned_until;
}

int world_complete(const struct world *w)
{
    if (w->known < w->size)
        return 0;
    for (uint32_t i = 0; i < w->size; i++)
        if (!can_work(w->ranks[i]))
            return 0;
    return 1;
}

static void note_incomplete(const struct server *s, struct world *world)
{
    if (!world->incomplete_since)
        world->incomplete_since = uv_now(s->loop);
}

void worker_shun(struct worker *w)
{
    w->shunned_until = uv_now(w->server->loop) + SHUN_MS;
    note_incomplete(w->server, w->world); // so that it is seen when that is over
}

void worker_set_idle(struct worker *w)
{
    w->run = 0;
    w->attempt = 0;
    w->step = 0;
    w->doing[0] = 0;
    w->health = (struct health){0};
}

static void free_worker(struct worker *w)
{
    stop_watching(w);
    if (w->session)
        w->session->worker = NULL;
    islr__register__free_unpacked(w->facts, NULL);
    free(w);
}

static void give_up(struct worker *w, const char *why)
{
    struct server *s = w->server;
    struct world *world = w->world;
    log_info(s->log, "rank %u (%s, pid %u) of world %s is gone: %s", w->rank, w->facts->host, w->facts->pid,
             world->name, why);
    remember_gone(w);
    attempt_rank_gone(s, w, why);
    schedule_soon(s);
    world->ranks[w->rank] = NULL;
    free_worker(w);
    if (--world->known == 0)
        drop_world(s, world);
}

// Whether the process has ended but the loop has not got to saying so.
static int has_ended(const struct worker *w)
{
    uv_os_fd_t fd;
    if (w->dead)
        return 1;
    if (!w->process || uv_fileno((const uv_handle_t *)w->process, &fd))
        return 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

void worker_away(struct worker *w, uint32_t silent_ms)
{
    struct server *s = w->server;
    w->session->worker = NULL;
    w->session = NULL;
    if (s->stopping)
        return;
    schedule_soon(s); // why runs wait has changed
    w->deadline = uv_now(s->loop) + (silent_ms < s->lease_ms ? s->lease_ms - silent_ms : 0);
    if (has_ended(w))
        give_up(w, "its process has ended");
}

void workers_tick(struct server *s)
{
    struct world *next;
    for (struct world *world = s->workers.first; world; world = next) {
        next = world->next;
        if (!world_complete(world)) {
            note_incomplete(s, world);
        } else if (world->incomplete_since) {
            world->incomplete_since = 0;
            schedule_soon(s);
        }
        uint32_t size = world->size;
        for (uint32_t i = 0; i < size; i++) {
            struct worker *w = world->ranks[i];
            if (!w || w->session || uv_now(s->loop) < w->deadline)
                continue;
            int last = world->known == 1;
            attempt_shun(s, w); // the others have to find that out
            give_up(w, "nothing was heard of it for too long");
            if (last)
                break; // the world went with it
        }
    }
}

void workers_wait_longer(struct server *s, uint64_t ms)
{
    for (struct world *world = s->workers.first; world; world = world->next) {
        for (uint32_t i = 0; i < world->size; i++) {
            struct worker *w = world->ranks[i];
            if (w && w->session)
                peer_forgive(w->session->peer, ms); // it may be lost any moment
            else if (w)
                w->deadline += ms;
        }
    }
}

void workers_close(struct server *s)
{
    while (s->workers.first) {
        struct world *world = s->workers.first;
        for (uint32_t i = 0; i < world->size; i++)
            if (world->ranks[i])
                free_worker(world->ranks[i]);
        drop_world(s, world);
    }
}
