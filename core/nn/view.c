// One model's view of a batch: see view.h.
#include "core/nn/view.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/memory.h"

// The block: offset | id | length own, per encoder, final | partner | inverse | coefficients per encoder.
struct block {
    int32_t *offset, *id, *own, *length[ENCODERS + 1], *partner, *inverse;
    float *coefficient[ENCODERS];
    size_t words;
};

static struct block block_at(int32_t *base, int clips, int frames)
{
    struct block b;
    int32_t *p = base;
    b.offset = p, p += clips + 1;
    b.id = p, p += view_rows_max(clips, frames);
    b.own = p, p += clips;
    for (int i = 0; i <= ENCODERS; i++)
        b.length[i] = p, p += clips;
    b.partner = p, p += clips;
    b.inverse = p, p += clips;
    for (int i = 0; i < ENCODERS; i++)
        b.coefficient[i] = (float *)p, p += clips;
    b.words = (size_t)(p - base);
    return b;
}

static size_t block_words(int clips, int frames)
{
    return (size_t)clips * (2 + 3 + 2 * ENCODERS + 2) + 1 + (size_t)view_rows_max(clips, frames);
}

int view_buffer_create(struct view_buffer *b, struct backend *backend, int clips, int frames, struct error *e)
{
    size_t size = block_words(clips, frames) * sizeof(int32_t);
    *b = (struct view_buffer){.backend = backend, .clips = clips, .frames = frames, .host = xmalloc(size)};
    b->device = backend->op->allocate(backend, size, e);
    if (b->device)
        return 0;
    free(b->host);
    b->host = NULL;
    return -1;
}

void view_buffer_destroy(struct view_buffer *b)
{
    if (!b->host)
        return;
    b->backend->op->release(b->backend, b->device);
    free(b->host);
    b->host = NULL;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static void fill_pairs(const struct view_input *in, struct block *h)
{
    for (int i = 0; i < in->clips; i++) {
        h->partner[i] = in->partner && in->layer[i] >= 0 ? in->partner[i] : i;
        h->inverse[h->partner[i]] = i;
    }
}

static void fill_mixup(const struct view_input *in, struct block *h, struct view *v)
{
    for (int k = 0; k < ENCODERS; k++) {
        v->mixes[k] = in->partner && in->uniform;
        for (int i = 0; i < in->clips; i++) {
            int here = in->partner && in->layer[i] == k;
            h->coefficient[k][i] = here ? in->coefficient[i] : 1;
            v->mixes[k] |= here;
        }
    }
    for (int i = 0; i < in->clips; i++) {
        int32_t pair = larger(in->length[i], in->length[h->partner[i]]);
        int from = in->partner && in->layer[i] >= 0 ? in->layer[i] : ENCODERS + 1;
        h->own[i] = in->length[i];
        for (int k = 0; k <= ENCODERS; k++)
            h->length[k][i] = k >= from ? pair : in->length[i];
    }
}

// A clip's rows reach as far as its pair's do, and as far as the pair reads that takes it as partner. Returns how many
// rows there are.
static int fill_offsets(const struct view_input *in, struct block *h)
{
    int row = 0;
    for (int i = 0; i < in->clips; i++) {
        h->offset[i] = row;
        row += larger(in->length[i], larger(in->length[h->partner[i]], in->length[h->inverse[i]]));
    }
    return h->offset[in->clips] = row;
}

static void fill_ids(const struct view_input *in, struct block *h, int count)
{
    for (int i = 0; i < in->clips; i++)
        for (int row = h->offset[i]; row < h->offset[i + 1]; row++)
            h->id[row] = (int32_t)((in->first_clip + (uint32_t)i) * (uint32_t)in->frames) + row - h->offset[i];
    for (int row = h->offset[in->clips]; row < count; row++)
        h->id[row] = -1;
}

static int whole_rows(int rows)
{
    int count = (rows + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
    return count ? count : ROW_MULTIPLE;
}

int view_rows(struct view_buffer *b, const struct view_input *in)
{
    struct block h = block_at(b->host, in->clips, in->frames);
    fill_pairs(in, &h);
    return whole_rows(fill_offsets(in, &h));
}

struct view view_build(struct view_buffer *b, struct stream *s, const struct view_input *in)
{
    struct view v = {.clips = in->clips, .frames = in->frames, .first_clip = in->first_clip, .x = in->x};
    struct block h = block_at(b->host, in->clips, in->frames), d = block_at(b->device, in->clips, in->frames);
    fill_pairs(in, &h);
    fill_mixup(in, &h, &v);
    int count = whole_rows(fill_offsets(in, &h));
    count = in->rows > count ? in->rows : count;
    assert(count <= view_rows_max(b->clips, b->frames));
    fill_ids(in, &h, count);
    s->op->upload(s, b->device, b->host, h.words * sizeof *b->host);
    v.length = d.own;
    v.partner = d.partner;
    v.inverse = d.inverse;
    for (int k = 0; k <= ENCODERS; k++)
        v.rows[k] = (struct rows){in->clips, in->frames, count, d.offset, d.length[k], d.id};
    for (int k = 0; k < ENCODERS; k++)
        v.coefficient[k] = d.coefficient[k];
    return v;
}
