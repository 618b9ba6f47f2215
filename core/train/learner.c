// One model with what training it takes: see learner.h.
#include "core/train/learner.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

const char *const learner_names[LEARNERS] = {"student", "teacher", "distilled"};

// Allocations that are all or nothing: after a failure the rest are NULL.
static void *take(struct backend *b, size_t size, int *failed, struct error *e)
{
    void *p = *failed ? NULL : b->op->allocate(b, size, e);
    *failed |= !p;
    return p;
}

static int upload_decay(struct learner *l, struct error *e)
{
    struct backend *b = l->model.backend;
    size_t size = l->model.layout.size / PARAMETER_ALIGN;
    struct stream *s = b->op->stream_create(b, e);
    if (!s)
        return -1;
    uint8_t *decay = xcalloc(size, 1);
    layout_decay(&l->model.layout, decay);
    s->op->upload(s, l->decay, decay, size);
    int rc = s->op->synchronize(s, e);
    free(decay);
    s->op->stream_destroy(s);
    return rc;
}

static size_t squares_count(const struct model *m)
{
    return (m->layout.size + SQUARES_SPAN - 1) / SQUARES_SPAN;
}

static int create_training_state(struct learner *l, const struct learner_options *o, struct error *e)
{
    struct backend *b = o->backend;
    int failed = 0, classes = o->config->classes;
    l->gradient = take(b, l->model.layout.size * sizeof *l->gradient, &failed, e);
    l->m = take(b, l->shard.own * sizeof *l->m, &failed, e);
    l->v = take(b, l->shard.own * sizeof *l->v, &failed, e);
    l->squares = take(b, squares_count(&l->model) * sizeof *l->squares, &failed, e);
    l->decay = take(b, l->model.layout.size / PARAMETER_ALIGN, &failed, e);
    l->square_norm = take(b, sizeof(double), &failed, e);
    l->losses = take(b, (size_t)(o->clips / o->group) * 3 * sizeof(float), &failed, e);
    l->dlogits = (struct mat){take(b, (size_t)o->clips * (size_t)classes * dtype_size(o->type), &failed, e), o->type,
                              o->clips, classes, classes};
    return failed || upload_decay(l, e) ? -1 : 0;
}

int learner_create(struct learner *l, enum learner_role role, const struct learner_options *o, struct error *e)
{
    memset(l, 0, sizeof *l);
    l->role = role;
    l->mode =
        (struct forward_mode){.train = 1, .dropout = 1, .group = o->group, .seed = o->seed, .scalars = o->scalars};
    int failed = 0;
    if (model_create(&l->model, o->backend, o->config, o->type, role, e) ||
        shard_create(&l->shard, &l->model, o->ranks, o->rank, e) ||
        workspace_create(&l->space, &l->model, o->clips, role != TEACHER, e) ||
        view_buffer_create(&l->views, o->backend, o->clips, o->config->max_len, e))
        failed = 1;
    l->x = take(o->backend, (size_t)o->clips * (size_t)o->config->max_len * LANDMARKS * 3 * sizeof(float), &failed, e);
    if (failed || (role != TEACHER && create_training_state(l, o, e))) {
        error_prefix(e, "the %s", learner_names[role]);
        learner_destroy(l);
        return -1;
    }
    return 0;
}

void learner_destroy(struct learner *l)
{
    struct backend *b = l->views.backend ? l->views.backend : l->model.backend;
    void *const owned[] = {l->x,       l->gradient,    l->m,      l->v,           l->decay,
                           l->squares, l->square_norm, l->losses, l->dlogits.data};
    for (size_t i = 0; b && i < sizeof owned / sizeof *owned; i++)
        if (owned[i])
            b->op->release(b, owned[i]);
    free(l->whole[0]);
    free(l->whole[1]);
    shard_destroy(&l->shard);
    view_buffer_destroy(&l->views);
    workspace_destroy(&l->space);
    model_destroy(&l->model);
    memset(l, 0, sizeof *l);
}

void learner_forward(struct learner *l, struct stream *s)
{
    model_forward(&l->model, &l->space, s, &l->view, &l->mode);
}

void learner_backward(struct learner *l, struct backward_space *b, struct stream *s, const struct learner_targets *t,
                      const struct gradient_watch *watch)
{
    queue(s, loss_forward_backward, .logits = l->space.logits.data, .teacher = t->teacher, .label = t->label,
          .partner = t->mixed ? l->view.partner : NULL, .coefficient = t->mixed ? t->coefficient : NULL,
          .clips = l->view.clips, .group = l->mode.group, .classes = l->model.config.classes, .ousm = t->ousm,
          .smoothing = t->smoothing, .group_weight = t->group_weight, .scalars = l->mode.scalars, .dlogits = l->dlogits,
          .losses = l->losses);
    model_backward(&l->model, &l->space, b, s, &l->view, &l->mode, l->dlogits, l->gradient, watch);
}

void learner_measure(struct learner *l, struct stream *s)
{
    for (int b = 0; b < shard_buckets(&l->shard); b++) {
        struct shard_part p = shard_part(&l->shard, b);
        if (p.count)
            queue(s, sum_squares, .x = l->gradient + p.start, .count = p.count,
                  .partial = l->squares + p.start / SQUARES_SPAN);
    }
}

void learner_norm(struct learner *l, struct stream *s)
{
    queue(s, add_squares, .partial = l->squares, .count = squares_count(&l->model), .out = l->square_norm);
}

static void *work_at(const struct model *m, size_t start)
{
    return (char *)m->work + start * dtype_size(m->type);
}

void learner_update(struct learner *l, struct stream *s, const Islr__Train *train, struct learner *ema)
{
    struct model *m = &l->model;
    int copies = m->type != DTYPE_F32;
    for (int b = 0; b < shard_buckets(&l->shard); b++) {
        struct shard_part p = shard_part(&l->shard, b);
        if (!p.count)
            continue;
        queue(s, adamw, .weight = m->weight + p.start, .m = l->m + p.at, .v = l->v + p.at,
              .gradient = l->gradient + p.start, .count = p.count, .decay = l->decay + p.start / PARAMETER_ALIGN,
              .beta1 = (float)train->betas[0], .beta2 = (float)train->betas[1], .eps = (float)train->eps,
              .weight_decay = (float)train->weight_decay, .clip = (float)train->clip, .square_norm = l->square_norm,
              .scalars = l->mode.scalars, .work_type = m->type, .work = copies ? work_at(m, p.start) : NULL,
              .ema = ema ? ema->model.weight + p.start : NULL,
              .ema_work = ema && copies ? work_at(&ema->model, p.start) : NULL);
    }
}
