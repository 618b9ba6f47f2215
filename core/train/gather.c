// Brings together what the ranks keep in parts: see gather.h.
#include "core/train/gather.h"

#include <stdlib.h>

#include "core/base/memory.h"

struct part_list {
    struct comm_part *part; // [count], malloc'ed
    int count;
};

static void add_part(struct part_list *l, void *data, size_t size, size_t unit)
{
    l->part = xrealloc(l->part, (size_t)l->count + 1, sizeof *l->part);
    l->part[l->count++] = (struct comm_part){data, size, unit};
}

// A flat buffer of the parameters' layout that has `size` bytes for every `span` elements.
static void add_flat(struct part_list *l, const struct shard *s, void *data, size_t span, size_t size)
{
    size_t unit = COMM_PART_UNIT / span * size;
    for (int b = 0; b < shard_buckets(s); b++) {
        size_t start = (size_t)b * s->bucket, left = s->size - start, count = left < s->bucket ? left : s->bucket;
        add_part(l, (char *)data + start / span * size, (count + span - 1) / span * size, unit);
    }
}

static int gather(struct part_list *l, struct reducer *r, struct error *e)
{
    int rc = l->count ? reducer_all_gather(r, l->part, l->count, e) : 0;
    free(l->part);
    return rc;
}

static int in_parts(const struct learner *l)
{
    return l->shard.ranks > 1;
}

int gather_squares(struct learner *learners, struct reducer *r, struct error *e)
{
    struct part_list list = {0};
    for (int i = 0; i < LEARNERS; i++)
        if (in_parts(&learners[i]) && learners[i].squares)
            add_flat(&list, &learners[i].shard, learners[i].squares, SQUARES_SPAN, sizeof *learners[i].squares);
    return gather(&list, r, e);
}

int gather_weights(struct learner *learners, struct reducer *r, struct error *e)
{
    struct part_list list = {0};
    struct stream *stream = r->stream;
    for (int i = 0; i < LEARNERS; i++) {
        struct learner *l = &learners[i];
        const struct shard *s = &l->shard;
        if (!in_parts(l))
            continue;
        add_flat(&list, s, l->model.work, 1, dtype_size(l->model.type));
        if (!s->block)
            continue;
        size_t mine = (size_t)s->rank * (size_t)s->blocks, bytes = (size_t)s->blocks * PARAMETER_ALIGN * sizeof(float);
        queue(stream, pack_blocks, .flat = l->model.weight, .block = s->block + mine, .count = s->blocks,
              .packed = s->packed + mine * PARAMETER_ALIGN);
        add_part(&list, s->packed, bytes * (size_t)s->ranks, bytes);
    }
    if (gather(&list, r, e))
        return -1;
    for (int i = 0; i < LEARNERS; i++) {
        const struct shard *s = &learners[i].shard;
        if (s->block)
            queue(stream, unpack_blocks, .packed = s->packed, .block = s->block, .count = s->ranks * s->blocks,
                  .flat = learners[i].model.weight);
    }
    return 0;
}

int gather_masters(struct learner *learners, struct reducer *r, struct error *e)
{
    struct part_list list = {0};
    for (int i = 0; i < LEARNERS; i++)
        if (in_parts(&learners[i]) && learners[i].model.type != DTYPE_F32)
            add_flat(&list, &learners[i].shard, learners[i].model.weight, 1, sizeof(float));
    return gather(&list, r, e);
}

int gather_moments(struct learner *l, const float *own, struct reducer *r, struct error *e)
{
    struct part_list list = {0};
    if (!in_parts(l))
        return 0;
    for (int b = 0; own && b < shard_buckets(&l->shard); b++) {
        struct shard_part p = shard_part(&l->shard, b);
        r->stream->op->copy(r->stream, l->gradient + p.start, own + p.at, p.count * sizeof *own);
    }
    add_flat(&list, &l->shard, l->gradient, 1, sizeof *l->gradient);
    return gather(&list, r, e);
}
