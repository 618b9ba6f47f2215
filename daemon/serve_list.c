// ListRuns: read in the pool; answered in as many messages as it takes.
#include <string.h>

#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

enum { MESSAGE_BYTES = 512 << 10 };

struct listing {
    struct read_job job;
    Islr__RunSummary **runs;
    size_t count;
};

static int list_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct listing *l = (struct listing *)job;
    return run_read_list_packed(reader, job->request->list_runs, &job->pool, &l->runs, &l->count, e);
}

static void send_part(struct listing *l, size_t from, size_t to)
{
    Islr__RunList list = ISLR__RUN_LIST__INIT;
    Islr__Envelope m = ENVELOPE(RUN_LIST, run_list, &list);
    list.runs = l->runs + from;
    list.n_runs = to - from;
    list.has_more = 1;
    list.more = to < l->count;
    session_reply(l->job.session, l->job.id, &m);
}

static void list_done(struct read_job *job)
{
    struct listing *l = (struct listing *)job;
    size_t from = 0, bytes = 0;
    if (job->failed)
        return;
    for (size_t i = 0; i < l->count; i++) {
        run_show_live(job->server, l->runs[i], &job->pool);
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
    struct listing *l = read_job_new(session, session->peer, sizeof *l);
    l->job.read = list_read;
    l->job.done = list_done;
    read_job_start(&l->job);
}
