// The model on a device: see model.h.
#include "core/nn/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/nn/layers.h"

// transformers' make_log_bucket_position with bucket_size = max_position = L, then clamped and shifted by L.
int relative_slot(int r, int max_len)
{
    int mid = max_len / 2, bucket = r, size = abs(r);
    if (r <= -mid || r >= mid) {
        if (size > mid) {
            double share = log((double)size / mid) / log((double)(max_len - 1) / mid);
            bucket = (int)ceil(share * (mid - 1)) + mid;
            bucket = r < 0 ? -bucket : bucket;
        }
    }
    int c = bucket + max_len;
    return c < 0 ? 0 : c > 2 * max_len - 1 ? 2 * max_len - 1 : c;
}

static int upload_slots(struct model *m, struct error *e)
{
    int l = m->config.max_len, count = 2 * l - 1;
    int32_t *slot = xcalloc((size_t)count, sizeof *slot);
    for (int i = 0; i < count; i++)
        slot[i] = relative_slot(i - (l - 1), l);
    int rc = -1;
    m->slot = m->backend->op->allocate(m->backend, (size_t)count * sizeof *slot, e);
    struct stream *s = m->slot ? m->backend->op->stream_create(m->backend, e) : NULL;
    if (s) {
        s->op->upload(s, m->slot, slot, (size_t)count * sizeof *slot);
        rc = s->op->synchronize(s, e);
        s->op->stream_destroy(s);
    }
    free(slot);
    return rc;
}

void model_sketch(struct model *m, struct backend *backend, const struct model_config *c, enum dtype type, uint32_t id)
{
    memset(m, 0, sizeof *m);
    m->config = *c;
    m->backend = backend;
    m->type = type;
    m->id = id;
    layout_make(&m->layout, c);
}

size_t model_size(const struct model *m)
{
    size_t copies = m->type == DTYPE_F32 ? 0 : dtype_size(m->type);
    return m->layout.size * (sizeof(float) + copies) + m->layout.buffer_size * sizeof(float) +
           (size_t)(2 * m->config.max_len - 1) * sizeof(int32_t);
}

int model_create(struct model *m, struct backend *backend, const struct model_config *c, enum dtype type, uint32_t id,
                 struct error *e)
{
    memset(m, 0, sizeof *m);
    if (model_config_check(c, e))
        return -1;
    model_sketch(m, backend, c, type, id);
    const struct backend_ops *op = backend->op;
    m->weight = op->allocate(backend, m->layout.size * sizeof(float), e);
    m->work = type == DTYPE_F32 || !m->weight ? m->weight : op->allocate(backend, m->layout.size * dtype_size(type), e);
    m->buffers = m->work ? op->allocate(backend, m->layout.buffer_size * sizeof(float), e) : NULL;
    if (m->buffers && !upload_slots(m, e))
        return 0;
    model_destroy(m);
    return -1;
}

void model_destroy(struct model *m)
{
    if (!m->backend)
        return;
    const struct backend_ops *op = m->backend->op;
    if (m->work && m->work != m->weight)
        op->release(m->backend, m->work);
    if (m->weight)
        op->release(m->backend, m->weight);
    if (m->buffers)
        op->release(m->backend, m->buffers);
    if (m->slot)
        op->release(m->backend, m->slot);
    memset(m, 0, sizeof *m);
}

void model_set(struct model *m, struct stream *s, const float *parameters, const float *buffers)
{
    s->op->upload(s, m->weight, parameters, m->layout.size * sizeof(float));
    s->op->upload(s, m->buffers, buffers, m->layout.buffer_size * sizeof(float));
    if (m->work != m->weight)
        queue(s, convert, .x = m->weight, .y = m->work, .from = DTYPE_F32, .to = m->type, .count = m->layout.size);
}

int model_get(const struct model *m, struct stream *s, float *parameters, float *buffers, struct error *e)
{
    s->op->download(s, parameters, m->weight, m->layout.size * sizeof(float));
    s->op->download(s, buffers, m->buffers, m->layout.buffer_size * sizeof(float));
    return s->op->synchronize(s, e);
}

