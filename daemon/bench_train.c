// islrd bench train: whole training steps of the three models on made-up clips.
#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/data/set_write.h"
#include "core/nn/profile.h"
#include "core/spec/bounds.h"
#include "core/spec/spec.h"
#include "core/train/device.h"
#include "core/train/recipe.h"
#include "core/train/sampler.h"
#include "core/train/step.h"
#include "daemon/bench.h"

enum { BENCH_SIGNS = 250 };

// A clip of so many frames that the mean share of real frames is `fill`: lengths are spread evenly around it.
static int clip_frames(int i, int max_len, double fill)
{
    double spread = fill > 0.5 ? 1 - fill : fill;
    double share = fill + spread * (2 * ((i * 0.6180339887498949) - floor(i * 0.6180339887498949)) - 1);
    int n = (int)lround(share * max_len);
    return n < 1 ? 1 : n > max_len ? max_len : n;
}

static int write_set(const struct bench *b, int max_len, int clips, const char *path, struct error *e)
{
    char *signs[BENCH_SIGNS];
    for (int i = 0; i < BENCH_SIGNS; i++)
        signs[i] = xprintf("sign%d", i);
    struct set_description d = {.max_len = max_len, .sign_count = BENCH_SIGNS, .signs = signs};
    struct set_writer *w = set_writer_open(path, &d, e);
    float *data = xcalloc((size_t)max_len * LANDMARKS * 3, sizeof *data);
    int rc = w ? 0 : -1;
    for (int i = 0; i < clips && !rc; i++) {
        struct rng r = rng_make(1, RNG_BENCH, 0, (uint32_t)i, 0);
        struct set_clip c = {.data = data,
                             .frames = clip_frames(i, max_len, b->fill),
                             .label = i % BENCH_SIGNS,
                             .fold = -1,
                             .participant = i % 21,
                             .sequence = i,
                             .path = "bench"};
        c.source_frames = c.frames;
        for (int k = 0; k < c.frames * LANDMARKS * 3; k++)
            data[k] = 2 * rng_uniform(&r) - 1;
        c.hash = hash_memory(data, (size_t)c.frames * LANDMARKS * 3 * sizeof *data);
        rc = set_writer_add(w, &c, e);
    }
    if (!rc)
        rc = set_writer_commit(w, e);
    else
        set_writer_abandon(w);
    free(data);
    for (int i = 0; i < BENCH_SIGNS; i++)
        free(signs[i]);
    return rc;
}

static void print_train(const struct bench *b, const struct step_space *t, struct timing steps, const struct profile *p,
                        double peak)
{
    double total = 0;
    json_t *stages = json_object(), *root;
    for (int i = 0; i < PROFILE_STAGES; i++)
        total += p->seconds[i];
    for (int i = 0; i < PROFILE_STAGES; i++)
        json_object_set_new(stages, profile_names[i], json_real(p->seconds[i] / total));
    json_t *ms = bench_timing_json(steps);
    double median = json_number_value(json_object_get(ms, "median")), rate = 1000 * (double)b->batch / median;
    struct device_info info;
    t->backend->op->describe(t->backend, &info);
    root = json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:o, s:o, s:f, s:f, s:f, s:f, s:I, s:s, s:s, s:i}", "bench",
                     "train", "preset", b->preset, "precision", dtype_name(t->learner[STUDENT].model.type), "batch",
                     (json_int_t)b->batch, "fill", b->fill, "clips_per_second", rate, "step_ms", ms, "stages", stages,
                     "flops_per_step", p->flops, "achieved_flops", p->flops / (median / 1000), "peak_flops", peak,
                     "peak_memory_mib", bench_peak_memory_mib(), "peak_device_bytes", (json_int_t)info.memory_peak,
                     "device", info.name, "detail", info.detail, "threads", info.threads);
    if (!b->json) {
        printf("matrix products: %.1f GFLOP a step, %.1f GFLOP/s, %.0f%% of the measured peak of %.1f GFLOP/s\n",
               p->flops / 1e9, p->flops / (median / 1000) / 1e9, 100 * p->flops / (median / 1000) / peak, peak / 1e9);
        for (int i = 0; i < PROFILE_STAGES; i++)
            printf("  %-10s %5.1f%%\n", profile_names[i], 100 * p->seconds[i] / total);
        printf("peak memory %.0f MiB", bench_peak_memory_mib());
        printf(info.memory_peak ? ", of the device %.0f MiB\n" : "\n", (double)info.memory_peak / (1 << 20));
    }
    bench_print(b, root, "%s %s, batch %lld, fill %.2f: %.1f clips/s, step %.1f ms (min %.1f, max %.1f)", b->preset,
                dtype_name(t->learner[STUDENT].model.type), (long long)b->batch, b->fill, rate, median, steps.ms[0],
                steps.ms[steps.count - 1]);
}

