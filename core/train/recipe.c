// From a resolved job to what the engine takes: see recipe.h.
#include "core/train/recipe.h"

#include <string.h>

#include "core/spec/spec.h"

static void set_widths(struct model_config *c, uint32_t transfo_dim, const uint32_t *given, size_t n)
{
    uint32_t widths[ENCODERS + 1];
    spec_widths(transfo_dim, given, n, widths);
    for (int i = 0; i <= ENCODERS; i++)
        c->widths[i] = (int)widths[i];
}

struct model_config recipe_student(const Islr__JobSpec *job, int classes)
{
    const Islr__Model *m = job->model;
    struct model_config c = {.dense_dim = (int)m->dense_dim,
                             .heads = (int)m->heads,
                             .max_len = (int)m->max_len,
                             .classes = classes,
                             .dropout_mlp = (float)m->dropout_mlp,
                             .dropout_landmark = (float)m->dropout_landmark};
    set_widths(&c, m->transfo_dim, m->widths, m->n_widths);
    for (int i = 0; i < ENCODERS; i++)
        c.dropout_encoders[i] = (float)m->dropout_encoders[i];
    return c;
}

struct model_config recipe_distilled(const Islr__JobSpec *job, int classes)
{
    const Islr__Distill *d = job->distill;
    struct model_config c = {.dense_dim = (int)d->dense_dim,
                             .heads = (int)job->model->heads,
                             .max_len = (int)job->model->max_len,
                             .classes = classes,
                             .dropout_mlp = (float)d->dropout_mlp,
                             .dropout_landmark = (float)d->dropout_landmark};
    set_widths(&c, d->transfo_dim, d->widths, d->n_widths);
    for (int i = 0; i < ENCODERS; i++)
        c.dropout_encoders[i] = (float)d->dropout_encoders[i];
    return c;
}

int recipe_type(Islr__Train__Precision precision, struct backend *backend, enum dtype *type, struct error *e)
{
    struct device_info info;
    backend->op->describe(backend, &info);
    switch (precision) {
    case ISLR__TRAIN__PRECISION__PRECISION_FP32:
        *type = DTYPE_F32;
        return 0;
    case ISLR__TRAIN__PRECISION__PRECISION_BF16:
        if (!info.has_bf16 && strcmp(backend->op->kind, "cpu"))
            return error_set(e, ERR_INVALID,
                             "train.precision is bf16: %s does not have it; fp16 and auto train in fp16 there",
                             info.name);
        *type = DTYPE_BF16;
        return 0;
    case ISLR__TRAIN__PRECISION__PRECISION_FP16:
        if (!strcmp(backend->op->kind, "cpu"))
            return error_set(e, ERR_INVALID, "train.precision is fp16: the CPU trains in fp32 or bf16");
        *type = DTYPE_F16;
        return 0;
    default:
        *type = info.has_bf16 ? DTYPE_BF16 : strcmp(backend->op->kind, "cpu") ? DTYPE_F16 : DTYPE_F32;
        return 0;
    }
}

const char *dtype_name(enum dtype type)
{
    return type == DTYPE_F32 ? "fp32" : type == DTYPE_BF16 ? "bf16" : "fp16";
}
