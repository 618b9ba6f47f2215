// A model's weights as a safetensors file: see checkpoint.h.
#include "core/train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/memory.h"
#include "core/ckpt/safetensors.h"

void checkpoint_create(struct checkpoint *c, const struct model_config *config)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    layout_make(&c->layout, config);
    c->parameters = xcalloc(c->layout.size, sizeof *c->parameters);
    c->buffers = xcalloc(c->layout.buffer_size, sizeof *c->buffers);
}

void checkpoint_destroy(struct checkpoint *c)
{
    for (int i = 0; c->signs && i < c->config.classes; i++)
        free(c->signs[i]);
    free(c->signs);
    free(c->parameters);
    free(c->buffers);
    free(c->origin);
    free(c->job_hash);
    memset(c, 0, sizeof *c);
}

void checkpoint_set_signs(struct checkpoint *c, const char *(*name)(const void *context, int i), const void *context)
{
    c->signs = xcalloc((size_t)c->config.classes, sizeof *c->signs);
    for (int i = 0; i < c->config.classes; i++)
        c->signs[i] = xstrdup(name(context, i));
}

// ---- writing --------------------------------------------------------------------------------------------------------

static char *signs_json(const struct checkpoint *c)
{
    json_t *array = json_array();
    for (int i = 0; i < c->config.classes; i++)
        json_array_append_new(array, json_string(c->signs[i]));
    char *text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return text;
}

static struct tensor file_tensor(const struct layout_entry *t, const float *flat)
{
    struct tensor out = {
        .name = t->name, .type = TENSOR_F32, .dims = t->dims, .count = t->count, .data = flat + t->offset};
    for (int i = 0; i < t->dims; i++)
        out.shape[i] = t->shape[i];
    return out;
}

int checkpoint_write(const struct checkpoint *c, const char *path, struct error *e)
{
    const struct layout *l = &c->layout;
    struct tensor tensors[MAX_TENSORS + 2 * (PARTS + 1)];
    size_t count = 0, pairs = 0;
    for (int i = 0; i < l->parameter_count; i++)
        tensors[count++] = file_tensor(&l->parameters[i], c->parameters);
    for (int i = 0; i < l->buffer_count; i++)
        tensors[count++] = file_tensor(&l->buffers[i], c->buffers);
    char sizes[256];
    snprintf(sizes, sizeof sizes,
             "{\"embed_dim\":%d,\"dense_dim\":%d,\"widths\":[%d,%d,%d,%d],\"heads\":%d,\"max_len\":%d,\"classes\":%d}",
             EMBED_DIM, c->config.dense_dim, c->config.widths[0], c->config.widths[1], c->config.widths[2],
             c->config.widths[3], c->config.heads, c->config.max_len, c->config.classes);
    char *signs = c->signs ? signs_json(c) : NULL;
    struct metadata_pair metadata[5];
    metadata[pairs++] = (struct metadata_pair){"format", "pt"};
    metadata[pairs++] = (struct metadata_pair){"islr.model", sizes};
    if (signs)
        metadata[pairs++] = (struct metadata_pair){"islr.signs", signs};
    if (c->origin)
        metadata[pairs++] = (struct metadata_pair){"islr.origin", c->origin};
    if (c->job_hash)
        metadata[pairs++] = (struct metadata_pair){"islr.job_sha256", c->job_hash};
    int rc = safetensors_write(path, tensors, count, metadata, pairs, e);
    free(signs);
    return rc;
}

// ---- reading --------------------------------------------------------------------------------------------------------

// Dimension `axis` of a tensor that every model has.
static int dimension(const struct safetensors *file, const char *path, const char *name, int axis, int *out,
                     struct error *e)
{
    const struct tensor *t = safetensors_find(file, name);
    if (!t)
        return error_set(e, ERR_DAMAGED, "%s: tensor %s is missing: this is no checkpoint of an islr model", path,
                         name);
    if (t->dims <= axis || t->shape[axis] > 1 << 20)
        return error_set(e, ERR_DAMAGED, "%s: tensor %s has a shape that no islr model has", path, name);
    *out = (int)t->shape[axis];
    return 0;
}

// The file's sizes; heads too if it says how many, else they are the caller's, and so is the fault if they do not fit.
static int check_sizes(const struct model_config *c, const struct safetensors *file, struct error *e)
{
    struct model_config sizes = *c;
    sizes.heads = 1;
    int damaged = model_config_check(&sizes, e);
    if (!damaged && !model_config_check(c, e))
        return 0;
    if (e && (damaged || safetensors_metadata(file, "islr.model")))
        e->code = ERR_DAMAGED;
    return -1;
}

static int config_from_shapes(const struct safetensors *file, const char *path, struct model_config *c, struct error *e)
{
    int relative = 0;
    if (dimension(file, path, "left_hand_mlp.0.weight", 0, &c->dense_dim, e) ||
        dimension(file, path, "landmark_mlp.0.weight", 0, &c->widths[0], e) ||
        dimension(file, path, "frame_transformer_1.layer.0.output.dense.weight", 0, &c->widths[1], e) ||
        dimension(file, path, "frame_transformer_2.layer.0.output.dense.weight", 0, &c->widths[2], e) ||
        dimension(file, path, "frame_transformer_3.layer.0.output.dense.weight", 0, &c->widths[3], e) ||
        dimension(file, path, "frame_transformer_1.rel_embeddings.weight", 0, &relative, e) ||
        dimension(file, path, "logits.weight", 0, &c->classes, e))
        return -1;
    c->max_len = relative / 2;
    if (check_sizes(c, file, e))
        return error_prefix(e, "%s", path);
    return 0;
}

