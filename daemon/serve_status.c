// GetStatus: the server as a whole.
#include <stdio.h>
#include <unistd.h>

#include "core/store/artifact_row.h"
#include "core/store/library.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

struct counting {
    struct read_job job;
    struct run_counts counts;
    uint64_t artifact_bytes;
};

static int count_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct counting *c = (struct counting *)job;
    return run_read_counts(reader, &c->counts, e) || artifact_total(reader, &c->artifact_bytes, e) ? -1 : 0;
}

static void count_workers(const struct server *s, Islr__Status *status)
{
    for (const struct world *world = s->workers.first; world; world = world->next) {
        for (uint32_t i = 0; i < world->size; i++) {
            status->workers += world->ranks[i] != NULL;
            status->idle_workers += world->ranks[i] && world->ranks[i]->session && !world->ranks[i]->run;
        }
    }
}

// 0: it cannot be found out.
static uint64_t resident_bytes(void)
{
    unsigned long long total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void count_memory(const struct server *s, Islr__Status *status)
{
    status->has_connections = status->has_memory_bytes = status->has_database_bytes = 1;
    status->connections = listener_peers(s->listener) + (s->network ? listener_peers(s->network) : 0);
    status->memory_bytes = resident_bytes();
    status->database_bytes = store_sqlite_memory();
}

static void count_done(struct read_job *job)
{
    struct counting *c = (struct counting *)job;
    struct server *s = job->base.server;
    const uint64_t *of = c->counts.of;
    Islr__Status status = ISLR__STATUS__INIT;
    Islr__Envelope m = ENVELOPE(STATUS, status, &status);
    struct error trouble;
    if (job->failed)
        return;
    status.has_started_ms = status.has_queued = status.has_running = status.has_ended = status.has_workers = 1;
    status.has_idle_workers = status.has_draining = status.has_artifact_bytes = 1;
    status.version = ISLR_VERSION;
    status.server_id = s->id;
    status.started_ms = s->started_ms;
    status.queued = of[ISLR__RUN_STATE__RUN_QUEUED] + of[ISLR__RUN_STATE__RUN_HELD];
    status.running =
        of[ISLR__RUN_STATE__RUN_STARTING] + of[ISLR__RUN_STATE__RUN_RUNNING] + of[ISLR__RUN_STATE__RUN_STOPPING];
    status.ended =
        of[ISLR__RUN_STATE__RUN_SUCCEEDED] + of[ISLR__RUN_STATE__RUN_FAILED] + of[ISLR__RUN_STATE__RUN_CANCELLED];
    count_workers(s, &status);
    count_memory(s, &status);
    status.has_refused_reports = 1;
    status.refused_reports = s->refused_reports;
    status.notes = health_notes(s, &job->pool, &status.n_notes);
    status.draining = schedule_draining(&s->schedule);
    status.directory = s->directory;
    status.artifact_bytes = c->artifact_bytes;
    if (store_trouble(s->store, &trouble))
        status.trouble = trouble.text;
    session_reply(job->base.session, job->id, &m);
}

void handle_get_status(struct session *session, Islr__Envelope *m)
{
    (void)m;
    struct counting *c = read_job_new(session, sizeof *c);
    c->job.read = count_read;
    c->job.done = count_done;
    read_job_start(&c->job);
}
