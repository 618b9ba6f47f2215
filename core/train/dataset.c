// A prepared set made ready for training: see dataset.h.
#include "core/train/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static int upload(struct dataset *d, struct error *e)
{
    const struct backend_ops *op = d->backend->op;
    size_t count = set_count(d->set), frame_bytes = set_frame_count(d->set) * LANDMARKS * 3 * sizeof(float);
    d->offset = op->allocate(d->backend, count * sizeof *d->offset, e);
    d->frame_count = d->offset ? op->allocate(d->backend, count * sizeof *d->frame_count, e) : NULL;
    if (!d->frame_count)
        return -1;
    int64_t *offset = xcalloc(count, sizeof *offset);
    int32_t *frames = xcalloc(count, sizeof *frames);
    for (size_t i = 0; i < count; i++) {
        const struct set_clip *clip = set_clip(d->set, i);
        offset[i] = (int64_t)clip->first_frame * LANDMARKS * 3;
        frames[i] = clip->frames;
    }
    d->frames = op->share ? op->share(d->backend, set_frames(d->set), frame_bytes) : NULL;
    struct stream *s = op->stream_create(d->backend, e);
    int rc = s ? 0 : -1;
    if (s && !d->frames) {
        d->frames = d->copy = op->allocate(d->backend, frame_bytes, e);
        if (d->copy)
            op->upload(s, d->copy, set_frames(d->set), frame_bytes);
        else
            rc = error_prefix(e, "the set's %zu clips on the device", count);
    }
    if (!rc) {
        op->upload(s, d->offset, offset, count * sizeof *offset);
        op->upload(s, d->frame_count, frames, count * sizeof *frames);
        rc = op->synchronize(s, e);
    }
    if (s)
        op->stream_destroy(s);
    free(offset);
    free(frames);
    return rc;
}

static int fold_number(const struct set *set, const Islr__Data *data, int *fold, struct error *e)
{
    *fold = -1;
    if (!strcmp(data->fold, "full"))
        return 0;
    char *end;
    long n = strtol(data->fold, &end, 10);
    if (end == data->fold || *end || n < 0)
        return error_set(e, ERR_INVALID, "data.fold is '%s': a number or 'full' is needed here", data->fold);
    if (n >= set_fold_count(set))
        return error_set(e, ERR_INVALID, "data.fold is %ld, but the set has %d folds", n, set_fold_count(set));
    *fold = (int)n;
    return 0;
}

int dataset_create(struct dataset *d, const struct set *set, struct backend *backend, const struct dataset_options *o,
                   struct error *e)
{
    *d = (struct dataset){.set = set, .backend = backend};
    int fold;
    if (fold_number(set, o->data, &fold, e))
        return -1;
    size_t count = set_count(set);
    d->train = xcalloc(count, sizeof *d->train);
    d->held_out = xcalloc(count, sizeof *d->held_out);
    for (uint32_t i = 0; i < count; i++) {
        if (fold >= 0 && set_clip(set, i)->fold == fold)
            d->held_out[d->held_out_count++] = i;
        else
            d->train[d->train_count++] = i;
    }
    if (o->fed_clips > 0)
        d->feeder = feeder_create(set, backend, o->fed_clips, o->views, e);
    if (o->fed_clips > 0 ? d->feeder != NULL : !upload(d, e))
        return 0;
    dataset_destroy(d);
    return -1;
}

int dataset_create_whole(struct dataset *d, const struct set *set, struct backend *backend, struct error *e)
{
    *d = (struct dataset){.set = set, .backend = backend};
    size_t count = set_count(set);
    d->held_out = xcalloc(count, sizeof *d->held_out);
    for (uint32_t i = 0; i < count; i++)
        d->held_out[d->held_out_count++] = i;
    if (!upload(d, e))
        return 0;
    dataset_destroy(d);
    return -1;
}

void dataset_destroy(struct dataset *d)
{
    if (!d->backend)
        return;
    const struct backend_ops *op = d->backend->op;
    feeder_destroy(d->feeder);
    if (d->copy)
        op->release(d->backend, d->copy);
    if (d->offset)
        op->release(d->backend, d->offset);
    if (d->frame_count)
        op->release(d->backend, d->frame_count);
    free(d->train);
    free(d->held_out);
    memset(d, 0, sizeof *d);
}

int dataset_feed(const struct dataset *d, struct augment_plan *plans, int count, struct feed *feed, struct error *e)
{
    if (!d->feeder) {
        *feed = (struct feed){.frames = d->frames, .offset = d->offset, .frame_count = d->frame_count};
        return 0;
    }
    *feed = feeder_put(d->feeder, plans, count);
    return feeder_wait(d->feeder, e);
}

size_t dataset_size(const struct set *set)
{
    return set_frame_count(set) * LANDMARKS * 3 * sizeof(float) + set_count(set) * (sizeof(int64_t) + sizeof(int32_t));
}

struct augment_plan dataset_plain_plan(const struct dataset *d, uint32_t clip)
{
    return (struct augment_plan){.clip = (int32_t)clip,
                                 .partner = -1,
                                 .count = set_clip(d->set, clip)->frames,
                                 .cosine = 1,
                                 .factor = {1, 1, 1}};
}
