// Sums over the ranks of what lies in device memory: see reduce.h.
#include "core/train/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

size_t reduce_bucket(int ranks)
{
    size_t units = COMM_DEVICE_PIECE / COMM_PART_UNIT, each = units / (size_t)ranks;
    return (each ? each * (size_t)ranks : units) * COMM_PART_UNIT;
}

// Where the host reaches it, or NULL.
static void *reach(const struct reducer *r, void *device)
{
    return r->backend->op->host_address(r->backend, device);
}

int reducer_create(struct reducer *r, struct comm *comm, struct backend *backend, struct stream *stream,
                   struct error *e)
{
    *r = (struct reducer){.comm = comm, .backend = backend, .stream = stream};
    if (comm_size(comm) == 1)
        return 0;
    float *probe = backend->op->allocate(backend, sizeof *probe, e);
    int failed = !probe, reached = probe && reach(r, probe);
    if (probe)
        backend->op->release(backend, probe);
    if (comm_agree(comm, failed, e))
        return -1;
    if (reached)
        return 0;
    if (comm_device_open(comm, backend, &r->device, r->note, e))
        return -1;
    if (!r->device)
        r->side = backend->op->stream_create(backend, e);
    return comm_agree(comm, !r->device && !r->side, e);
}

static void free_pieces(struct reducer *r)
{
    for (int i = 0; i < r->count; i++)
        free(r->piece[i].host);
    r->count = r->begun = 0;
}

void reducer_destroy(struct reducer *r)
{
    comm_device_close(r->device);
    free_pieces(r);
    free(r->piece);
    if (r->side)
        r->side->op->stream_destroy(r->side);
    memset(r, 0, sizeof *r);
}

static void keep_failure(struct reducer *r, const struct error *e)
{
    if (r->failed.code == ERR_NONE)
        r->failed = *e;
}

// ---- through host memory ------------------------------------------------------------------------------------------

// Downloads the piece that waits and begins its sum. What was queued behind it meanwhile keeps the device busy.
static void begin_waiting(struct reducer *r)
{
    struct error e;
    if (r->begun == r->count || r->failed.code != ERR_NONE)
        return;
    struct reduce_piece *p = &r->piece[r->begun++];
    p->host = xmalloc(p->count * sizeof *p->host);
    r->side->op->download(r->side, p->host, p->device, p->count * sizeof *p->host);
    if (r->side->op->synchronize(r->side, &e))
        keep_failure(r, &e);
    else if (p->parts)
        comm_reduce_scatter_begin(r->comm, p->host, p->count);
    else
        comm_reduce_begin(r->comm, p->host, p->count);
}

static void add_piece(struct reducer *r, float *device, size_t count, int parts)
{
    begin_waiting(r);
    r->stream->op->order(r->stream, r->side);
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 16;
        r->piece = xrealloc(r->piece, (size_t)r->capacity, sizeof *r->piece);
    }
    r->piece[r->count++] = (struct reduce_piece){device, NULL, count, parts};
}

static void upload_pieces(struct reducer *r)
{
    int ranks = comm_size(r->comm), rank = comm_rank(r->comm);
    for (int i = 0; i < r->count; i++) {
        const struct reduce_piece *p = &r->piece[i];
        size_t from = p->parts ? comm_part_start(p->count, COMM_PART_UNIT, ranks, rank) : 0;
        size_t to = p->parts ? comm_part_start(p->count, COMM_PART_UNIT, ranks, rank + 1) : p->count;
        r->stream->op->upload(r->stream, p->device + from, p->host + from, (to - from) * sizeof *p->host);
    }
}

// ---- gradients ----------------------------------------------------------------------------------------------------

static void begin_sum(struct reducer *r, float *data, size_t count, int parts)
{
    if (comm_size(r->comm) == 1)
        return;
    if (r->device && parts)
        comm_device_reduce_scatter(r->device, r->stream, data, count);
    else if (r->device)
        comm_device_sum(r->device, r->stream, data, count, 1);
    else if (r->side)
        add_piece(r, data, count, parts);
    else if (parts)
        comm_reduce_scatter_begin(r->comm, reach(r, data), count);
    else
        comm_reduce_begin(r->comm, reach(r, data), count);
}

static void gradients_final(void *context, size_t offset)
{
    struct reduce_pass *p = context;
    pulse_beat(comm_pulse(p->reducer->comm));
    comm_progress(p->reducer->comm);
    size_t bucket = reduce_bucket(comm_size(p->reducer->comm));
    while (p->end > offset && (p->end - 1) / bucket * bucket >= offset) {
        size_t start = (p->end - 1) / bucket * bucket;
        begin_sum(p->reducer, p->gradient + start, p->end - start, p->parts);
        p->end = start;
    }
}

