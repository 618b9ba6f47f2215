// Which rank keeps the optimizer's state of which parameters: see shard.h.
#include "core/train/shard.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/comm/comm.h"
#include "core/train/reduce.h"

_Static_assert((int)COMM_PART_UNIT == (int)SQUARES_SPAN, "partial sums belong to one rank");
_Static_assert((int)SQUARES_SPAN % (int)PARAMETER_ALIGN == 0, "and so do blocks");

static size_t bucket_length(const struct shard *s, int bucket)
{
    size_t start = (size_t)bucket * s->bucket;
    return s->size - start < s->bucket ? s->size - start : s->bucket;
}

int shard_buckets(const struct shard *s)
{
    return (int)((s->size + s->bucket - 1) / s->bucket);
}

struct shard_part shard_part(const struct shard *s, int bucket)
{
    size_t start = (size_t)bucket * s->bucket, length = bucket_length(s, bucket);
    size_t from = comm_part_start(length, COMM_PART_UNIT, s->ranks, s->rank);
    size_t to = comm_part_start(length, COMM_PART_UNIT, s->ranks, s->rank + 1);
    size_t each = comm_part_start(s->bucket, COMM_PART_UNIT, s->ranks, s->rank + 1) -
                  comm_part_start(s->bucket, COMM_PART_UNIT, s->ranks, s->rank);
    return (struct shard_part){start + from, to - from, (size_t)bucket * each};
}

void shard_plan(struct shard *s, size_t size, int ranks, int rank)
{
    *s = (struct shard){.ranks = ranks, .rank = rank, .size = size, .bucket = ranks > 1 ? reduce_bucket(ranks) : size};
    for (int b = 0; b < shard_buckets(s); b++)
        s->own += shard_part(s, b).count;
}

// Which rank has the block of the flat buffer that begins at `start`.
static int owner_of(const struct shard *s, size_t start)
{
    size_t length = bucket_length(s, (int)(start / s->bucket));
    return (int)(start % s->bucket / comm_part_start(length, COMM_PART_UNIT, s->ranks, 1));
}

// Numbers of the blocks of exact tensors by rank: fills block, if not NULL, and returns how many the one with most has.
static int list_blocks(const struct shard *s, const struct layout *l, int32_t *block)
{
    int *count = xcalloc((size_t)s->ranks, sizeof *count), most = 0;
    for (int i = 0; i < l->parameter_count; i++) {
        const struct layout_entry *t = &l->parameters[i];
        for (size_t at = t->offset; t->exact && at < t->offset + t->count; at += PARAMETER_ALIGN) {
            int owner = owner_of(s, at);
            if (block)
                block[owner * s->blocks + count[owner]] = (int32_t)(at / PARAMETER_ALIGN);
            most = ++count[owner] > most ? count[owner] : most;
        }
    }
    free(count);
    return most;
}

static int upload_blocks(const struct shard *s, const struct layout *l, struct error *e)
{
    size_t count = (size_t)s->ranks * (size_t)s->blocks;
    struct stream *stream = s->backend->op->stream_create(s->backend, e);
    if (!stream)
        return -1;
    int32_t *block = xcalloc(count, sizeof *block);
    for (size_t i = 0; i < count; i++)
        block[i] = -1;
    list_blocks(s, l, block);
    stream->op->upload(stream, s->block, block, count * sizeof *block);
    int rc = stream->op->synchronize(stream, e);
    stream->op->stream_destroy(stream);
    free(block);
    return rc;
}

static size_t blocks_size(const struct shard *s)
{
    return (size_t)s->ranks * (size_t)s->blocks;
}

int shard_create(struct shard *s, const struct model *m, int ranks, int rank, struct error *e)
{
    const struct backend_ops *op = m->backend->op;
    shard_plan(s, m->layout.size, ranks, rank);
    s->backend = m->backend;
    if (ranks == 1 || m->type == DTYPE_F32)
        return 0;
    s->blocks = list_blocks(s, &m->layout, NULL);
    s->block = op->allocate(s->backend, blocks_size(s) * sizeof *s->block, e);
    if (s->block)
        s->packed = op->allocate(s->backend, blocks_size(s) * PARAMETER_ALIGN * sizeof *s->packed, e);
    return s->packed && !upload_blocks(s, &m->layout, e) ? 0 : -1;
}

void shard_destroy(struct shard *s)
{
    if (s->block)
        s->backend->op->release(s->backend, s->block);
    if (s->packed)
        s->backend->op->release(s->backend, s->packed);
    memset(s, 0, sizeof *s);
}

size_t shard_size(const struct model *m, int ranks)
{
    struct shard s;
    shard_plan(&s, m->layout.size, ranks, 0);
    if (ranks == 1 || m->type == DTYPE_F32)
        return 0;
    s.blocks = list_blocks(&s, &m->layout, NULL);
    return blocks_size(&s) * (sizeof *s.block + PARAMETER_ALIGN * sizeof *s.packed);
}