float *model_parameter(const struct model *m, int tensor)
{
    return m->weight + m->layout.parameters[tensor].offset;
}

struct mat model_weight(const struct model *m, int tensor)
{
    const struct layout_entry *t = &m->layout.parameters[tensor];
    int columns = t->dims > 1 ? t->shape[1] : t->shape[0];
    return mat_at((char *)m->work + t->offset * dtype_size(m->type), m->type, t->dims > 1 ? t->shape[0] : 1, columns);
}

static void workspace_plan(struct workspace *w, const struct model *m, struct arena *a)
{
    const struct model_config *c = &m->config;
    mlp_plan(w, m, a, w->clips);
    w->last = arena_mat(a, m->type, view_rows_max(w->clips, c->max_len), c->widths[ENCODERS]);
    w->pooled = arena_mat(a, m->type, w->clips, c->widths[ENCODERS]);
    w->logits = arena_mat(a, DTYPE_F32, w->clips, c->classes);
    // Without a backward pass an encoder's memory is free again after the next one has run: even and odd ones take turns.
    size_t start[2] = {a->used, 0};
    for (int i = 0; i < ENCODERS; i++) {
        if (!w->keep && i > 0) {
            if (i == 1)
                start[1] = a->used;
            a->used = start[i % 2];
        }
        struct arena probe = *a;
        encoder_plan(w, m, a, i, w->clips);
        if (!w->keep && i == 0) { // room for encoder 2 as well, before encoder 1 is placed behind it
            struct workspace unused = *w;
            probe.base = NULL;
            encoder_plan(&unused, m, &probe, 2, w->clips);
            if (probe.used > a->used)
                a->used = probe.used;
        }
    }
}

size_t workspace_size(const struct model *m, int clips, int keep)
{
    struct arena a = {0};
    struct workspace w = {.clips = clips, .keep = keep};
    workspace_plan(&w, m, &a);
    return a.peak;
}

int workspace_create(struct workspace *w, const struct model *m, int clips, int keep, struct error *e)
{
    struct arena a = {0};
    memset(w, 0, sizeof *w);
    w->backend = m->backend;
    w->clips = clips;
    w->keep = keep;
    w->size = workspace_size(m, clips, keep);
    w->memory = a.base = m->backend->op->allocate(m->backend, w->size, e);
    if (!w->memory)
        return error_prefix(e, "activations of %d clips", clips);
    workspace_plan(w, m, &a);
    return 0;
}

void workspace_destroy(struct workspace *w)
{
    if (w->memory)
        w->backend->op->release(w->backend, w->memory);
    memset(w, 0, sizeof *w);
}

// Where the input of encoder i is to be put: behind the relative rows, or before mixup.
static struct mat encoder_input(const struct model *m, const struct workspace *w, const struct view *v, int i,
                                int mixed)
{
    int n = v->rows[i].count, h = m->config.widths[i];
    if (!mixed && v->mixes[i])
        return mat_part(w->encoder[i].premix, 0, n, 0, h);
    return mat_part(w->encoder[i].x, 2 * m->config.max_len, n, 0, h);
}

void model_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                   const struct forward_mode *mode)
{
    int clips = v->clips, n = v->rows[0].count;
    mlp_forward(m, w, s, v, mode, encoder_input(m, w, v, 0, 0));
    pulse_beat(mode->pulse);
    struct mat last = mat_part(w->last, 0, n, 0, w->last.columns);
    for (int i = 0; i < ENCODERS; i++) {
        if (v->mixes[i])
            queue(s, mixup_forward, .rows = v->rows[i], .x = encoder_input(m, w, v, i, 0),
                  .y = encoder_input(m, w, v, i, 1), .partner = v->partner, .coefficient = v->coefficient[i]);
        encoder_forward(m, w, s, v, mode, i, i + 1 < ENCODERS ? encoder_input(m, w, v, i + 1, 0) : last);
        pulse_beat(mode->pulse);
    }
    struct mat pooled = mat_part(w->pooled, 0, clips, 0, w->pooled.columns);
    queue(s, mean_forward, .rows = v->rows[ENCODERS], .x = last, .y = pooled);
    queue(s, linear_forward, .x = pooled, .weight = model_weight(m, m->layout.logits_weight),
          .y = mat_part(w->logits, 0, clips, 0, w->logits.columns), .bias = model_weight(m, m->layout.logits_bias).data,
          .constant = mode->constant_weights);
}

