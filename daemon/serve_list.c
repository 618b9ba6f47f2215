// ListRuns: read in the pool, a piece at a time, each sent while the next one is read and the client takes the one before
// apart.
#include <string.h>

#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum { PIECE = 256, MESSAGE_BYTES = 512 << 10 };

struct listing {
    struct read_job job;
    struct run_list *list;
    Islr__RunSummary **runs; // the piece
    size_t count;
};

static int list_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct listing *l = (struct listing *)job;
    if (!l->list)
        l->list = run_list_open(reader, job->request->list_runs, e);
    int more = l->list ? run_list_next(l->list, PIECE, &job->pool, &l->runs, &l->count, e) : -1;
    job->again = more > 0;
    if (!job->again) {
        run_list_close(l->list);
        l->list = NULL;
    }
    return more < 0 ? -1 : 0;
}

static void send_part(struct listing *l, size_t from, size_t to)
{
    Islr__RunList list = ISLR__RUN_LIST__INIT;
    Islr__Envelope m = ENVELOPE(RUN_LIST, run_list, &list);
    list.runs = l->runs + from;
    list.n_runs = to - from;
    list.has_more = 1;
    list.more = to < l->count || l->job.again;
    session_reply(l->job.base.session, l->job.id, &m);
}

static void list_done(struct read_job *job)
{
    struct listing *l = (struct listing *)job;
    size_t from = 0, bytes = 0;
    if (job->again && !job->base.session->peer) { // nobody is there any more
        job->again = 0;
        run_list_close(l->list);
    }
    if (job->failed)
        return;
    for (size_t i = 0; i < l->count; i++) {
        run_show_live(job->base.server, l->runs[i], &job->pool);
        size_t size = islr__run_summary__get_packed_size(l->runs[i]) + 8;
        if (bytes && bytes + size > MESSAGE_BYTES) {
            send_part(l, from, i);
            from = i;
            bytes = 0;
        }
        bytes += size;
    }
    send_part(l, from, l->count);
}

void handle_list_runs(struct session *session, Islr__Envelope *m)
{
    (void)m;
    struct listing *l = read_job_new(session, sizeof *l);
    l->job.read = list_read;
    l->job.done = list_done;
    read_job_start(&l->job);
}
