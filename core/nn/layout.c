// Where every tensor of a model lies: see layout.h.
#include "core/nn/layout.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/random.h"

static struct layout_entry *place(struct layout_entry *t, size_t *size, int dims, const int *shape)
{
    t->dims = dims;
    t->count = 1;
    for (int i = 0; i < dims; i++) {
        t->shape[i] = shape[i];
        t->count *= (size_t)shape[i];
    }
    t->offset = *size;
    *size += (t->count + PARAMETER_ALIGN - 1) / PARAMETER_ALIGN * PARAMETER_ALIGN;
    return t;
}

// The published exclusions from weight decay: names with "bias" or "LayerNorm.weight" in them.
static int decays(const char *name)
{
    return !strstr(name, "bias") && !strstr(name, "LayerNorm.weight");
}

// Adds the parameter prefix + suffix; `bound` is used by INIT_UNIFORM alone.
static int add(struct layout *l, const char *prefix, const char *suffix, enum tensor_init init, double bound, int dims,
               int s0, int s1, int s2)
{
    int shape[3] = {s0, s1, s2};
    struct layout_entry *t = place(&l->parameters[l->parameter_count], &l->size, dims, shape);
    snprintf(t->name, sizeof t->name, "%s%s", prefix, suffix);
    t->decay = (uint8_t)decays(t->name);
    t->init = init;
    t->bound = (float)bound;
    l->scalar_count += t->count;
    return l->parameter_count++;
}

static int add_buffer(struct layout *l, const char *prefix, const char *suffix, enum tensor_init init, int size)
{
    struct layout_entry *t = place(&l->buffers[l->buffer_count], &l->buffer_size, 1, &size);
    snprintf(t->name, sizeof t->name, "%s%s", prefix, suffix);
    t->init = init;
    return l->buffer_count++;
}

static void add_linear(struct layout *l, const char *prefix, int out, int in, int *weight, int *bias)
{
    double bound = 1 / sqrt(in);
    *weight = add(l, prefix, ".weight", INIT_UNIFORM, bound, 2, out, in, 0);
    *bias = add(l, prefix, ".bias", INIT_UNIFORM, bound, 1, out, 0, 0);
}

static void add_norm(struct layout *l, const char *prefix, int size, int *weight, int *bias)
{
    *weight = add(l, prefix, ".weight", INIT_ONE, 0, 1, size, 0, 0);
    *bias = add(l, prefix, ".bias", INIT_ZERO, 0, 1, size, 0, 0);
    l->parameters[*weight].exact = l->parameters[*bias].exact = 1;
}

static void add_mlp(struct layout *l, const char *name, int out, int in, struct mlp_tensors *t)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.0", name);
    add_linear(l, prefix, out, in, &t->weight, &t->bias);
    snprintf(prefix, sizeof prefix, "%s.1", name);
    add_norm(l, prefix, out, &t->norm_weight, &t->norm_bias);
    t->mean = add_buffer(l, prefix, ".running_mean", INIT_ZERO, out);
    t->var = add_buffer(l, prefix, ".running_var", INIT_ONE, out);
}

static void add_embedding_stage(struct layout *l)
{
    const int e = EMBED_DIM;
    l->type_embed = add(l, "type_embed", ".weight", INIT_PADDED, 0, 2, LANDMARK_TYPES, e, 0);
    add_norm(l, "type_norm", e, &l->type_norm_weight, &l->type_norm_bias);
    l->landmark_embed = add(l, "landmark_embed", ".weight", INIT_PADDED, 0, 2, LANDMARKS + 1, e, 0);
    add_norm(l, "landmark_norm", e, &l->landmark_norm_weight, &l->landmark_norm_bias);
    l->conv0 = add(l, "pos_cnn.0", ".weight", INIT_UNIFORM, 1 / sqrt(3 * 5), 3, 8, 3, 5);
    l->conv1 = add(l, "pos_cnn.1", ".weight", INIT_UNIFORM, 1 / sqrt(8 * 5), 3, 16, 8, 5);
    add_linear(l, "pos_dense", e, 3 + 16, &l->pos_dense_weight, &l->pos_dense_bias);
    add_linear(l, "dense", e, 3 * e, &l->dense_weight, &l->dense_bias);
    for (int i = 0; i < l->parameter_count; i++)
        l->parameters[i].exact = 1;
}

