// What a worker may read: see serve_permit.h.
#include "daemon/serve_permit.h"

#include <string.h>

#include "core/rpc/artifact_name.h"
#include "core/rpc/reference.h"
#include "core/spec/spec.h"
#include "core/store/checkpoint.h"
#include "core/store/run_read.h"

int permit_reader(const struct session *session, const Islr__ReadAs *as, struct error *e)
{
    if (as || session->role != ROLE_WORKER)
        return 0;
    return error_set(e, ERR_DENIED, "%s (worker) reads as a rank that works on a run, and says as which",
                     session->user);
}

static int check_rank(struct store_reader *reader, const Islr__ReadAs *as, struct error *e)
{
    const struct reporter who = {as->world ? as->world : "", as->rank};
    return reporter_works_on(reader, &who, as->run, as->attempt, e);
}

// Can RUN:WHAT mean this artifact? Not only the one that it means now: which is the best changes while others of its pieces
// are on their way.
static int means(struct store_reader *reader, const struct reference *r, const struct hash *artifact, struct pool *pool,
                 struct error *e)
{
    Islr__CheckpointInfo **found;
    size_t count;
    if (checkpoint_list_of(reader, artifact, r->run, pool, &found, &count, e))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (artifact_may_mean(r->what, found[i]->what, found[i]->epoch))
            return 1;
    return 0;
}

// The job and whether it joins folds. What the database holds of the job may be damaged: then it names nothing.
static int read_run(struct store_reader *reader, uint64_t run, struct pool *pool, Islr__JobSpec **job, int *joins,
                    struct error *e)
{
    struct run_live *live;
    if (run_read_live(reader, run, pool, &live, e))
        return -1;
    *joins = live->now.joining;
    *job = live->job ? spec_copy(live->job) : NULL;
    if (*job)
        spec_complete(*job);
    return 0;
}

static int job_names(struct store_reader *reader, Islr__JobSpec *job, const struct hash *artifact, struct pool *pool,
                     struct error *e)
{
    char **field;
    int found = 0;
    for (size_t i = 0; job && !found && (field = reference_field(job, i, NULL)); i++) {
        struct reference r;
        if (reference_parse(*field, &r, NULL))
            continue;
        if (r.kind == REFERENCE_HASH)
            found = hash_equal(&r.sha256, artifact);
        else if (r.kind == REFERENCE_RUN)
            found = means(reader, &r, artifact, pool, e);
    }
    return found;
}

int permit_artifact(struct store_reader *reader, const Islr__ReadAs *as, const struct hash *artifact, struct pool *pool,
                    struct error *e)
{
    Islr__JobSpec *job = NULL;
    int joins = 0;
    if (!as)
        return 0;
    if (check_rank(reader, as, e))
        return -1;
    int found = checkpoint_is_of(reader, artifact, as->run, 0, e);
    if (!found && read_run(reader, as->run, pool, &job, &joins, e))
        found = -1;
    if (!found && joins)
        found = checkpoint_is_of(reader, artifact, as->run, 1, e);
    if (!found)
        found = job_names(reader, job, artifact, pool, e);
    spec_free(job);
    if (found)
        return found < 0 ? -1 : 0;
    char hex[65];
    hash_to_hex(artifact, hex);
    return error_set(e, ERR_DENIED,
                     "the artifact %s is none that run %llu has made or its job names: a worker reads nothing else",
                     hex, (unsigned long long)as->run);
}

static int job_names_run(Islr__JobSpec *job, uint64_t run)
{
    char **field;
    for (size_t i = 0; job && (field = reference_field(job, i, NULL)); i++) {
        struct reference r;
        if (!reference_parse(*field, &r, NULL) && r.kind == REFERENCE_RUN && r.run == run)
            return 1;
    }
    return 0;
}

int permit_checkpoints(struct store_reader *reader, const Islr__ReadAs *as, uint64_t run, struct pool *pool,
                       struct error *e)
{
    Islr__JobSpec *job;
    struct run_now now;
    int joins;
    if (!as)
        return 0;
    if (check_rank(reader, as, e))
        return -1;
    if (run == as->run)
        return 0;
    if (read_run(reader, as->run, pool, &job, &joins, e))
        return -1;
    int found = job_names_run(job, run);
    spec_free(job);
    if (found || (joins && !run_read_now(reader, run, &now, e) && now.parent == as->run))
        return 0;
    return error_set(e, ERR_DENIED, "run %llu is none that run %llu needs: a worker reads nothing else",
                     (unsigned long long)run, (unsigned long long)as->run);
}
