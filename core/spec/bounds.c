// What each field may hold: see bounds.h.
#include "core/spec/bounds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/field.h"

const struct bound bounds[] = {
    {"data.k", 0, 1000}, // 0: as many as the fold file has (rules.c)
    {"data.fold_seed", 0, 18446744073709551615.0},
    {"model.embed_dim", 16, 16}, // the kernels' (kernels/backend.h: EMBED_DIM)
    {"model.dense_dim", 16, 8192},
    {"model.transfo_dim", 16, 8192},
    {"model.heads", 1, 64},
    {"model.max_len", 5, 512},
    {"model.widths", 16, 8192},
    {"model.dropout_mlp", 0, 1, .below = true},
    {"model.dropout_landmark", 0, 1, .below = true},
    {"model.dropout_encoders", 0, 1, .below = true},
    {"distill.dense_dim", 16, 8192},
    {"distill.transfo_dim", 16, 8192},
    {"distill.widths", 16, 8192},
    {"distill.dropout_mlp", 0, 1, .below = true},
    {"distill.dropout_landmark", 0, 1, .below = true},
    {"distill.dropout_encoders", 0, 1, .below = true},
    {"distill.eval_mode_from", 0, 1},
    {"teacher.ema", 0, 1},
    {"teacher.consistency", 0, 1000},
    {"teacher.rampup", 0, 1},
    {"train.epochs", 1, 100000},
    {"train.steps", 0, 1000000000},
    {"train.batch", 1, 65536},
    {"train.group", 1, 4096},
    {"train.lr", 0, 10},
    {"train.betas", 0, 1, .below = true},
    {"train.eps", 0, 1, .above = true},
    {"train.warmup", 0, 1},
    {"train.weight_decay", 0, 100},
    {"train.clip", 0, 1e9, .above = true},
    {"train.smoothing", 0, 1, .below = true},
    {"train.ousm", 0, 4095},
    {"train.seed", 0, 18446744073709551615.0},
    {"train.eval_every", 0, 100000, .above = true},
    {"train.eval_steps", 0, 1000000000},
    {"augment.face_cutmix.p", 0, 1},
    {"augment.face_cutmix.until", 0, 1},
    {"augment.fill_hand.p", 0, 1},
    {"augment.fill_hand.until", 0, 1},
    {"augment.interpolate.p", 0, 1},
    {"augment.flip.p", 0, 1},
    {"augment.rotate.p", 0, 1},
    {"augment.rotate.degrees", 0, 180},
    {"augment.crop.p", 0, 1},
    {"augment.crop.share", 0, 1, .below = true},
    {"augment.crop.p_late", -1, 1},
    {"augment.scale.p", 0, 1},
    {"augment.scale.range", 0, 1, .below = true},
    {"augment.distort.p", 0, 1},
    {"augment.distort.range", 0, 1, .below = true},
    {"mixup.p", 0, 1},
    {"mixup.alpha", 0, 100, .above = true},
    {"checkpoint.resume_minutes", 0, 10080},
    {"checkpoint.soup_last", 0, BOUND_SOUP_MAX},
    {"checkpoint.keep_latest", 0, 100000},
    {"checkpoint.keep_best", 0, 16}, // core/train/state.h: STATE_BEST_MAX
    {"resources.ranks", 0, 65536},
    {"resources.min_ranks", 1, 65536},
    {"retry.max_attempts", 1, 1000},
    {"limits.minutes", 0, 10000000},
    {NULL},
};

const struct choice choices[] = {
    {"method", "uniform | greedy"},
    {"format", "onnx | tflite"},
    {NULL},
};

const struct bound *bound_find(const char *field)
{
    size_t n = strcspn(field, "[");
    for (const struct bound *l = bounds; l->field; l++)
        if (*l->field == *field && !strncmp(l->field, field, n) && !l->field[n])
            return l;
    return NULL;
}

const struct choice *choice_find(const char *field)
{
    for (const struct choice *c = choices; c->field; c++)
        if (!strcmp(c->field, field))
            return c;
    return NULL;
}

static bool is_within(const struct bound *l, double v)
{
    return v >= l->min && v <= l->max && !(l->above && v == l->min) && !(l->below && v == l->max);
}

bool bound_lost(const struct bound *l, double v)
{
    if (!l || !is_within(l, v))
        return false;
    return (l->above && ((float)v <= l->min || fpclassify((float)v) == FP_SUBNORMAL)) || // which may be flushed to 0
           (l->below && (float)v >= l->max);
}

bool bound_allows(const struct bound *l, double v)
{
    if (!isfinite(v) || fpclassify(v) == FP_SUBNORMAL) // neither reads back (strtod() reports the latter)
        return false;
    return !l || (is_within(l, v) && !bound_lost(l, v));
}

static char *number_text(const char *what, const struct bound *l)
{
    if (!l)
        return xstrdup(what);
    if (l->min == l->max)
        return xprintf("%.15g", l->min);
    if (l->max >= 18446744073709551615.0)
        return xprintf("%s from 0 to 18446744073709551615", what);
    if (l->above)
        return xprintf("%s above %.15g, %s %.15g", what, l->min, l->below ? "below" : "up to", l->max);
    return xprintf("%s from %.15g %s %.15g", what, l->min, l->below ? "to below" : "to", l->max);
}

char *bound_text(const ProtobufCFieldDescriptor *descriptor, const char *field)
{
    const struct choice *choice = choice_find(field);
    switch (descriptor->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        return number_text("a whole number", bound_find(field));
    case PROTOBUF_C_TYPE_DOUBLE:
        return number_text("a number", bound_find(field));
    case PROTOBUF_C_TYPE_BOOL:
        return xstrdup("true | false");
    case PROTOBUF_C_TYPE_ENUM:
        return field_enum_names(descriptor->descriptor);
    case PROTOBUF_C_TYPE_MESSAGE:
        return xstrdup("a map of fields");
    default:
        return xstrdup(choice ? choice->names : "text");
    }
}
