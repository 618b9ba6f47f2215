// Sets that are larger than the device: see feeder.h.
#include "core/train/feeder.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/memory.h"

enum { TURNS = 2 };

struct part {
    float *frames;        // device [places, max_len, 100, 3]
    int32_t *frame_count; // device [places]
};

struct feeder {
    const struct set *set;
    struct backend *backend;
    struct stream *stream;
    struct part part[TURNS];
    int64_t *offset; // device [places]
    size_t places, place_floats;
    uint64_t number; // of the last feed
    // host
    int32_t *frame_count; // [places]
    int32_t *place;       // [clips of the set]: where a clip is in feed number seen[clip]
    uint64_t *seen;
};

static size_t places_for(int clips, int views)
{
    return (size_t)clips * (size_t)(1 + views);
}

static size_t floats_of_place(const struct set *set)
{
    return (size_t)set_max_len(set) * LANDMARKS * 3;
}

size_t feeder_size(const struct set *set, int clips, int views)
{
    return places_for(clips, views) *
           (TURNS * (floats_of_place(set) * sizeof(float) + sizeof(int32_t)) + sizeof(int64_t));
}

static int allocate(struct feeder *f, struct error *e)
{
    const struct backend_ops *op = f->backend->op;
    if (!(f->stream = op->stream_create(f->backend, e)) ||
        !(f->offset = op->allocate(f->backend, f->places * sizeof *f->offset, e)))
        return -1;
    for (int i = 0; i < TURNS; i++)
        if (!(f->part[i].frames = op->allocate(f->backend, f->places * f->place_floats * sizeof(float), e)) ||
            !(f->part[i].frame_count = op->allocate(f->backend, f->places * sizeof *f->frame_count, e)))
            return -1;
    int64_t *offset = xcalloc(f->places, sizeof *offset);
    for (size_t i = 0; i < f->places; i++)
        offset[i] = (int64_t)(i * f->place_floats);
    op->upload(f->stream, f->offset, offset, f->places * sizeof *offset);
    free(offset);
    return op->synchronize(f->stream, e);
}

struct feeder *feeder_create(const struct set *set, struct backend *b, int clips, int views, struct error *e)
{
    struct feeder *f = xcalloc(1, sizeof *f);
    f->set = set;
    f->backend = b;
    f->places = places_for(clips, views);
    f->place_floats = floats_of_place(set);
    f->frame_count = xcalloc(f->places, sizeof *f->frame_count);
    f->place = xcalloc(set_count(set), sizeof *f->place);
    f->seen = xcalloc(set_count(set), sizeof *f->seen);
    if (!allocate(f, e))
        return f;
    error_prefix(e, "two batches of the set's clips on the device");
    feeder_destroy(f);
    return NULL;
}

void feeder_destroy(struct feeder *f)
{
    if (!f)
        return;
    const struct backend_ops *op = f->backend->op;
    if (f->stream)
        op->stream_destroy(f->stream);
    for (int i = 0; i < TURNS; i++) {
        if (f->part[i].frames)
            op->release(f->backend, f->part[i].frames);
        if (f->part[i].frame_count)
            op->release(f->backend, f->part[i].frame_count);
    }
    if (f->offset)
        op->release(f->backend, f->offset);
    free(f->frame_count);
    free(f->place);
    free(f->seen);
    free(f);
}

// The clip's place in the feed under way, into which it is put if it is not there yet.
static int32_t place_of(struct feeder *f, struct part *to, int32_t clip, int32_t *used)
{
    if (f->seen[clip] == f->number)
        return f->place[clip];
    const struct set_clip *c = set_clip(f->set, (size_t)clip);
    int32_t place = (*used)++;
    assert((size_t)place < f->places);
    f->seen[clip] = f->number;
    f->place[clip] = place;
    f->frame_count[place] = c->frames;
    f->stream->op->upload(f->stream, to->frames + (size_t)place * f->place_floats,
                          set_frames(f->set) + (size_t)c->first_frame * LANDMARKS * 3,
                          (size_t)c->frames * LANDMARKS * 3 * sizeof(float));
    return place;
}

struct feed feeder_put(struct feeder *f, struct augment_plan *plans, int count)
{
    struct part *to = &f->part[++f->number % TURNS];
    int32_t used = 0;
    for (int i = 0; i < count; i++) {
        plans[i].clip = place_of(f, to, plans[i].clip, &used);
        if (plans[i].partner >= 0)
            plans[i].partner = place_of(f, to, plans[i].partner, &used);
    }
    f->stream->op->upload(f->stream, to->frame_count, f->frame_count, (size_t)used * sizeof *f->frame_count);
    return (struct feed){to->frames, f->offset, to->frame_count, f->number};
}

int feeder_holds(const struct feeder *f, const struct feed *feed)
{
    return feed->number && f->number - feed->number < TURNS;
}

int feeder_wait(struct feeder *f, struct error *e)
{
    return f->stream->op->synchronize(f->stream, e);
}
