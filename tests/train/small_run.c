// A run small enough for the host model of a card: see small_run.h.
#include "tests/train/small_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/memory.h"

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%s", e->text);
}

Islr__JobSpec *small_run_job(void)
{
    static const char *const settings[] = {"data={path: nowhere, fold: full}",
                                           "model={max_len: 25, dense_dim: 16, transfo_dim: 64, widths: [32,32,48,48]}",
                                           "distill={dense_dim: 16, transfo_dim: 64, widths: [16,16,32,32]}",
                                           "train={steps: 8, batch: 4, group: 2, ousm: 0, warmup: 0.25}"};
    struct error e = {0};
    struct faults faults = {0};
    Islr__JobSpec *job;
    if (spec_load(NULL, settings, sizeof settings / sizeof *settings, &job, &faults, &e)) {
        faults_print(&faults, stderr);
        fail_msg("%s", e.text);
    }
    return job;
}

static void set_weights(struct step_space *t)
{
    struct error e = {0};
    for (int i = 0; i < LEARNERS; i++) {
        struct model *m = &t->learner[i].model;
        float *parameters = xcalloc(m->layout.size, sizeof *parameters);
        float *buffers = xcalloc(m->layout.buffer_size, sizeof *buffers);
        layout_initialise(&m->layout, 5, (uint32_t)i, parameters, buffers);
        model_set(m, t->stream, parameters, buffers);
        must(t->stream->op->synchronize(t->stream, &e), &e);
        free(parameters);
        free(buffers);
    }
}

void small_run_open(struct small_run *r, const Islr__JobSpec *job, const struct set *set, struct backend *b,
                    struct comm *c, enum dtype type, int fed)
{
    struct error e = {0};
    struct dataset_options options = {job->data, fed ? SMALL_BATCH : 0, LEARNERS};
    must(dataset_create(&r->data, set, b, &options, &e), &e);
    must(step_create(&r->step, &(struct step_options){job, b, c, &r->data, type}, &e), &e);
    set_weights(&r->step);
}

void small_run_close(struct small_run *r)
{
    step_destroy(&r->step);
    dataset_destroy(&r->data);
}

struct step_result small_run_steps(struct small_run *r, uint32_t first, uint32_t last)
{
    struct error e = {0};
    struct step_result result = {.finite = 1};
    uint32_t batch = r->step.job->train->batch, whole = r->data.train_count / batch * batch;
    for (uint32_t s = first; s <= last; s++) {
        const uint32_t *clips = r->data.train + (s - 1) * batch % whole;
        const uint32_t *next = r->data.train + s * batch % whole;
        must(step_run(&r->step, s, clips, s < last ? next : NULL, &result, &e), &e);
        assert_true(result.finite);
    }
    return result;
}

float *small_run_values(struct small_run *r, enum learner_role role, size_t *count)
{
    struct error e = {0};
    struct model *m = &r->step.learner[role].model;
    *count = m->layout.size + m->layout.buffer_size;
    float *all = xcalloc(*count, sizeof *all);
    must(model_get(m, r->step.stream, all, all + m->layout.size, &e), &e);
    return all;
}

struct hash small_run_hash(struct small_run *r)
{
    struct hash hashes[LEARNERS];
    for (int i = 0; i < LEARNERS; i++) {
        size_t count;
        float *values = small_run_values(r, i, &count);
        hashes[i] = hash_memory(values, count * sizeof *values);
        free(values);
    }
    return hash_memory(hashes, sizeof hashes);
}
