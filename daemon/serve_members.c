// The runs of a group: see serve_members.h.
#include "daemon/serve_members.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

// Of a sweep that is checked at once: its combinations, each counted with the bytes that its axes' values take and as many
// again as this for what is done in any case.
enum { QUICK_BYTES = 128 << 10, COMBINATION_BYTES = 64 };

// A member that is a group of folds.
struct members_nested {
    size_t at;    // its own place
    size_t first; // of its folds, k in all
    uint32_t k;
};

enum run_group members_group_of(const Islr__JobSpec *job)
{
    return job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN && spec_fold(job) == SPEC_FOLD_ALL ? RUN_FOLDS : RUN_ALONE;
}

size_t members_runs(const struct members *m)
{
    return m->group ? m->count - m->nested_count : 1;
}

static uint32_t attempts_of(const Islr__JobSpec *job)
{
    return job->retry->max_attempts ? job->retry->max_attempts : 1;
}

void members_describe(const struct members *m, struct run_submit *out)
{
    const Islr__Submit *q = m->submit;
    out->name = q->job->name;
    out->kind = spec_kind_name(q->job->kind);
    out->key = q->key;
    out->priority = q->priority;
    out->hold = q->hold;
    out->after = q->after;
    out->after_count = q->n_after;
    out->after_any = q->after_any;
    out->max_attempts = attempts_of(q->job);
    out->group = m->group;
}

// ---- one after the other --------------------------------------------------------------------------------------------

static const Islr__JobSpec *keep(struct members *m, Islr__JobSpec *job)
{
    spec_free(m->job);
    m->job = job;
    return job;
}

// One fold, as `islrd run` would train it.
static const Islr__JobSpec *fold_of(struct members *m, const Islr__JobSpec *job, size_t fold)
{
    Islr__JobSpec *one = spec_copy(job);
    free(one->data->fold);
    one->data->fold = xprintf("%zu", fold);
    return keep(m, one);
}

static const Islr__JobSpec *direct_job(struct members *m, size_t i)
{
    if (m->group == RUN_FOLDS)
        return fold_of(m, m->submit->job, i);
    if (m->sweep.count)
        return spec_sweep_job(&m->sweep, i);
    return keep(m, spec_vary(m->submit->job, m->submit->variations[i]->differs, NULL));
}

// The group that member i is a fold of; NULL: it is a direct one.
static const struct members_nested *nest_of(const struct members *m, size_t i)
{
    if (i < m->direct)
        return NULL;
    size_t low = 0, high = m->nested_count; // the last one whose folds begin at i or before
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (m->nested[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    return &m->nested[low];
}

const Islr__JobSpec *members_job(struct members *m, size_t i)
{
    const struct members_nested *n = nest_of(m, i);
    return n ? fold_of(m, direct_job(m, n->at), i - n->first) : direct_job(m, i);
}

int members_parent(const struct members *m, size_t i)
{
    const struct members_nested *n = nest_of(m, i);
    return n ? (int)n->at : -1;
}

// What a member is called behind its group's name; free() it.
static char *label_of(const struct members *m, size_t i)
{
    const struct members_nested *n = nest_of(m, i);
    if (n || m->group == RUN_FOLDS)
        return xprintf("fold-%zu", n ? i - n->first : i);
    return m->sweep.count ? spec_sweep_label(&m->sweep, i) : xstrdup(m->submit->variations[i]->label);
}

static char *join(char *group, char *label)
{
    char *name = xprintf("%s%s%s", group, *group ? "/" : "", label);
    free(group);
    free(label);
    return name;
}

static char *name_of(const struct members *m, size_t i)
{
    const struct members_nested *n = nest_of(m, i);
    char *group = n ? name_of(m, n->at) : xstrdup(m->submit->job->name);
    return join(group, label_of(m, i));
}

void members_take(struct members *m, size_t first, size_t count, struct run_member *out)
{
    for (size_t i = 0; i < count; i++) {
        const Islr__JobSpec *job = members_job(m, first + i);
        size_t size = islr__job_spec__get_packed_size(job);
        uint8_t *spec = xmalloc(size + 1);
        islr__job_spec__pack(job, spec);
        out[i] = (struct run_member){.name = name_of(m, first + i),
                                     .job_hash = spec_hash(job),
                                     .spec = spec,
                                     .spec_size = size,
                                     .max_attempts = attempts_of(job),
                                     .group = members_group_of(job),
                                     .parent = members_parent(m, first + i)};
    }
}

void members_put_back(struct run_member *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i].name);
        free((void *)items[i].spec);
    }
}

// ---- checked and counted --------------------------------------------------------------------------------------------

static int check_variation(const Islr__Submit *q, const Islr__Variation *v, struct faults *faults, struct error *e)
{
    if (!v->differs || !v->label || !*v->label || strlen(v->label) > SPEC_SWEEP_LABEL_MAX)
        return error_set(e, ERR_INVALID, "a variation of the job has no label, or one of more than %d bytes",
                         SPEC_SWEEP_LABEL_MAX);
    Islr__JobSpec *job = spec_vary(q->job, v->differs, e);
    if (!job)
        return -1;
    spec_validate(job, v->label, faults);
    spec_free(job);
    return 0;
}

