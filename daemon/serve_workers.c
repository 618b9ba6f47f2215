// ListWorkers: the ranks that are there, from memory. One that comes while the list is on its way may be missing in it.
#include "core/store/text.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_pieces.h"

struct listing {
    struct pieces pieces;
    uint32_t world, rank;       // to go on from: worlds come newest first
    Islr__WorkerInfo **workers; // the piece
    size_t count, bytes;
    char **notes; // with the last one
    size_t note_count;
};

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

// 1: there is no more room.
static int add_world(struct listing *l, const struct world *world)
{
    struct pool *pool = &l->pieces.job.pool;
    for (uint32_t i = world->number == l->world ? l->rank : 0; i < world->size; i++) {
        if (!world->ranks[i])
            continue;
        if (l->count == PIECE_ITEMS || l->bytes >= PIECE_BYTES) {
            l->world = world->number;
            l->rank = i;
            return 1;
        }
        l->workers = pool_room(pool, l->workers, l->count, sizeof *l->workers);
        l->workers[l->count] = describe(world->ranks[i], pool);
        l->bytes += islr__worker_info__get_packed_size(l->workers[l->count++]);
    }
    return 0;
}

static int list_gather(struct pieces *p)
{
    struct listing *l = (struct listing *)p;
    const struct server *s = p->job.base.server;
    l->count = l->bytes = 0;
    for (const struct world *world = s->workers.first; world; world = world->next)
        if (world->number <= l->world && add_world(l, world))
            return 1;
    l->notes = health_notes(s, &p->job.pool, &l->note_count);
    return 0;
}

static int list_send(struct pieces *p, int more)
{
    const struct listing *l = (const struct listing *)p;
    Islr__WorkerList list = ISLR__WORKER_LIST__INIT;
    Islr__Envelope m = ENVELOPE(WORKER_LIST, worker_list, &list);
    list.workers = l->workers;
    list.n_workers = l->count;
    list.has_more = 1;
    list.more = more;
    list.notes = l->notes;
    list.n_notes = l->note_count;
    return session_reply(p->job.base.session, p->job.id, &m);
}

void handle_list_workers(struct session *session, Islr__Envelope *m)
{
    static const struct pieces_kind kind = {.gather = list_gather, .send = list_send};
    struct listing *l = pieces_new(session, sizeof *l, &kind);
    (void)m;
    l->world = UINT32_MAX;
    read_job_start(&l->pieces.job);
}
