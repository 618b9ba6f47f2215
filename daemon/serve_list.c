// ListRuns: one state of the database, piece by piece.
#include "daemon/serve_handlers.h"
#include "daemon/serve_pieces.h"

struct listing {
    struct pieces pieces;
    struct run_list *list;
    Islr__RunSummary **runs; // the piece
    size_t count;
};

static int list_read(struct pieces *p, struct store_reader *reader, struct error *e)
{
    struct listing *l = (struct listing *)p;
    if (l->list)
        run_list_resume(l->list, reader);
    else
        l->list = run_list_open(reader, p->job.request->list_runs, e);
    return l->list ? run_list_next(l->list, PIECE_ITEMS, PIECE_BYTES, &p->job.pool, &l->runs, &l->count, e) : -1;
}

static int list_send(struct pieces *p, int more)
{
    const struct listing *l = (const struct listing *)p;
    Islr__RunList list = ISLR__RUN_LIST__INIT;
    Islr__Envelope m = ENVELOPE(RUN_LIST, run_list, &list);
    for (size_t i = 0; i < l->count; i++)
        run_show_live(p->job.base.server, l->runs[i], &p->job.pool);
    list.runs = l->runs;
    list.n_runs = l->count;
    list.has_more = 1;
    list.more = more;
    return session_reply(p->job.base.session, p->job.id, &m);
}

static int list_park(struct pieces *p, struct error *e)
{
    return run_list_park(((struct listing *)p)->list, e);
}

static void list_close(struct pieces *p)
{
    struct listing *l = (struct listing *)p;
    run_list_close(l->list);
    l->list = NULL;
}

void handle_list_runs(struct session *session, Islr__Envelope *m)
{
    static const struct pieces_kind kind = {
        .read = list_read, .send = list_send, .park = list_park, .close = list_close};
    struct listing *l = pieces_new(session, sizeof *l, &kind);
    if (m->list_runs->parent)
        read_job_start_on(&l->pieces.job, &m->list_runs->parent, 1);
    else
        read_job_start_on_all(&l->pieces.job);
}