// The gradient of the rows that go between two encoders, or of the pooled rows.
static struct mat between_take(const struct model *m, struct arena *a, int clips)
{
    int columns = 0;
    for (int i = 0; i <= ENCODERS; i++)
        columns = m->config.widths[i] > columns ? m->config.widths[i] : columns;
    return arena_mat(a, m->type, view_rows_max(clips, m->config.max_len), columns);
}

size_t backward_space_size(const struct model *m, int clips)
{
    struct arena a = {0};
    between_take(m, &a, clips);
    arena_mat(&a, m->type, clips, m->config.widths[ENCODERS]);
    size_t start = a.used;
    for (int i = ENCODERS - 1; i >= 0; i--) {
        a.used = start;
        encoder_backward_plan(m, &a, i, clips);
    }
    a.used = start;
    mlp_backward_plan(m, &a, clips);
    return a.peak;
}

int backward_space_create(struct backward_space *b, struct backend *backend, size_t size, struct error *e)
{
    *b = (struct backward_space){.backend = backend, .size = size, .memory = backend->op->allocate(backend, size, e)};
    return b->memory ? 0 : error_prefix(e, "memory of the backward pass");
}

void backward_space_destroy(struct backward_space *b)
{
    if (b->memory)
        b->backend->op->release(b->backend, b->memory);
    memset(b, 0, sizeof *b);
}

void model_backward(const struct model *m, struct workspace *w, struct backward_space *b, struct stream *s,
                    const struct view *v, const struct forward_mode *mode, struct mat dlogits, float *gradient,
                    const struct gradient_watch *watch)
{
    struct arena a = {.base = b->memory};
    int clips = v->clips, n = v->rows[0].count;
    void *between = between_take(m, &a, clips).data;
    struct mat dpooled = arena_mat(&a, m->type, clips, m->config.widths[ENCODERS]);
    size_t start = a.used;
    queue(s, linear_backward_weight, .dy = dlogits, .x = mat_part(w->pooled, 0, clips, 0, w->pooled.columns),
          .dweight = gradient + m->layout.parameters[m->layout.logits_weight].offset,
          .dbias = gradient + m->layout.parameters[m->layout.logits_bias].offset);
    queue(s, linear_backward_input, .dy = dlogits, .weight = model_weight(m, m->layout.logits_weight), .dx = dpooled);
    gradients_ready(watch, m, m->layout.logits_weight);
    struct mat dy = mat_at(between, m->type, n, m->config.widths[ENCODERS]);
    queue(s, mean_backward, .rows = v->rows[ENCODERS], .dy = dpooled, .dx = dy);
    for (int i = ENCODERS - 1; i >= 0; i--) {
        a.used = start;
        struct mat dx = encoder_backward(m, w, &a, s, v, mode, i, dy, gradient, watch);
        dy = mat_at(between, m->type, n, m->config.widths[i]);
        if (v->mixes[i])
            queue(s, mixup_backward, .rows = v->rows[i], .dy = dx, .dx = dy, .inverse = v->inverse,
                  .coefficient = v->coefficient[i]);
        else
            s->op->copy(s, dy.data, dx.data, (size_t)n * (size_t)dx.columns * dtype_size(m->type));
    }
    a.used = start;
    mlp_backward(m, w, &a, s, v, mode, dy, gradient, watch);
}
