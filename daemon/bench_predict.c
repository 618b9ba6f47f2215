// islrd bench predict: forward passes of the student and the distilled model on made-up clips.
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/nn/model.h"
#include "core/spec/spec.h"
#include "core/train/device.h"
#include "core/train/recipe.h"
#include "daemon/bench.h"

enum { BENCH_CLASSES = 250 };

// One model with what a forward pass takes.
struct rig {
    struct model model;
    struct workspace space;
    struct view_buffer views;
    struct stream *stream;
    float *x;
    int32_t *length;
};

static void rig_destroy(struct rig *r)
{
    if (r->x)
        r->model.backend->op->release(r->model.backend, r->x);
    view_buffer_destroy(&r->views);
    workspace_destroy(&r->space);
    if (r->stream)
        r->stream->op->stream_destroy(r->stream);
    model_destroy(&r->model);
    free(r->length);
}

static int rig_create(struct rig *r, const struct bench *b, struct backend *backend, const struct model_config *config,
                      enum dtype type, struct error *e)
{
    int clips = (int)b->batch;
    size_t floats = (size_t)clips * (size_t)config->max_len * LANDMARKS * 3;
    memset(r, 0, sizeof *r);
    if (model_create(&r->model, backend, config, type, 0, e) || workspace_create(&r->space, &r->model, clips, 0, e) ||
        view_buffer_create(&r->views, backend, clips, config->max_len, e) ||
        !(r->stream = backend->op->stream_create(backend, e)) ||
        !(r->x = backend->op->allocate(backend, floats * sizeof *r->x, e)))
        return -1;
    float *x = xcalloc(floats, sizeof *x), *weights = xcalloc(r->model.layout.size, sizeof *weights);
    float *buffers = xcalloc(r->model.layout.buffer_size, sizeof *buffers);
    struct rng rng = rng_make(1, RNG_BENCH, 1, 0, 0);
    for (size_t i = 0; i < floats; i++)
        x[i] = 2 * rng_uniform(&rng) - 1;
    layout_initialise(&r->model.layout, 1, 0, weights, buffers);
    model_set(&r->model, r->stream, weights, buffers);
    r->stream->op->upload(r->stream, r->x, x, floats * sizeof *x);
    r->length = xcalloc((size_t)clips, sizeof *r->length);
    for (int i = 0; i < clips; i++)
        r->length[i] = (int32_t)(b->fill * config->max_len + 0.5) > 0 ? (int32_t)(b->fill * config->max_len + 0.5) : 1;
    int rc = r->stream->op->synchronize(r->stream, e);
    free(x);
    free(weights);
    free(buffers);
    return rc;
}

static int forward(struct rig *r, int clips, double *ms, struct error *e)
{
    double began = clock_seconds();
    struct view view = view_build(
        &r->views, r->stream,
        &(struct view_input){.clips = clips, .frames = r->model.config.max_len, .x = r->x, .length = r->length});
    model_forward(&r->model, &r->space, r->stream, &view, &(struct forward_mode){.constant_weights = 1});
    int rc = r->stream->op->synchronize(r->stream, e);
    *ms = 1000 * (clock_seconds() - began);
    return rc;
}

static int bench_model(const struct bench *b, struct backend *backend, const struct model_config *config,
                       enum dtype type, struct timing t, struct error *e)
{
    enum { WARM_UP = 2 };
    struct rig rig;
    double unused;
    int rc = rig_create(&rig, b, backend, config, type, e);
    for (int64_t i = 0; i < WARM_UP + t.count && !rc; i++)
        rc = bench_stopped(e) || forward(&rig, (int)b->batch, i < WARM_UP ? &unused : &t.ms[i - WARM_UP], e);
    backend->op->forget(backend);
    rig_destroy(&rig);
    return rc;
}

int bench_predict(const struct bench *b, struct error *e)
{
    Islr__JobSpec *job = bench_job(b, NULL, e);
    if (!job)
        return -1;
    struct comm *comm = comm_open_single();
    struct backend *backend = device_open(b->device, (int)b->threads, comm, e);
    json_t *models = json_array();
    struct device_info info = {0};
    enum dtype type;
    int rc = !backend || recipe_type(job->train->precision, backend, &type, e) ? -1 : 0;
    if (backend)
        backend->op->describe(backend, &info);
    for (int i = 0; i < 2 && !rc; i++) {
        struct model_config config = i ? recipe_distilled(job, BENCH_CLASSES) : recipe_student(job, BENCH_CLASSES);
        struct timing t = {xcalloc((size_t)b->steps, sizeof *t.ms), b->steps};
        rc = bench_model(b, backend, &config, type, t, e);
        if (!rc) {
            json_t *ms = bench_timing_json(t);
            double median = json_number_value(json_object_get(ms, "median")), rate = 1000 * (double)b->batch / median;
            if (!b->json)
                printf("%s %s: %.1f clips/s (%.1f ms)\n", b->preset, i ? "distilled" : "student", rate, median);
            json_array_append_new(models, json_pack("{s:s, s:f, s:o}", "model", i ? "distilled" : "student",
                                                    "clips_per_second", rate, "step_ms", ms));
        }
        free(t.ms);
    }
    if (!rc)
        bench_print(b,
                    json_pack("{s:s, s:s, s:s, s:I, s:f, s:s, s:s, s:O, s:f}", "bench", "predict", "preset", b->preset,
                              "precision", dtype_name(type), "batch", (json_int_t)b->batch, "fill", b->fill, "device",
                              info.name, "detail", info.detail, "models", models, "peak_memory_mib",
                              bench_peak_memory_mib()),
                    "%s, batch %lld, fill %.2f", dtype_name(type), (long long)b->batch, b->fill);
    json_decref(models);
    if (backend)
        backend->op->close(backend);
    comm_close(comm);
    spec_free(job);
    return rc;
}
