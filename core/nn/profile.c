// Where a stream's time goes: see profile.h.
#include "core/nn/profile.h"

#include <string.h>

#include "core/base/clock.h"

const char *const profile_names[PROFILE_STAGES] = {
    "augment", "embed", "batchnorm", "rows", "linear", "attention", "layernorm", "mish", "loss", "optimizer", "copies"};

static struct profile *profile_of(struct stream *s)
{
    return (struct profile *)(uintptr_t)s->op;
}

static void stop(struct stream *s, enum profile_stage stage, double began)
{
    struct profile *p = profile_of(s);
    p->inner->synchronize(s, NULL); // a fault is kept by the device and reported at the caller's own synchronize
    p->seconds[stage] += clock_seconds() - began;
}

#define TIMED(stage, name)                                                                                             \
    static void time_##name(struct stream *s, const struct name *a)                                                    \
    {                                                                                                                  \
        double began = clock_seconds();                                                                                \
        profile_of(s)->inner->name(s, a);                                                                              \
        stop(s, stage, began);                                                                                         \
    }

#define TIMED_OPERATIONS(X)                                                                                            \
    X(PROFILE_LINEAR, linear_forward)                                                                                  \
    X(PROFILE_LINEAR, linear_backward_input)                                                                           \
    X(PROFILE_LINEAR, linear_backward_weight)                                                                          \
    X(PROFILE_EMBED, embed_forward)                                                                                    \
    X(PROFILE_EMBED, embed_backward)                                                                                   \
    X(PROFILE_BATCHNORM, batchnorm_forward)                                                                            \
    X(PROFILE_BATCHNORM, batchnorm_backward)                                                                           \
    X(PROFILE_ROWS, maximum_forward)                                                                                   \
    X(PROFILE_ROWS, maximum_backward)                                                                                  \
    X(PROFILE_ROWS, pack_rows)                                                                                         \
    X(PROFILE_ROWS, unpack_rows)                                                                                       \
    X(PROFILE_ROWS, mixup_forward)                                                                                     \
    X(PROFILE_ROWS, mixup_backward)                                                                                    \
    X(PROFILE_ROWS, mean_forward)                                                                                      \
    X(PROFILE_ROWS, mean_backward)                                                                                     \
    X(PROFILE_LAYERNORM, layernorm_forward)                                                                            \
    X(PROFILE_LAYERNORM, layernorm_backward)                                                                           \
    X(PROFILE_MISH, mish_forward)                                                                                      \
    X(PROFILE_MISH, mish_backward)                                                                                     \
    X(PROFILE_ATTENTION, attention_forward)                                                                            \
    X(PROFILE_ATTENTION, attention_backward)                                                                           \
    X(PROFILE_LOSS, loss_forward_backward)                                                                             \
    X(PROFILE_OPTIMIZER, sum_squares)                                                                                  \
    X(PROFILE_OPTIMIZER, add_squares)                                                                                  \
    X(PROFILE_OPTIMIZER, adamw)                                                                                        \
    X(PROFILE_OPTIMIZER, pack_blocks)                                                                                  \
    X(PROFILE_OPTIMIZER, unpack_blocks)                                                                                \
    X(PROFILE_OPTIMIZER, update_scale)                                                                                 \
    X(PROFILE_OPTIMIZER, sum_ranks)                                                                                    \
    X(PROFILE_COPIES, convert)                                                                                         \
    X(PROFILE_AUGMENT, augment)

TIMED_OPERATIONS(TIMED)

static double product(struct mat a, int columns)
{
    return 2.0 * a.rows * a.columns * columns;
}

static void count_linear_forward(struct stream *s, const struct linear_forward *a)
{
    profile_of(s)->flops += product(a->x, a->y.columns);
    time_linear_forward(s, a);
}

static void count_linear_backward_input(struct stream *s, const struct linear_backward_input *a)
{
    profile_of(s)->flops += product(a->dy, a->dx.columns);
    time_linear_backward_input(s, a);
}

static void count_linear_backward_weight(struct stream *s, const struct linear_backward_weight *a)
{
    profile_of(s)->flops += product(a->dy, a->x.columns);
    time_linear_backward_weight(s, a);
}

static void time_copy(struct stream *s, void *to, const void *from, size_t size)
{
    double began = clock_seconds();
    profile_of(s)->inner->copy(s, to, from, size);
    stop(s, PROFILE_COPIES, began);
}

static void time_zero(struct stream *s, void *p, size_t size)
{
    double began = clock_seconds();
    profile_of(s)->inner->zero(s, p, size);
    stop(s, PROFILE_COPIES, began);
}

void profile_begin(struct profile *p, struct stream *s)
{
    memset(p, 0, sizeof *p);
    p->inner = s->op;
    p->ops = *s->op;
#define PUT(stage, name) p->ops.name = time_##name;
    TIMED_OPERATIONS(PUT)
#undef PUT
    p->ops.linear_forward = count_linear_forward;
    p->ops.linear_backward_input = count_linear_backward_input;
    p->ops.linear_backward_weight = count_linear_backward_weight;
    p->ops.copy = time_copy;
    p->ops.zero = time_zero;
    p->ops.record_begin = NULL; // what is replayed could not be told apart
    s->op = &p->ops;
}

void profile_end(struct profile *p, struct stream *s)
{
    s->op = p->inner;
}
