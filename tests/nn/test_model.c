// A whole model against PyTorch: logits in evaluation and training mode, losses, every parameter's gradient, BatchNorm's
// buffers, with padding, groups and manifold mixup. Argument: a golden file (tests/golden/README.md) and the type of the
// computation; bf16 is held to its logits alone.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/nn/model.h"
#include "tests/kernels/device.h"
#include "tests/nn/filler.h"
#include "tests/nn/golden.h"

static const double fp32_tolerance = 1e-4, bf16_tolerance = 2e-2;

struct rig {
    struct golden golden;
    struct backend *backend;
    struct stream *stream;
    enum dtype type;
    double tolerance;
    struct model model;
    struct workspace space;
    struct backward_space backward;
    struct view_buffer views;
    int clips;
    int32_t *length, *label, *partner, *layer;
    float *coefficient, *parameters, *buffers, *gradient, *logits;
    float *x; // device
    // device
    float *dgradient, *teacher, *losses, *dcoefficient;
    int32_t *dlabel;
    struct step_scalars *scalars;
    struct mat dlogits;
};

static void die(const struct error *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static void *device(struct rig *r, size_t size)
{
    struct error e = {0};
    void *p = r->backend->op->allocate(r->backend, size, &e);
    if (!p)
        die(&e);
    return p;
}

static void *device_copy(struct rig *r, const void *host, size_t size)
{
    void *p = device(r, size);
    r->stream->op->upload(r->stream, p, host, size);
    return p;
}

static void synchronize(struct rig *r)
{
    struct error e = {0};
    if (r->stream->op->synchronize(r->stream, &e))
        die(&e);
}

static void create(struct rig *r, const char *path, enum dtype type)
{
    struct error e = {0};
    golden_open(&r->golden, path);
    struct model_config config = golden_config(&r->golden, "sizes");
    json_t *lengths = golden_json(&r->golden, "lengths"), *weight = golden_json(&r->golden, "weight");
    r->type = type;
    r->tolerance = type == DTYPE_F32 ? fp32_tolerance : bf16_tolerance;
    r->clips = (int)json_array_size(lengths);
    size_t n = (size_t)r->clips, classes = (size_t)config.classes;
    r->backend = test_device_open(0, &e);
    if (!r->backend || !(r->stream = r->backend->op->stream_create(r->backend, &e)) ||
        model_create(&r->model, r->backend, &config, type, 0, &e) ||
        workspace_create(&r->space, &r->model, r->clips, 1, &e) ||
        backward_space_create(&r->backward, r->backend, backward_space_size(&r->model, r->clips), &e) ||
        view_buffer_create(&r->views, r->backend, r->clips, config.max_len, &e))
        die(&e);
    const struct layout *l = &r->model.layout;
    r->parameters = xcalloc(l->size, sizeof(float));
    r->gradient = xcalloc(l->size, sizeof(float));
    r->buffers = xcalloc(l->buffer_size, sizeof(float));
    r->length = xcalloc(n, sizeof(int32_t));
    r->label = xcalloc(n, sizeof(int32_t));
    r->partner = xcalloc(n, sizeof(int32_t));
    r->layer = xcalloc(n, sizeof(int32_t));
    r->coefficient = xcalloc(n, sizeof(float));
    r->logits = xcalloc(n * classes, sizeof(float));
    for (int i = 0; i < r->clips; i++)
        r->length[i] = (int32_t)json_integer_value(json_array_get(lengths, (size_t)i));
    filler_labels("batch", r->clips, config.classes, r->label);
    r->dlabel = device_copy(r, r->label, n * sizeof(int32_t));
    filler_teacher("batch", r->clips, config.classes, r->logits);
    r->teacher = device_copy(r, r->logits, n * classes * sizeof(float));
    struct step_scalars scalars = {.step = 1, .consistency = (float)json_number_value(weight), .loss_scale = 1};
    r->scalars = device_copy(r, &scalars, sizeof scalars);
    r->x = device(r, n * (size_t)config.max_len * LANDMARKS * 3 * sizeof(float));
    r->dgradient = device(r, l->size * sizeof(float));
    r->losses = device(r, n * 3 * sizeof(float));
    r->dcoefficient = device(r, n * sizeof(float));
    r->dlogits =
        (struct mat){device(r, n * classes * dtype_size(type)), type, r->clips, config.classes, config.classes};
    json_decref(lengths);
    json_decref(weight);
}

static void destroy(struct rig *r)
{
    void *const host[] = {r->parameters, r->gradient, r->buffers,     r->length, r->label,
                          r->partner,    r->layer,    r->coefficient, r->logits};
    void *const mine[] = {r->x,      r->dgradient, r->teacher,     r->losses, r->dcoefficient,
                          r->dlabel, r->scalars,   r->dlogits.data};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        free(host[i]);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        r->backend->op->release(r->backend, mine[i]);
    view_buffer_destroy(&r->views);
    backward_space_destroy(&r->backward);
    workspace_destroy(&r->space);
    model_destroy(&r->model);
    r->stream->op->stream_destroy(r->stream);
    r->backend->op->close(r->backend);
}

// One case of the golden file.
struct kase {
    const char *name;
    int padded, groups, ousm, mixup_layer; // layer from 1; 0: none
    int train;
};

static struct view make_view(struct rig *r, const struct kase *k)
{
    int frames = r->model.config.max_len;
    size_t floats = (size_t)r->clips * (size_t)frames * LANDMARKS * 3;
    float *x = xcalloc(floats, sizeof *x);
    int32_t *length = xcalloc((size_t)r->clips, sizeof *length);
    for (int i = 0; i < r->clips; i++) {
        length[i] = k->padded ? r->length[i] : frames;
        r->layer[i] = k->mixup_layer - 1;
    }
    filler_clips("batch", r->clips, frames, length, x);
    r->stream->op->upload(r->stream, r->x, x, floats * sizeof *x);
    filler_mixup("batch", r->clips, k->groups, r->partner, r->coefficient);
    struct view v = view_build(&r->views, r->stream,
                               &(struct view_input){.clips = r->clips,
                                                    .frames = frames,
                                                    .x = r->x,
                                                    .length = length,
                                                    .partner = k->mixup_layer ? r->partner : NULL,
                                                    .coefficient = r->coefficient,
                                                    .layer = r->layer});
    synchronize(r);
    free(x);
    free(length);
    return v;
}

static int is_noise(struct rig *r, const struct kase *k, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "noise/%s", k->name);
    const char *list = safetensors_metadata(&r->golden.file, key), *at;
    size_t n = strlen(name);
    for (at = list; at && (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ','))
            return 1;
    return 0;
}

