// ListWorkers: the ranks that are there, from memory.
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/store/pool.h"
#include "core/store/text.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum { MESSAGE_WORKERS = 1000 };

static Islr__WorkerInfo *describe(const struct worker *w, struct pool *pool)
{
    Islr__WorkerInfo *i = pool_alloc(pool, sizeof *i);
    islr__worker_info__init(i);
    i->has_worker = i->has_rank = i->has_size = i->has_pid = i->has_threads = i->has_since_ms = 1;
    i->has_run = i->has_step = i->has_last_contact_ms = 1;
    i->worker = w->id;
    char world[9];
    text_fit(world, sizeof world, w->world->name); // the whole name is what its ranks prove themselves by
    i->world = pool_text(pool, world);
    i->rank = w->rank;
    i->size = w->world->size;
    i->host = w->facts->host;
    i->pid = w->facts->pid;
    i->device = w->facts->device;
    i->device_name = w->facts->device_name;
    i->threads = w->facts->threads;
    i->since_ms = w->since_ms;
    i->run = w->run;
    i->doing = w->session ? (char *)w->doing : "away";
    i->step = w->step;
    char health[HEALTH_TEXT];
    i->health = pool_text(pool, health_text(w, health));
    i->has_quiet_ms = w->run && w->health.told;
    i->quiet_ms = i->has_quiet_ms ? health_quiet_ms(w) : 0;
    uint64_t silent =
        w->session ? peer_silent_ms(w->session->peer) : uv_now(w->server->loop) + w->server->lease_ms - w->deadline;
    i->last_contact_ms = server_now_ms() - (int64_t)silent;
    return i;
}

void handle_list_workers(struct session *session, Islr__Envelope *m)
{
    struct server *s = session->server;
    struct pool pool = {0};
    Islr__WorkerList list = ISLR__WORKER_LIST__INIT;
    Islr__Envelope reply = ENVELOPE(WORKER_LIST, worker_list, &list);
    Islr__WorkerInfo *infos[MESSAGE_WORKERS];
    list.workers = infos;
    list.has_more = 1;
    for (const struct world *world = s->workers.first; world; world = world->next) {
        for (uint32_t i = 0; i < world->size; i++) {
            if (!world->ranks[i])
                continue;
            if (list.n_workers == MESSAGE_WORKERS) {
                list.more = 1;
                session_reply(session, m->id, &reply);
                list.n_workers = 0;
            }
            infos[list.n_workers++] = describe(world->ranks[i], &pool);
        }
    }
    list.more = 0;
    list.notes = health_notes(s, &pool, &list.n_notes);
    session_reply(session, m->id, &reply);
    pool_free(&pool);
}
