// What a model makes of clips: see evaluate.h.
#include "core/train/evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"

// Logits of clips [0, count), count <= v->clips, to host memory.
static int forward_batch(const struct evaluator *v, const uint32_t *clips, int count, struct augment_plan *plans,
                         struct augment_plan *device_plans, float *logits, struct error *e)
{
    const struct model *m = v->model;
    struct stream *s = v->stream;
    int32_t *length = xcalloc((size_t)count, sizeof *length);
    for (int i = 0; i < count; i++) {
        plans[i] = dataset_plain_plan(v->data, clips[i]);
        length[i] = plans[i].count;
    }
    struct feed feed;
    if (dataset_feed(v->data, plans, count, &feed, e)) {
        free(length);
        return -1;
    }
    s->op->upload(s, device_plans, plans, (size_t)count * sizeof *plans);
    queue(s, augment, .frames = feed.frames, .offset = feed.offset, .frame_count = feed.frame_count,
          .plan = device_plans, .views = count, .max_frames = m->config.max_len, .out = v->x);
    struct view view = view_build(
        v->views, s, &(struct view_input){.clips = count, .frames = m->config.max_len, .x = v->x, .length = length});
    free(length);
    model_forward(m, v->space, s, &view,
                  &(struct forward_mode){.constant_weights = v->constant_weights, .pulse = comm_pulse(v->comm)});
    s->op->download(s, logits, v->space->logits.data, (size_t)count * (size_t)m->config.classes * sizeof *logits);
    return s->op->synchronize(s, e);
}

static int forward_part(const struct evaluator *v, const uint32_t *clips, uint32_t count, float *logits,
                        struct error *e)
{
    struct backend *b = v->model->backend;
    size_t size = (size_t)v->clips * sizeof(struct augment_plan);
    struct augment_plan *device = b->op->allocate(b, size, e), *plans = xcalloc(1, size);
    int rc = device ? 0 : -1;
    for (uint32_t i = 0; i < count && !rc; i += (uint32_t)v->clips) {
        int n = count - i < (uint32_t)v->clips ? (int)(count - i) : v->clips;
        rc = forward_batch(v, clips + i, n, plans, device, logits + (size_t)i * (size_t)v->model->config.classes, e);
    }
    if (device)
        b->op->release(b, device);
    free(plans);
    return rc;
}

int evaluate_logits(const struct evaluator *v, const uint32_t *clips, uint32_t count, float **logits, struct error *e)
{
    uint32_t ranks = (uint32_t)comm_size(v->comm), rank = (uint32_t)comm_rank(v->comm);
    uint32_t from = (uint32_t)((uint64_t)count * rank / ranks), to = (uint32_t)((uint64_t)count * (rank + 1) / ranks);
    size_t row = (size_t)v->model->config.classes * sizeof(float);
    float *mine = xmalloc((to - from) * row + 1);
    void *all = NULL;
    size_t total;
    int failed = forward_part(v, clips + from, to - from, mine, e);
    int rc = comm_agree(v->comm, failed, e) ||
             comm_gather_variable(v->comm, mine, (to - from) * row, 0, &all, &total, NULL, e);
    free(mine);
    *logits = all;
    return rc ? -1 : 0;
}

void softmax_rows(float *v, size_t count, int classes)
{
    for (size_t i = 0; i < count; i++, v += classes) {
        float most = v[0];
        double sum = 0;
        for (int c = 1; c < classes; c++)
            most = v[c] > most ? v[c] : most;
        for (int c = 0; c < classes; c++)
            sum += v[c] = expf(v[c] - most);
        for (int c = 0; c < classes; c++)
            v[c] = (float)(v[c] / sum);
    }
}

struct figures evaluate_figures(const struct set *set, const uint32_t *clips, uint32_t count, const float *logits,
                                int classes)
{
    struct figures sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        const float *v = logits + (size_t)i * (size_t)classes;
        int label = set_clip(set, clips[i])->label, above = 0;
        double most = v[0], total = 0;
        for (int c = 0; c < classes; c++) {
            // Ties go to the lower class; what is not a number is above everything.
            above += c != label && (!(v[c] <= v[label]) || (v[c] == v[label] && c < label));
            most = v[c] > most ? v[c] : most;
        }
        for (int c = 0; c < classes; c++)
            total += exp(v[c] - most);
        sum.accuracy += above == 0;
        sum.top5 += above < 5;
        sum.loss += log(total) + most - v[label];
    }
    if (count)
        sum = (struct figures){sum.accuracy / count, sum.top5 / count, sum.loss / count};
    return sum;
}

int evaluate_model(const struct evaluator *v, const uint32_t *clips, uint32_t count, struct figures *out,
                   float **logits, struct error *e)
{
    float *all;
    if (evaluate_logits(v, clips, count, &all, e))
        return -1;
    if (comm_rank(v->comm) == 0)
        *out = evaluate_figures(v->data->set, clips, count, all, v->model->config.classes);
    if (logits)
        *logits = all;
    else
        free(all);
    return comm_broadcast(v->comm, out, sizeof *out, 0, e);
}
