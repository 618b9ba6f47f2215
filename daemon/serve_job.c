// Work off the loop: see serve_job.h.
#include "daemon/serve_job.h"

#include "daemon/serve_server.h"

enum { AT_ONCE = 2 }; // of one session

static void run(uv_work_t *w)
{
    struct server_job *job = (struct server_job *)w;
    job->run(job);
}

static void start_next(struct server_jobs *of)
{
    struct server_job *job = of->first;
    if (!job || of->count >= AT_ONCE)
        return;
    of->first = job->next;
    of->count++;
    server_job_continue(job);
}

static void after(uv_work_t *w, int status)
{
    (void)status; // only a cancel would set it, and nothing here cancels
    struct server_job *job = (struct server_job *)w;
    struct server *s = job->server;
    struct session *session = job->session ? session_hold(job->session) : NULL;
    int over = !job->done(job);
    if (over && session) {
        session->jobs.count--;
        start_next(&session->jobs);
    }
    if (session)
        session_drop(session);
    if (over)
        server_settled(s);
}

void server_job_continue(struct server_job *job)
{
    job->abandoned = job->session && !job->session->peer;
    uv_queue_work(job->server->loop, &job->work, run, after);
}

void server_job_start(struct server_job *job)
{
    job->server->pending++;
    if (!job->session) {
        server_job_continue(job);
        return;
    }
    struct server_jobs *of = &job->session->jobs;
    job->next = NULL;
    if (of->first)
        of->last->next = job;
    else
        of->first = job;
    of->last = job;
    start_next(of);
}
