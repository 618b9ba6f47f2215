// Reading off the loop: see serve_read.h.
#include "daemon/serve_read.h"

#include <stddef.h>
#include <stdlib.h>

#include "core/base/memory.h"

void *read_job_new_for_server(struct server *s, size_t size)
{
    struct read_job *job = xcalloc(1, size);
    job->server = s;
    job->work.data = job;
    return job;
}

void *read_job_new(struct session *session, struct peer *keep_from, size_t size)
{
    struct read_job *job = read_job_new_for_server(session->server, size);
    job->session = session_hold(session);
    if (keep_from) {
        job->request = peer_keep_message(keep_from);
        job->id = job->request->id;
    }
    return job;
}

static void give_back(struct read_job *job)
{
    store_reader_give(job->server->store, job->reader);
    job->reader = NULL;
}

static void work(uv_work_t *w)
{
    struct read_job *job = w->data;
    if (!job->reader)
        job->reader = store_reader_take(job->server->store, &job->error);
    job->again = 0;
    job->failed = !job->reader || job->read(job, job->reader, &job->error);
    if (!job->again)
        give_back(job);
}

static void after(uv_work_t *w, int status)
{
    (void)status; // only a cancel would set it, and nothing here cancels
    struct read_job *job = w->data;
    struct server *s = job->server;
    if (job->failed && job->session)
        session_reply_fault(job->session, job->id, &job->error);
    job->done(job);
    pool_free(&job->pool);
    if (job->again) {
        uv_queue_work(s->loop, &job->work, work, after);
        return;
    }
    if (job->reader)
        give_back(job);
    envelope_free(job->request);
    if (job->session)
        session_drop(job->session);
    free(job);
    server_settled(s);
}

static void start(struct server *s, struct expand_waiter *w)
{
    struct read_job *job = (struct read_job *)((char *)w - offsetof(struct read_job, waiting));
    s->pending++;
    uv_queue_work(s->loop, &job->work, work, after);
}

void read_job_start(struct read_job *job)
{
    expand_wait(job->server, &job->waiting, start);
}