static void add_encoder(struct layout *l, int number, int max_len, int h, int out, struct encoder_tensors *t)
{
    static const char *const projections[] = {"query_proj", "key_proj", "value_proj"};
    int *const weights[] = {&t->query_weight, &t->key_weight, &t->value_weight};
    int *const biases[] = {&t->query_bias, &t->key_bias, &t->value_bias};
    char prefix[32], name[72];
    snprintf(prefix, sizeof prefix, "frame_transformer_%d.", number);
    t->rel = add(l, prefix, "rel_embeddings.weight", INIT_NORMAL, 0, 2, 2 * max_len, h, 0);
    snprintf(name, sizeof name, "%sLayerNorm", prefix);
    add_norm(l, name, h, &t->rel_norm_weight, &t->rel_norm_bias);
    double bound = 1 / sqrt(h);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%slayer.0.attention.self.%s", prefix, projections[i]);
        *weights[i] = add(l, name, ".weight", INIT_UNIFORM, bound, 2, h, h, 0);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%slayer.0.attention.self.%s", prefix, projections[i]);
        *biases[i] = add(l, name, ".bias", INIT_UNIFORM, bound, 1, h, 0, 0);
    }
    snprintf(name, sizeof name, "%slayer.0.attention.output.dense", prefix);
    add_linear(l, name, h, h, &t->attention_weight, &t->attention_bias);
    snprintf(name, sizeof name, "%slayer.0.attention.output.LayerNorm", prefix);
    add_norm(l, name, h, &t->attention_norm_weight, &t->attention_norm_bias);
    snprintf(name, sizeof name, "%slayer.0.intermediate.dense", prefix);
    add_linear(l, name, h, h, &t->intermediate_weight, &t->intermediate_bias);
    snprintf(name, sizeof name, "%slayer.0.output.dense", prefix);
    add_linear(l, name, out, h, &t->output_weight, &t->output_bias);
    snprintf(name, sizeof name, "%slayer.0.output.LayerNorm", prefix);
    add_norm(l, name, out, &t->output_norm_weight, &t->output_norm_bias);
}

void layout_make(struct layout *l, const struct model_config *c)
{
    static const struct {
        const char *name;
        int points;
    } parts[PARTS] = {[PART_LEFT] = {"left_hand_mlp", HAND_POINTS},
                      [PART_RIGHT] = {"right_hand_mlp", HAND_POINTS},
                      [PART_LIPS] = {"lips_mlp", LIPS_POINTS},
                      [PART_FACE] = {"face_mlp", FACE_POINTS},
                      [PART_FULL] = {"full_mlp", LANDMARKS}};
    memset(l, 0, sizeof *l);
    add_embedding_stage(l);
    for (int p = 0; p < PARTS; p++)
        add_mlp(l, parts[p].name, c->dense_dim, parts[p].points * EMBED_DIM, &l->part[p]);
    add_mlp(l, "landmark_mlp", c->widths[0], 4 * c->dense_dim, &l->landmark);
    for (int i = 0; i < ENCODERS; i++)
        add_encoder(l, i + 1, c->max_len, c->widths[i], c->widths[i + 1], &l->encoder[i]);
    add_linear(l, "logits", c->classes, c->widths[ENCODERS], &l->logits_weight, &l->logits_bias);
}

const struct layout_entry *layout_find(const struct layout *l, const char *name, int *is_buffer)
{
    *is_buffer = 0;
    for (int i = 0; i < l->parameter_count; i++)
        if (!strcmp(l->parameters[i].name, name))
            return &l->parameters[i];
    *is_buffer = 1;
    for (int i = 0; i < l->buffer_count; i++)
        if (!strcmp(l->buffers[i].name, name))
            return &l->buffers[i];
    return NULL;
}

static void initialise(const struct layout_entry *t, struct rng r, float *v)
{
    for (size_t i = 0; i < t->count; i++) {
        switch (t->init) {
        case INIT_UNIFORM:
            v[i] = (float)((2 * rng_uniform_double(&r) - 1) * t->bound);
            break;
        case INIT_NORMAL:
            v[i] = (float)rng_normal(&r);
            break;
        case INIT_PADDED:
            v[i] = i < (size_t)t->shape[1] ? 0 : (float)rng_normal(&r);
            break;
        case INIT_ONE:
            v[i] = 1;
            break;
        case INIT_ZERO:
            v[i] = 0;
            break;
        }
    }
}

void layout_initialise(const struct layout *l, uint64_t seed, uint32_t stream, float *parameters, float *buffers)
{
    memset(parameters, 0, l->size * sizeof *parameters);
    memset(buffers, 0, l->buffer_size * sizeof *buffers);
    for (int i = 0; i < l->parameter_count; i++)
        initialise(&l->parameters[i], rng_make(seed, RNG_INIT, stream, (uint32_t)i, 0),
                   parameters + l->parameters[i].offset);
    for (int i = 0; i < l->buffer_count; i++)
        initialise(&l->buffers[i], rng_make(seed, RNG_INIT, stream, (uint32_t)i, 1), buffers + l->buffers[i].offset);
}

void layout_decay(const struct layout *l, uint8_t *decay)
{
    memset(decay, 0, l->size / PARAMETER_ALIGN);
    for (int i = 0; i < l->parameter_count; i++) {
        const struct layout_entry *t = &l->parameters[i];
        if (t->decay)
            memset(decay + t->offset / PARAMETER_ALIGN, 1, (t->count + PARAMETER_ALIGN - 1) / PARAMETER_ALIGN);
    }
}