static void check_gradients(struct rig *r, const struct kase *k)
{
    struct error e = {0};
    const struct layout *l = &r->model.layout;
    r->stream->op->download(r->stream, r->gradient, r->dgradient, l->size * sizeof(float));
    synchronize(r);
    for (int i = 0; i < l->parameter_count; i++) {
        const struct layout_entry *t = &l->parameters[i];
        char what[160];
        size_t n;
        snprintf(what, sizeof what, "%s: gradient of %s", k->name, t->name);
        const float *whole = golden_values(&r->golden, &n, "%s/gradient/%s", k->name, t->name);
        const float *summary = whole ? NULL : golden_values(&r->golden, &n, "%s/gradient_summary/%s", k->name, t->name);
        if (!whole && !summary) {
            error_set(&e, ERR_DAMAGED, "the golden file has nothing for %s", what);
            die(&e);
        }
        if (is_noise(r, k, t->name))
            continue;
        if (whole)
            golden_check(&r->golden, what, r->gradient + t->offset, whole, t->count, r->tolerance);
        else
            golden_check_summary(&r->golden, what, t->name, r->gradient + t->offset, t->count, summary, r->tolerance);
    }
    model_get(&r->model, r->stream, r->parameters, r->buffers, &e);
    for (int i = 0; i < l->buffer_count; i++) {
        const struct layout_entry *t = &l->buffers[i];
        char what[160];
        size_t n;
        snprintf(what, sizeof what, "%s: %s", k->name, t->name);
        const float *want = golden_values(&r->golden, &n, "%s/buffer/%s", k->name, t->name);
        if (want)
            golden_check(&r->golden, what, r->buffers + t->offset, want, t->count, r->tolerance);
    }
}

