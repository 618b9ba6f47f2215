// Predictions of one or several models over clips: see predictor.h.
#include "core/train/predictor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/train/evaluate.h"

// One model with its memory for a batch.
struct voter {
    char *path;
    struct model model;
    struct workspace space;
    struct view_buffer views;
    float *x;        // device [clips, L, 100, 3]
    float *host_x;   // the same on the host
    int32_t *frames; // [clips]
};

struct predictor {
    struct backend *backend;
    struct stream *stream;
    int clips, threads, classes;
    struct pulse *pulse;
    size_t count;
    struct voter *voters;
    struct checkpoint first;         // for the signs
    struct parquet_reader **readers; // one a thread
    float *logits;                   // [clips, classes]
};

static int voter_create(struct voter *v, const struct predictor_options *o, struct stream *s, struct checkpoint *c,
                        const char *path, struct error *e)
{
    v->path = xstrdup(path);
    if (checkpoint_read(c, path, o->heads, e))
        return -1;
    size_t floats = (size_t)o->clips * (size_t)c->config.max_len * LANDMARKS * 3;
    if (model_create(&v->model, o->backend, &c->config, o->type, 0, e) ||
        workspace_create(&v->space, &v->model, o->clips, 0, e) ||
        view_buffer_create(&v->views, o->backend, o->clips, c->config.max_len, e) ||
        !(v->x = o->backend->op->allocate(o->backend, floats * sizeof(float), e)))
        return error_prefix(e, "%s", path);
    v->host_x = xcalloc(floats, sizeof(float));
    v->frames = xcalloc((size_t)o->clips, sizeof *v->frames);
    model_set(&v->model, s, c->parameters, c->buffers);
    return s->op->synchronize(s, e);
}

static void voter_destroy(struct voter *v)
{
    if (v->x)
        v->model.backend->op->release(v->model.backend, v->x);
    view_buffer_destroy(&v->views);
    workspace_destroy(&v->space);
    model_destroy(&v->model);
    free(v->path);
    free(v->host_x);
    free(v->frames);
}

static int same_signs(const struct checkpoint *a, const struct checkpoint *b, const char *first, const char *path,
                      struct error *e)
{
    if (a->config.classes != b->config.classes)
        return error_set(e, ERR_INVALID, "%s knows %d signs, %s knows %d: they cannot predict together", first,
                         a->config.classes, path, b->config.classes);
    for (int i = 0; a->signs && b->signs && i < a->config.classes; i++)
        if (strcmp(a->signs[i], b->signs[i]))
            return error_set(e, ERR_INVALID, "class %d is '%s' in %s and '%s' in %s", i, a->signs[i], first,
                             b->signs[i], path);
    return 0;
}

static int create_voters(struct predictor *p, const struct predictor_options *o, struct error *e)
{
    for (size_t i = 0; i < o->model_count; i++) {
        struct checkpoint c = {0};
        int rc = voter_create(&p->voters[i], o, p->stream, &c, o->models[i], e);
        p->count = i + 1;
        if (!rc && i)
            rc = same_signs(&p->first, &c, o->models[0], o->models[i], e);
        if (i) {
            checkpoint_destroy(&c);
        } else {
            free(c.parameters); // the names are what is wanted
            c.parameters = NULL;
            p->first = c;
        }
        if (rc)
            return -1;
    }
    p->classes = p->first.config.classes;
    return 0;
}

struct predictor *predictor_create(const struct predictor_options *o, struct error *e)
{
    if (o->model_count < 1 || o->model_count > PREDICTOR_MODELS_MAX) {
        error_set(e, ERR_INVALID, "%zu models: 1 to %d can predict together", o->model_count, PREDICTOR_MODELS_MAX);
        return NULL;
    }
    struct predictor *p = xcalloc(1, sizeof *p);
    p->backend = o->backend;
    p->clips = o->clips;
    p->threads = o->threads > 0 ? o->threads : parallel_cores();
    p->pulse = o->pulse;
    p->voters = xcalloc(o->model_count, sizeof *p->voters);
    p->stream = o->backend->op->stream_create(o->backend, e);
    if (!p->stream || create_voters(p, o, e)) {
        predictor_destroy(p);
        return NULL;
    }
    p->readers = xcalloc((size_t)p->threads, sizeof *p->readers);
    for (int i = 0; i < p->threads; i++)
        p->readers[i] = parquet_reader_create();
    p->logits = xcalloc((size_t)p->clips * (size_t)p->classes, sizeof *p->logits);
    return p;
}