static int time_steps(const struct bench *b, struct step_space *t, struct sampler *sampler, struct timing *out,
                      struct profile *profile, struct error *e)
{
    enum { WARM_UP = 2 };
    struct step_result result;
    out->ms = xcalloc((size_t)b->steps, sizeof *out->ms);
    out->count = b->steps;
    for (int64_t i = 0; i < WARM_UP + b->steps + 1; i++) {
        uint32_t step = (uint32_t)i + 1, per_epoch = t->schedule.steps_per_epoch;
        const uint32_t *batch = sampler_batch(sampler, (step - 1) / per_epoch + 1, (step - 1) % per_epoch);
        int last = i == WARM_UP + b->steps; // that one is watched, and so not timed
        if (last)
            profile_begin(profile, t->stream);
        if (bench_stopped(e))
            return -1;
        double began = clock_seconds();
        int rc = step_run(t, step, batch, NULL, &result, e);
        if (last)
            profile_end(profile, t->stream);
        if (rc)
            return -1;
        if (i >= WARM_UP && !last)
            out->ms[i - WARM_UP] = 1000 * (clock_seconds() - began);
    }
    return 0;
}

static int bench_on_set(const struct bench *b, const Islr__JobSpec *job, struct set *set, struct error *e)
{
    struct comm *comm = comm_open_single();
    struct backend *backend = device_open(b->device, (int)b->threads, comm, e);
    struct dataset data = {0};
    struct step_space space = {0};
    struct sampler sampler = {0};
    struct timing steps = {0};
    struct profile profile;
    enum dtype type;
    double peak;
    int rc = !backend || recipe_type(job->train->precision, backend, &type, e) ||
             bench_measure_peak(backend, type, &peak, e) ||
             dataset_create(&data, set, backend, &(struct dataset_options){.data = job->data}, e);
    struct step_options o = {job, backend, comm, &data, rc ? DTYPE_F32 : type};
    if (!rc && !(rc = step_create(&space, &o, e))) {
        for (int i = 0; i < LEARNERS; i++) {
            struct model *m = &space.learner[i].model;
            if (!m->backend)
                continue;
            float *weights = xcalloc(m->layout.size, sizeof *weights);
            float *buffers = xcalloc(m->layout.buffer_size, sizeof *buffers);
            layout_initialise(&m->layout, 1, (uint32_t)i, weights, buffers);
            model_set(m, space.stream, weights, buffers);
            rc |= space.stream->op->synchronize(space.stream, e);
            free(weights);
            free(buffers);
        }
        sampler_create(&sampler, data.train, data.train_count, (uint32_t)b->batch, 1, 1);
        if (!rc && !(rc = time_steps(b, &space, &sampler, &steps, &profile, e)))
            print_train(b, &space, steps, &profile, peak);
        sampler_destroy(&sampler);
        step_destroy(&space);
    }
    free(steps.ms);
    dataset_destroy(&data);
    if (backend)
        backend->op->close(backend);
    comm_close(comm);
    return rc;
}

// The recipe's groups of 32 where the batch has such, else its largest ones; of small ones OUSM leaves out fewer clips.
static Islr__JobSpec *make_job(const struct bench *b, struct error *e)
{
    const int64_t most = (int64_t)bound_find("train.group")->max;
    int64_t group = b->batch % 32 ? b->batch < most ? b->batch : most : 32;
    while (b->batch % group)
        group--;
    char *train = xprintf("train={batch: %lld, group: %lld, ousm: %d, steps: 1000000}", (long long)b->batch,
                          (long long)group, group > 3 ? 3 : (int)group - 1);
    Islr__JobSpec *job = bench_job(b, train, e);
    free(train);
    return job;
}

int bench_train(const struct bench *b, struct error *e)
{
    Islr__JobSpec *job = make_job(b, e);
    if (!job)
        return -1;
    char *path = file_join(b->dir, "bench.islr");
    int rc = write_set(b, (int)job->model->max_len, 4 * (int)b->batch, path, e);
    struct set *set = rc ? NULL : set_open(path, e);
    if (set)
        rc = bench_on_set(b, job, set, e);
    set_close(set);
    free(path);
    spec_free(job);
    return set ? rc : -1;
}