// What a job of the submission may have at most, packed: the base with the largest value of each axis, or variation.
static size_t largest_job(const Islr__Submit *q)
{
    size_t varied = 0, size = islr__job_spec__get_packed_size(q->job);
    for (size_t i = 0; i < q->n_variations; i++) {
        size_t one = q->variations[i]->differs ? islr__job_spec__get_packed_size(q->variations[i]->differs) : 0;
        varied = one > varied ? one : varied;
    }
    for (size_t i = 0; i < q->n_axes; i++) {
        size_t most = 0;
        for (size_t k = 0; k < q->axes[i]->n_values; k++) {
            size_t one = islr__job_spec__get_packed_size(q->axes[i]->values[k]);
            most = one > most ? one : most;
        }
        size += most;
    }
    return size + varied;
}

static int check_size(const Islr__Submit *q, struct error *e)
{
    size_t size = largest_job(q);
    if (size <= RUN_JOB_MAX)
        return 0;
    return error_set(e, ERR_INVALID,
                     "the job takes %zu bytes, which is more than the %d that one may have: its lists "
                     "(models, say) are too long",
                     size, RUN_JOB_MAX);
}

static int check_all(struct members *m, const Islr__Submit *q, int trusted, struct error *e)
{
    struct faults faults = {0};
    int rc = 0;
    for (size_t i = 0; i < q->n_variations && !rc; i++)
        rc = check_variation(q, q->variations[i], &faults, e);
    if (m->sweep.count)
        spec_sweep_check(&m->sweep, &faults);
    if (!rc && !trusted && faults.count)
        rc = faults_to_error(&faults, e);
    faults_free(&faults);
    return rc;
}

static void add_nested(struct members *m, size_t at, uint32_t k)
{
    m->nested = xrealloc(m->nested, m->nested_count + 1, sizeof *m->nested);
    m->nested[m->nested_count++] = (struct members_nested){at, m->count, k};
    m->count += k;
}

static int check_fold_count(const Islr__JobSpec *job, struct error *e)
{
    if (job->data->k)
        return 0;
    return error_set(e, ERR_INVALID,
                     "data.fold is all and the folds are those of data.fold_file, which the server does not open: give "
                     "data.k, the number of folds in %s",
                     job->data->fold_file);
}

static int count_all(struct members *m, const Islr__Submit *q, struct error *e)
{
    if (m->group == RUN_FOLDS && check_fold_count(q->job, e))
        return -1;
    m->direct = m->group == RUN_FOLDS ? q->job->data->k : m->sweep.count + q->n_variations;
    m->count = m->direct;
    for (size_t i = 0; m->group == RUN_SWEEP && i < m->direct; i++) {
        const Islr__JobSpec *job = members_job(m, i);
        if (members_group_of(job) && check_fold_count(job, e))
            return -1;
        if (members_group_of(job))
            add_nested(m, i, job->data->k);
    }
    if (m->count <= RUN_MEMBERS_MAX)
        return 0;
    return error_set(e, ERR_INVALID, "a group can have at most %d runs, those of its folds included; these are %zu",
                     RUN_MEMBERS_MAX, m->count);
}

int members_are_quick(const Islr__Submit *q)
{
    size_t combinations = 1, bytes = COMBINATION_BYTES;
    if (q->n_variations)
        return 0;
    for (size_t i = 0; i < q->n_axes; i++) {
        const Islr__Axis *a = q->axes[i];
        size_t size = a->key ? a->count : a->n_values;
        if (size > QUICK_BYTES || (combinations *= size) > QUICK_BYTES)
            return 0;
        bytes += islr__axis__get_packed_size(a);
    }
    return combinations * bytes <= QUICK_BYTES;
}

int members_open(struct members *m, const Islr__Submit *q, int trusted, struct error *e)
{
    memset(m, 0, sizeof *m);
    m->submit = q;
    m->group = q->n_variations || q->n_axes ? RUN_SWEEP : members_group_of(q->job);
    int rc = 0;
    if (q->n_variations && q->n_axes)
        rc = error_set(e, ERR_INVALID, "a sweep has either variations or axes");
    else if (!trusted && check_size(q, e))
        rc = -1;
    else if (q->n_axes)
        rc = spec_sweep_open(&m->sweep, q->job, q->axes, q->n_axes, RUN_MEMBERS_MAX, e);
    if (!rc)
        rc = check_all(m, q, trusted, e);
    if (!rc && m->group)
        rc = count_all(m, q, e);
    if (rc)
        members_close(m);
    return rc;
}

void members_close(struct members *m)
{
    spec_sweep_close(&m->sweep);
    spec_free(m->job);
    free(m->nested);
    memset(m, 0, sizeof *m);
}