void predictor_destroy(struct predictor *p)
{
    if (!p)
        return;
    p->backend->op->forget(p->backend);
    for (size_t i = 0; i < p->count; i++)
        voter_destroy(&p->voters[i]);
    for (int i = 0; p->readers && i < p->threads; i++)
        parquet_reader_destroy(p->readers[i]);
    if (p->stream)
        p->stream->op->stream_destroy(p->stream);
    checkpoint_destroy(&p->first);
    free(p->voters);
    free(p->readers);
    free(p->logits);
    free(p);
}

int predictor_classes(const struct predictor *p)
{
    return p->classes;
}

const char *predictor_sign(const struct predictor *p, int i)
{
    return p->first.signs ? p->first.signs[i] : NULL;
}

// Clips [first, first+count) of the sources, read by several threads.
struct loading {
    struct predictor *p;
    const struct sources *sources;
    size_t first;
    struct error *errors; // [count]
};

static int load_one(void *context, size_t item, int thread)
{
    struct loading *l = context;
    struct predictor *p = l->p;
    int max_len[PREDICTOR_MODELS_MAX];
    float *out[PREDICTOR_MODELS_MAX];
    int32_t frames[PREDICTOR_MODELS_MAX];
    for (size_t k = 0; k < p->count; k++) {
        max_len[k] = p->voters[k].model.config.max_len;
        out[k] = p->voters[k].host_x + item * (size_t)max_len[k] * LANDMARKS * 3;
    }
    if (sources_load(l->sources, l->first + item, p->readers[thread], (int)p->count, max_len, out, frames,
                     &l->errors[item]))
        return -1;
    for (size_t k = 0; k < p->count; k++)
        p->voters[k].frames[item] = frames[k];
    return 0;
}

static int load_batch(struct predictor *p, const struct sources *s, size_t first, size_t count, struct error *e)
{
    struct loading l = {p, s, first, xcalloc(count, sizeof *l.errors)};
    int rc = parallel_for(p->threads, count, load_one, &l);
    for (size_t i = 0; rc && i < count; i++)
        if (l.errors[i].code) {
            *e = l.errors[i];
            break;
        }
    free(l.errors);
    return rc;
}

static int forward(struct predictor *p, struct voter *v, int count, struct error *e)
{
    struct stream *s = p->stream;
    int max_len = v->model.config.max_len;
    s->op->upload(s, v->x, v->host_x, (size_t)count * (size_t)max_len * LANDMARKS * 3 * sizeof(float));
    struct view view = view_build(
        &v->views, s, &(struct view_input){.clips = count, .frames = max_len, .x = v->x, .length = v->frames});
    model_forward(&v->model, &v->space, s, &view, &(struct forward_mode){.constant_weights = 1, .pulse = p->pulse});
    s->op->download(s, p->logits, v->space.logits.data, (size_t)count * (size_t)p->classes * sizeof *p->logits);
    return s->op->synchronize(s, e);
}

// Weights are finite, or the checkpoint had been refused; what is computed from them may still overflow.
static int check_finite(const struct predictor *p, const struct voter *v, const struct source *clips, size_t count,
                        struct error *e)
{
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < p->classes; c++)
            if (!isfinite(p->logits[i * (size_t)p->classes + (size_t)c]))
                return error_set(e, ERR_FAILED, "%s: what %s makes of it is not finite", clips[i].name, v->path);
    return 0;
}

int predictor_run(struct predictor *p, const struct sources *s, int logits, float *out, struct error *e)
{
    if (logits && p->count > 1)
        return error_set(e, ERR_INVALID, "logits of several models have no mean that says anything: give one model");
    memset(out, 0, s->count * (size_t)p->classes * sizeof *out);
    for (size_t i = 0; i < s->count; i += (size_t)p->clips) {
        size_t n = s->count - i < (size_t)p->clips ? s->count - i : (size_t)p->clips;
        float *to = out + i * (size_t)p->classes;
        if (load_batch(p, s, i, n, e))
            return -1;
        for (size_t k = 0; k < p->count; k++) {
            struct voter *v = &p->voters[k];
            if (forward(p, v, (int)n, e) || check_finite(p, v, s->items + i, n, e))
                return -1;
            if (!logits)
                softmax_rows(p->logits, n, p->classes);
            for (size_t c = 0; c < n * (size_t)p->classes; c++)
                to[c] += p->logits[c] / (float)p->count;
        }
    }
    return 0;
}
