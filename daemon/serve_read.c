// Reading off the loop: see serve_read.h.
#include "daemon/serve_read.h"

#include <stddef.h>
#include <stdlib.h>

#include "core/base/memory.h"

void *read_job_new_for_server(struct server *s, size_t size)
{
    struct read_job *job = xcalloc(1, size);
    job->base.server = s;
    return job;
}

void *read_job_new_for(struct session *session, size_t size)
{
    struct read_job *job = read_job_new_for_server(session->server, size);
    job->base.session = session_hold(session);
    return job;
}

void *read_job_new(struct session *session, size_t size)
{
    struct read_job *job = read_job_new_for(session, size);
    job->request = session_keep_message(session);
    job->id = job->request->id;
    return job;
}

void read_job_give_back(struct read_job *job)
{
    store_reader_give(job->base.server->store, job->reader);
    job->reader = NULL;
}

static void run(struct server_job *j)
{
    struct read_job *job = (struct read_job *)j;
    job->again = 0;
    job->failed = 1;
    if (j->abandoned)
        return; // `done` sees to what is open
    if (job->read && !job->reader)
        job->reader = store_reader_take(j->server->store, &job->error);
    job->failed = job->read && (!job->reader || job->read(job, job->reader, &job->error));
    if (!job->again)
        read_job_give_back(job);
}

static int done(struct server_job *j)
{
    struct read_job *job = (struct read_job *)j;
    struct session *session = j->session;
    if (job->failed && job->request && job->error.code == ERR_DENIED)
        session_note_refused(session, job->request, &job->error);
    if (job->failed && job->request)
        session_reply_fault(session, job->id, &job->error);
    job->done(job);
    pool_free(&job->pool);
    if (job->again) {
        if (!job->paused)
            server_job_continue(j);
        return 1;
    }
    if (job->reader)
        read_job_give_back(job);
    if (session) {
        session_free_message(session, job->request);
        session_drop(session);
    }
    free(job);
    return 0;
}

void read_job_continue(struct read_job *job)
{
    job->paused = 0;
    server_job_continue(&job->base);
}

void read_job_start(struct read_job *job)
{
    job->base.run = run;
    job->base.done = done;
    server_job_start(&job->base);
}

static void start(struct server *s, struct expand_waiter *w)
{
    (void)s;
    read_job_start((struct read_job *)((char *)w - offsetof(struct read_job, waiting)));
}

void read_job_start_on(struct read_job *job, const uint64_t *runs, size_t count)
{
    expand_wait(job->base.server, &job->waiting, runs, count, start);
}

void read_job_start_on_all(struct read_job *job)
{
    expand_wait_briefly(job->base.server, &job->waiting, start);
}
