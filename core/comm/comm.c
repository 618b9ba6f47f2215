// Collectives: the public calls (comm.h), what they have in common, and those made of others.
#include "core/comm/comm.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/comm/comm_impl.h"

int comm_timeout_default(double *seconds, struct error *e)
{
    const char *text = getenv("ISLR_COMM_TIMEOUT");
    *seconds = COMM_TIMEOUT_SECONDS;
    if (!text || !*text)
        return 0;
    char *end;
    *seconds = strtod(text, &end);
    if (*end || !isfinite(*seconds) || *seconds <= 0)
        return error_set(e, ERR_INVALID, "ISLR_COMM_TIMEOUT is '%s': it must be a number of seconds above 0", text);
    return 0;
}

// A whole number above 0 in the environment, or 0.
static int environment_count(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long value = text ? strtol(text, &end, 10) : 0;
    return text && end != text && !*end && value > 0 && value < 1 << 30 ? (int)value : 0;
}

struct comm *comm_open_world(struct error *e)
{
    // Open MPI's mpirun; MPICH's mpiexec and srun --mpi=pmi2; srun --mpi=pmix (which does not say how many).
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (environment_count(counts[i]))
            return comm_mpi_open_world(environment_count(counts[i]), e);
    if (getenv("PMIX_RANK") || getenv("PMI_RANK"))
        return comm_mpi_open_world(environment_count("SLURM_STEP_NUM_TASKS"), e);
    int tasks = environment_count("SLURM_STEP_NUM_TASKS");
    if (tasks > 1) {
        error_set(e, ERR_INVALID,
                  "srun started %d tasks but gives them no way to find each other: use srun --mpi=pmix, or mpirun",
                  tasks);
        return NULL;
    }
    double timeout;
    if (comm_timeout_default(&timeout, e))
        return NULL;
    struct comm *c = comm_open_single();
    c->timeout_seconds = timeout;
    return c;
}

struct comm *comm_create_group(struct comm *world, const int *ranks, int count, int tag, struct error *e)
{
    assert(tag >= 0 && tag <= 32767);
    int mine = 0;
    for (int i = 0; i < count; i++) {
        if (ranks[i] < 0 || ranks[i] >= world->size) {
            error_set(e, ERR_INVALID, "a group names rank %d of a world of %d", ranks[i], world->size);
            return NULL;
        }
        for (int j = 0; j < i; j++)
            if (ranks[j] == ranks[i]) {
                error_set(e, ERR_INVALID, "a group names rank %d twice", ranks[i]);
                return NULL;
            }
        mine |= ranks[i] == world->rank;
    }
    if (!mine) {
        error_set(e, ERR_INVALID, "rank %d was asked to build a group that it is not in", world->rank);
        return NULL;
    }
    return world->ops->create_group(world, ranks, count, tag, e);
}

void comm_close(struct comm *c)
{
    if (c)
        c->ops->close(c);
}

void comm_abort(struct comm *c, int exit_code)
{
    c->ops->abort(c, exit_code);
}

void comm_set_timeout(struct comm *c, double seconds)
{
    assert(seconds > 0);
    c->timeout_seconds = seconds;
}

double comm_timeout(const struct comm *c)
{
    return c->timeout_seconds;
}

struct pulse *comm_pulse(const struct comm *c)
{
    return c->pulse;
}

void comm_set_pulse(struct comm *c, struct pulse *p)
{
    c->pulse = p;
}

void comm_host_name(const char *found, char *name, size_t size)
{
    const char *given = getenv("ISLR_HOST");
    snprintf(name, size, "%s", given && *given ? given : found);
}

int comm_rank(const struct comm *c)
{
    return c->rank;
}

int comm_size(const struct comm *c)
{
    return c->size;
}

const char *comm_host(const struct comm *c, int rank)
{
    assert(rank >= 0 && rank < c->size);
    return c->hosts[rank];
}

int comm_barrier(struct comm *c, struct error *e)
{
    return c->ops->barrier(c, e);
}

int comm_broadcast(struct comm *c, void *data, size_t size, int root, struct error *e)
{
    assert(root >= 0 && root < c->size);
    return size ? c->ops->broadcast(c, data, size, root, e) : 0;
}