static int read_heads(const struct safetensors *file, const char *path, int *heads, struct error *e)
{
    const char *text = safetensors_metadata(file, "islr.model");
    if (!text)
        return 0;
    json_t *root = json_loads(text, 0, NULL);
    const json_t *value = json_object_get(root, "heads");
    int ok = json_is_integer(value) && json_integer_value(value) > 0 && json_integer_value(value) <= 64;
    if (ok)
        *heads = (int)json_integer_value(value);
    json_decref(root);
    return ok ? 0 : error_set(e, ERR_DAMAGED, "%s: metadata islr.model does not say how many heads there are", path);
}

static int read_signs(struct checkpoint *c, const struct safetensors *file, const char *path, struct error *e)
{
    const char *text = safetensors_metadata(file, "islr.signs");
    if (!text)
        return 0;
    json_t *root = json_loads(text, 0, NULL);
    int ok = json_is_array(root) && json_array_size(root) == (size_t)c->config.classes;
    for (int i = 0; ok && i < c->config.classes; i++)
        ok = json_is_string(json_array_get(root, (size_t)i));
    if (ok) {
        c->signs = xcalloc((size_t)c->config.classes, sizeof *c->signs);
        for (int i = 0; i < c->config.classes; i++)
            c->signs[i] = xstrdup(json_string_value(json_array_get(root, (size_t)i)));
    }
    json_decref(root);
    return ok ? 0
              : error_set(e, ERR_DAMAGED, "%s: metadata islr.signs is not a list of %d names", path, c->config.classes);
}

static int read_tensor(const struct safetensors *file, const char *path, const struct layout_entry *want, float *flat,
                       struct error *e)
{
    const struct tensor *t = safetensors_find(file, want->name);
    if (!t)
        return error_set(e, ERR_DAMAGED, "%s: tensor %s is missing", path, want->name);
    int same = t->dims == want->dims;
    for (int i = 0; same && i < t->dims; i++)
        same = t->shape[i] == want->shape[i];
    if (!same) {
        char text[128];
        return error_set(e, ERR_DAMAGED, "%s: tensor %s is %s, which does not fit the other tensors", path, want->name,
                         tensor_shape_text(t, text));
    }
    tensor_to_f32(t, flat + want->offset);
    for (size_t i = 0; i < want->count; i++)
        if (!isfinite(flat[want->offset + i]))
            return error_set(e, ERR_DAMAGED, "%s: tensor %s holds a value that is not finite", path, want->name);
    for (int i = 0; want->init == INIT_PADDED && i < want->shape[1]; i++)
        if (flat[want->offset + (size_t)i] != 0)
            return error_set(e, ERR_DAMAGED, "%s: row 0 of %s is padding and must be zero", path, want->name);
    return 0;
}

static int read_all(struct checkpoint *c, const struct safetensors *file, const char *path, struct error *e)
{
    const struct layout *l = &c->layout;
    for (int i = 0; i < l->parameter_count; i++)
        if (read_tensor(file, path, &l->parameters[i], c->parameters, e))
            return -1;
    for (int i = 0; i < l->buffer_count; i++)
        if (read_tensor(file, path, &l->buffers[i], c->buffers, e))
            return -1;
    for (size_t i = 0; i < file->count; i++) {
        int is_buffer;
        if (!layout_find(l, file->tensors[i].name, &is_buffer))
            return error_set(e, ERR_DAMAGED, "%s: tensor %s is not of an islr model", path, file->tensors[i].name);
    }
    return 0;
}

static char *copy_metadata(const struct safetensors *file, const char *key)
{
    const char *value = safetensors_metadata(file, key);
    return value ? xstrdup(value) : NULL;
}

int checkpoint_read(struct checkpoint *c, const char *path, int heads, struct error *e)
{
    struct safetensors file;
    struct model_config config = {.heads = heads};
    memset(c, 0, sizeof *c);
    if (safetensors_open(path, &file, e))
        return -1;
    int rc = read_heads(&file, path, &config.heads, e) || config_from_shapes(&file, path, &config, e) ? -1 : 0;
    if (!rc) {
        checkpoint_create(c, &config);
        rc = read_all(c, &file, path, e) || read_signs(c, &file, path, e) ? -1 : 0;
    }
    if (!rc) {
        c->origin = copy_metadata(&file, "islr.origin");
        c->job_hash = copy_metadata(&file, "islr.job_sha256");
    } else {
        checkpoint_destroy(c);
    }
    safetensors_close(&file);
    return rc;
}

int checkpoint_compatible(const struct checkpoint *x, const struct checkpoint *y, const char *a, const char *b,
                          struct error *e)
{
    const struct model_config *p = &x->config, *q = &y->config;
    if (p->dense_dim != q->dense_dim || memcmp(p->widths, q->widths, sizeof p->widths) || p->heads != q->heads ||
        p->max_len != q->max_len || p->classes != q->classes)
        return error_set(e, ERR_INVALID, "%s and %s are models of different sizes", a, b);
    for (int i = 0; x->signs && y->signs && i < p->classes; i++)
        if (strcmp(x->signs[i], y->signs[i]))
            return error_set(e, ERR_INVALID, "%s and %s were trained on different signs: class %d is '%s' and '%s'", a,
                             b, i, x->signs[i], y->signs[i]);
    return 0;
}
