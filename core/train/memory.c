// What a training run will need of a device's memory: see memory.h.
#include "core/train/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/comm/comm_device.h"
#include "core/nn/model.h"
#include "core/spec/spec.h"
#include "core/train/dataset.h"
#include "core/train/learner.h"
#include "core/train/recipe.h"

// What the driver, the matrix library and the rounding of allocations take, beyond what is planned.
#define MEMORY_RESERVE ((size_t)128 << 20)

static void add(struct memory_plan *p, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(struct memory_plan *p, size_t size, const char *format, ...)
{
    struct memory_row *row = &p->rows[p->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(row->what, sizeof row->what, format, args);
    va_end(args);
    row->size = size;
    p->total += size;
}

// A learner's, as learner_create() takes it; without the backward pass's memory, which all share.
static void add_learner(struct memory_plan *p, enum learner_role role, const struct model *m, int clips, int sharing)
{
    struct shard shard;
    shard_plan(&shard, m->layout.size, sharing, 0); // the first rank has most
    size_t spans = (m->layout.size + SQUARES_SPAN - 1) / SQUARES_SPAN;
    size_t view = (size_t)clips * (size_t)m->config.max_len * LANDMARKS * 3 * sizeof(float);
    add(p, model_size(m) + shard_size(m, sharing), "%s: weights", learner_names[role]);
    if (role != TEACHER)
        add(p,
            (m->layout.size + 2 * shard.own) * sizeof(float) + spans * sizeof(double) +
                (size_t)clips * (size_t)m->config.classes * dtype_size(m->type),
            "%s: gradients and %smoments", learner_names[role], sharing > 1 ? "a share of the " : "");
    add(p, workspace_size(m, clips, role != TEACHER) + view, "%s: activations of %d clips", learner_names[role], clips);
}

// Attention's scores of all clips, twice, is what the operations take most for; their memory may have grown by doubling.
static size_t work_size(const struct model *m, int clips)
{
    size_t frames = (size_t)m->config.max_len, most = (size_t)512 << 20;
    size_t scores = 2 * sizeof(float) * (size_t)clips * (size_t)m->config.heads * frames * frames;
    return 2 * (scores < most ? scores : most) + MEMORY_RESERVE;
}

void memory_plan_make(struct memory_plan *p, const struct memory_request *r)
{
    const Islr__Train *train = r->job->train;
    int classes = set_sign_count(r->set), clips = (int)train->batch / r->ranks, distills = r->job->distill->enabled;
    struct model_config student = recipe_student(r->job, classes), distilled = recipe_distilled(r->job, classes);
    struct model *m = xcalloc(LEARNERS, sizeof *m);
    size_t backward = 0, work = 0;
    *p = (struct memory_plan){.count = 0};
    if (r->fed)
        add(p, feeder_size(r->set, clips, 2 + distills), "set: two batches of its clips");
    else
        add(p, dataset_size(r->set), "set: %zu clips", set_count(r->set));
    for (int i = 0; i < LEARNERS; i++) {
        if (i == DISTILLED && !distills)
            continue;
        model_sketch(&m[i], r->backend, i == DISTILLED ? &distilled : &student, r->type, (uint32_t)i);
        add_learner(p, i, &m[i], clips, r->job->resources->shard_optimizer ? r->ranks : 1);
        size_t size = i == TEACHER ? 0 : backward_space_size(&m[i], clips);
        backward = size > backward ? size : backward;
        work = work_size(&m[i], clips) > work ? work_size(&m[i], clips) : work;
    }
    add(p, backward, "backward pass");
    if (r->ranks > 1)
        add(p, comm_device_size(r->ranks), "sums over the ranks");
    add(p, work, "work space of the operations");
    free(m);
}

static size_t total_of(struct memory_request r)
{
    struct memory_plan p;
    memory_plan_make(&p, &r);
    return p.total;
}

// The same job with other settings, as far as memory goes.
static size_t total_sharing(const struct memory_request *r)
{
    Islr__JobSpec *job = spec_copy(r->job);
    struct memory_request other = *r;
    job->resources->shard_optimizer = 1;
    other.job = job;
    size_t total = total_of(other);
    spec_free(job);
    return total;
}

static size_t total_with(const struct memory_request *r, uint32_t batch, uint32_t max_len, enum dtype type)
{
    Islr__JobSpec *job = spec_copy(r->job);
    struct memory_request other = *r;
    job->train->batch = batch;
    job->model->max_len = max_len;
    other.job = job;
    other.type = type;
    size_t total = total_of(other);
    spec_free(job);
    return total;
}

// Which single settings would fit; a batch is whole groups, shared evenly by the ranks.
static void advise(const struct memory_request *r, size_t available, struct strbuf *text)
{
    const Islr__Train *train = r->job->train;
    uint32_t step = train->group * (uint32_t)r->ranks, batch = train->batch, length = r->job->model->max_len;
    const char *before = "\nWhat would fit: ";
    while (batch > step && total_with(r, batch, length, r->type) > available)
        batch -= step;
    if (batch < train->batch && total_with(r, batch, length, r->type) <= available) {
        strbuf_printf(text, "%strain.batch=%u", before, batch);
        before = ", or ";
    }
    if (r->ranks > 1 && !r->job->resources->shard_optimizer && total_sharing(r) <= available) {
        strbuf_printf(text, "%sresources.shard_optimizer=true", before);
        before = ", or ";
    }
    if (r->type == DTYPE_F32 && total_with(r, train->batch, length, DTYPE_BF16) <= available) {
        strbuf_printf(text, "%strain.precision=auto (a type of 16 bits)", before);
        before = ", or ";
    }
    while (length > 5 && total_with(r, train->batch, length, r->type) > available)
        length--;
    if (length < r->job->model->max_len && total_with(r, train->batch, length, r->type) <= available) {
        strbuf_printf(text, "%smodel.max_len=%u", before, length);
        before = ", or ";
    }
    if (!strcmp(before, "\nWhat would fit: "))
        strbuf_printf(text, "\nNo smaller batch, type or max_len alone would fit: more ranks or another card will");
}

static int refuse(const struct memory_request *r, const struct device_info *info, struct error *e)
{
    struct memory_plan p;
    struct strbuf text = {0};
    memory_plan_make(&p, r);
    strbuf_printf(&text,
                  "%s has %zu MiB free of %zu MiB, and this run needs %zu MiB even with the set fed batch by batch:",
                  info->name, info->memory_free >> 20, info->memory_total >> 20, p.total >> 20);
    for (int i = 0; i < p.count; i++)
        strbuf_printf(&text, "\n  %-44s %8.1f MiB", p.rows[i].what, (double)p.rows[i].size / (1 << 20));
    advise(r, info->memory_free, &text);
    error_set(e, ERR_INVALID, "%s", text.text);
    free(text.text);
    return -1;
}

// Does the device's memory belong to it alone?
static int has_own_memory(struct backend *b, int *own, struct error *e)
{
    void *probe = b->op->allocate(b, 1, e);
    if (!probe)
        return -1;
    *own = !b->op->host_address(b, probe);
    b->op->release(b, probe);
    return 0;
}

int memory_decide(struct memory_request *r, struct error *e)
{
    struct device_info info;
    int own;
    r->fed = 0;
    if (has_own_memory(r->backend, &own, e))
        return -1;
    if (!own)
        return 0;
    r->backend->op->describe(r->backend, &info);
    if (total_of(*r) <= info.memory_free)
        return 0;
    r->fed = 1;
    return total_of(*r) <= info.memory_free ? 0 : refuse(r, &info, e);
}