struct gradient_watch reduce_pass_begin(struct reduce_pass *p, struct reducer *r, float *gradient, size_t count,
                                        int parts)
{
    *p = (struct reduce_pass){r, gradient, count, parts};
    return (struct gradient_watch){gradients_final, p};
}

int reducer_finish(struct reducer *r, struct error *e)
{
    if (r->device) {
        comm_device_join(r->device, r->stream);
        if (comm_device_failed(r->device, e))
            return -1;
    }
    if (r->side)
        begin_waiting(r);
    int rc = comm_reduce_wait(r->comm, e);
    if (r->failed.code != ERR_NONE) {
        *e = r->failed;
        rc = -1;
    }
    if (!rc)
        upload_pieces(r);
    free_pieces(r);
    return rc;
}

// ---- means --------------------------------------------------------------------------------------------------------

static int average_on_host(const struct reducer *r, float *host, size_t count, struct error *e)
{
    if (comm_sum_f32(r->comm, host, count, e))
        return -1;
    for (size_t i = 0; i < count; i++)
        host[i] /= (float)comm_size(r->comm);
    return 0;
}

int reducer_average(struct reducer *r, float *data, size_t count, struct error *e)
{
    if (comm_size(r->comm) == 1)
        return 0;
    if (r->device) {
        comm_device_sum(r->device, r->stream, data, count, (float)comm_size(r->comm));
        comm_device_join(r->device, r->stream);
        return 0;
    }
    float *reached = reach(r, data);
    if (reached)
        return average_on_host(r, reached, count, e);
    float *copy = xmalloc(count * sizeof *copy);
    r->stream->op->download(r->stream, copy, data, count * sizeof *copy);
    int rc = r->stream->op->synchronize(r->stream, e) || average_on_host(r, copy, count, e);
    if (!rc)
        r->stream->op->upload(r->stream, data, copy, count * sizeof *copy);
    free(copy);
    return rc ? -1 : 0;
}

int reducer_queues(const struct reducer *r)
{
    return comm_size(r->comm) == 1 || r->device;
}

uint64_t reducer_sums(const struct reducer *r)
{
    return r->device ? comm_device_begun(r->device) : 0;
}

void reducer_replay(struct reducer *r, uint64_t sums)
{
    if (r->device)
        comm_device_replay(r->device, sums);
}

// ---- gathering ----------------------------------------------------------------------------------------------------

static int gather_through_host(struct reducer *r, const struct comm_part *parts, int count, struct error *e)
{
    int ranks = comm_size(r->comm), rank = comm_rank(r->comm);
    struct stream *s = r->stream;
    char **host = xcalloc((size_t)count, sizeof *host);
    for (int i = 0; i < count; i++) {
        size_t from = comm_part_start(parts[i].size, parts[i].unit, ranks, rank);
        size_t to = comm_part_start(parts[i].size, parts[i].unit, ranks, rank + 1);
        host[i] = xmalloc(parts[i].size);
        s->op->download(s, host[i] + from, (const char *)parts[i].data + from, to - from);
    }
    int rc = s->op->synchronize(s, e);
    for (int i = 0; i < count && !rc; i++)
        comm_all_gather_begin(r->comm, &(struct comm_part){host[i], parts[i].size, parts[i].unit});
    rc = rc || comm_reduce_wait(r->comm, e);
    for (int i = 0; i < count && !rc; i++)
        s->op->upload(s, parts[i].data, host[i], parts[i].size);
    for (int i = 0; i < count; i++)
        free(host[i]);
    free(host);
    return rc ? -1 : 0;
}

int reducer_all_gather(struct reducer *r, const struct comm_part *parts, int count, struct error *e)
{
    if (comm_size(r->comm) == 1)
        return 0;
    if (r->device) {
        comm_device_all_gather(r->device, r->stream, parts, count);
        comm_device_join(r->device, r->stream);
        return 0;
    }
    if (r->side)
        return gather_through_host(r, parts, count, e);
    for (int i = 0; i < count; i++)
        comm_all_gather_begin(r->comm, &(struct comm_part){reach(r, parts[i].data), parts[i].size, parts[i].unit});
    return comm_reduce_wait(r->comm, e);
}

int reducer_wait(struct reducer *r, struct error *e)
{
    if (r->device && comm_device_wait(r->device, r->stream, e))
        return -1;
    return r->stream->op->synchronize(r->stream, e);
}