static void backward(struct rig *r, const struct kase *k, const struct view *v, const struct forward_mode *mode)
{
    float losses[64 * 3], mean[3] = {0};
    size_t n;
    char what[80];
    json_t *smoothing = golden_json(&r->golden, "smoothing");
    r->stream->op->upload(r->stream, r->dcoefficient, r->coefficient, (size_t)r->clips * sizeof(float));
    queue(r->stream, loss_forward_backward, .logits = r->space.logits.data, .teacher = r->teacher, .label = r->dlabel,
          .partner = k->mixup_layer ? v->partner : NULL, .coefficient = k->mixup_layer ? r->dcoefficient : NULL,
          .clips = r->clips, .group = mode->group, .classes = r->model.config.classes, .ousm = k->ousm,
          .smoothing = (float)json_number_value(smoothing), .group_weight = 1.0f / (float)k->groups,
          .scalars = r->scalars, .dlogits = r->dlogits, .losses = r->losses);
    json_decref(smoothing);
    model_backward(&r->model, &r->space, &r->backward, r->stream, v, mode, r->dlogits, r->dgradient, NULL);
    r->stream->op->download(r->stream, losses, r->losses, (size_t)k->groups * 3 * sizeof(float));
    synchronize(r);
    for (int g = 0; g < k->groups; g++)
        for (int i = 0; i < 3; i++)
            mean[i] += losses[3 * g + i] / (float)k->groups;
    snprintf(what, sizeof what, "%s: losses", k->name);
    golden_check(&r->golden, what, mean, golden_values(&r->golden, &n, "%s/losses", k->name), 3, r->tolerance);
    if (r->type == DTYPE_F32)
        check_gradients(r, k);
}

static void run_case(struct rig *r, const struct kase *k)
{
    char what[80];
    size_t n;
    filler_weights(&r->model.layout, "model", r->parameters, r->buffers);
    model_set(&r->model, r->stream, r->parameters, r->buffers);
    struct view v = make_view(r, k);
    struct forward_mode mode = {.train = k->train, .group = r->clips / k->groups, .scalars = r->scalars};
    model_forward(&r->model, &r->space, r->stream, &v, &mode);
    r->stream->op->download(r->stream, r->logits, r->space.logits.data,
                            (size_t)r->clips * (size_t)r->model.config.classes * sizeof(float));
    synchronize(r);
    snprintf(what, sizeof what, "%s: logits", k->name);
    const float *want = golden_values(&r->golden, &n, "%s/logits", k->name);
    golden_check(&r->golden, what, r->logits, want, n, r->tolerance);
    if (k->train)
        backward(r, k, &v, &mode);
}

static void run_training_case(struct rig *r, const char *key)
{
    json_t *settings = golden_json(&r->golden, key);
    struct kase k = {.name = key + strlen("case/"),
                     .padded = json_is_true(json_object_get(settings, "padded")),
                     .groups = (int)json_integer_value(json_object_get(settings, "groups")),
                     .ousm = (int)json_integer_value(json_object_get(settings, "ousm")),
                     .mixup_layer = (int)json_integer_value(json_object_get(settings, "mixup_layer")),
                     .train = 1};
    run_case(r, &k);
    json_decref(settings);
}

int main(int argc, char **argv)
{
    struct rig r = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: test_model GOLDEN fp32|bf16\n");
        return 2;
    }
    create(&r, argv[1], strcmp(argv[2], "bf16") ? DTYPE_F32 : DTYPE_BF16);
    run_case(&r, &(struct kase){.name = "eval", .padded = 1, .groups = 1});
    run_case(&r, &(struct kase){.name = "eval-unpadded", .groups = 1});
    for (size_t i = 0; i < r.golden.file.metadata_count; i++)
        if (!strncmp(r.golden.file.metadata[i].key, "case/", 5))
            run_training_case(&r, r.golden.file.metadata[i].key);
    int rc = golden_finish(&r.golden);
    destroy(&r);
    return rc;
}