int comm_sum_f32(struct comm *c, float *data, size_t count, struct error *e)
{
    comm_reduce_begin(c, data, count);
    return c->ops->wait(c, e);
}

int comm_sum_f64(struct comm *c, double *data, size_t count, struct error *e)
{
    c->ops->begin(c, &(struct comm_task){COMM_SUM, COMM_F64, (char *)data, count, 0});
    return c->ops->wait(c, e);
}

int comm_all_gather(struct comm *c, const void *mine, size_t size, void *all, struct error *e)
{
    return size ? c->ops->all_gather(c, mine, size, all, e) : 0;
}

int comm_max_i64(struct comm *c, int64_t *value, struct error *e)
{
    int64_t *all = xcalloc((size_t)c->size, sizeof *all);
    int rc = comm_all_gather(c, value, sizeof *value, all, e);
    for (int r = 0; rc == 0 && r < c->size; r++)
        if (all[r] > *value)
            *value = all[r];
    free(all);
    return rc;
}

int comm_gather_variable(struct comm *c, const void *mine, size_t size, int root, void **all, size_t *total,
                         size_t *sizes, struct error *e)
{
    assert(root >= 0 && root < c->size);
    size_t *every = xmalloc((size_t)c->size * sizeof *every), sum = 0;
    *all = NULL;
    *total = 0;
    int rc = comm_all_gather(c, &size, sizeof size, every, e);
    if (rc)
        goto out;
    for (int r = 0; r < c->size; r++)
        sum += every[r];
    if (c->rank == root)
        *all = xmalloc(sum ? sum : 1);
    rc = c->ops->gather_variable(c, mine, every, root, *all, e);
    if (rc == 0 && c->rank == root)
        *total = sum;
    if (rc == 0 && sizes)
        memcpy(sizes, every, (size_t)c->size * sizeof *sizes);
    if (rc) {
        free(*all);
        *all = NULL;
    }
out:
    free(every);
    return rc;
}

int comm_agree(struct comm *c, int failed, struct error *e)
{
    if (c->size == 1)
        return failed ? -1 : 0;
    int64_t first = failed ? c->size - c->rank : 0; // the larger, the lower the rank
    struct error trouble;
    if (comm_max_i64(c, &first, &trouble))
        goto broken;
    if (first == 0)
        return 0;
    int rank = c->size - (int)first;
    struct error agreed = *e;
    if (comm_broadcast(c, &agreed, sizeof agreed, rank, &trouble))
        goto broken;
    *e = agreed;
    char name[320];
    int length = snprintf(name, sizeof name, "rank %d on %s", rank, comm_host(c, rank));
    if (!strncmp(e->text, name, (size_t)length) && e->text[length] == ':')
        return -1; // they have agreed on it before
    return error_prefix(e, "%s", name);
broken:
    if (!failed) // a rank that failed by itself says that rather than what came of it
        *e = trouble;
    return -1;
}

void comm_reduce_begin(struct comm *c, float *data, size_t count)
{
    c->ops->begin(c, &(struct comm_task){COMM_SUM, COMM_F32, (char *)data, count, 0});
}

void comm_reduce_scatter_begin(struct comm *c, float *data, size_t count)
{
    c->ops->begin(c, &(struct comm_task){COMM_REDUCE_SCATTER, COMM_F32, (char *)data, count, COMM_PART_UNIT});
}

void comm_all_gather_begin(struct comm *c, const struct comm_part *p)
{
    c->ops->begin(c, &(struct comm_task){COMM_ALL_GATHER, COMM_BYTE, p->data, p->size, p->unit});
}

size_t comm_part_start(size_t size, size_t unit, int ranks, int rank)
{
    size_t units = (size + unit - 1) / unit, each = (units + (size_t)ranks - 1) / (size_t)ranks;
    size_t start = each * (size_t)rank * unit;
    return start < size ? start : size;
}

void comm_progress(struct comm *c)
{
    c->ops->progress(c);
}

int comm_reduce_wait(struct comm *c, struct error *e)
{
    return c->ops->wait(c, e);
}
