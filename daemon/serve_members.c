// The runs of a group: see serve_members.h.
#include "daemon/serve_members.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"

enum { LABEL_MAX = 256 };

static int is_cross_validated(const Islr__JobSpec *job)
{
    return job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN && spec_fold(job) == SPEC_FOLD_ALL;
}

// The job becomes the list's.
static void add(struct members *m, int parent, const char *group_name, const char *label, Islr__JobSpec *job)
{
    if (!(m->count & (m->count - 1))) {
        size_t room = m->count ? 2 * m->count : 1;
        m->items = xrealloc(m->items, room, sizeof *m->items);
        m->jobs = xrealloc(m->jobs, room, sizeof *m->jobs);
    }
    m->jobs[m->count] = job;
    m->items[m->count++] = (struct run_member){.name = xprintf("%s%s%s", group_name, *group_name ? "/" : "", label),
                                               .max_attempts = job->retry->max_attempts ? job->retry->max_attempts : 1,
                                               .group = is_cross_validated(job) ? RUN_FOLDS : RUN_ALONE,
                                               .parent = parent};
}

static void finish(struct run_member *item, const Islr__JobSpec *job)
{
    size_t size = islr__job_spec__get_packed_size(job);
    uint8_t *spec = xmalloc(size + 1);
    islr__job_spec__pack(job, spec);
    item->job_hash = spec_hash(job);
    item->spec = spec;
    item->spec_size = size;
}

// One run for each fold, as `islrd run` would train it.
static void add_folds(struct members *m, int parent, const char *group_name, const Islr__JobSpec *job)
{
    for (uint32_t fold = 0; fold < job->data->k; fold++) {
        char label[32];
        Islr__JobSpec *one = spec_copy(job);
        free(one->data->fold);
        one->data->fold = xprintf("%u", fold);
        snprintf(label, sizeof label, "fold-%u", fold);
        add(m, parent, group_name, label, one);
    }
}

static Islr__JobSpec *make_variation(const Islr__Submit *q, const Islr__Variation *v, struct faults *faults,
                                     struct error *e)
{
    if (!v->differs || !v->label || !*v->label || strlen(v->label) > LABEL_MAX) {
        error_set(e, ERR_INVALID, "a variation of the job has no label, or one of more than %d bytes", LABEL_MAX);
        return NULL;
    }
    Islr__JobSpec *job = spec_vary(q->job, v->differs, e);
    if (job)
        spec_validate(job, v->label, faults);
    return job;
}

static int add_variations(struct members *m, const Islr__Submit *q, struct error *e)
{
    struct faults faults = {0};
    int rc = 0;
    for (size_t i = 0; i < q->n_variations && !rc; i++) {
        Islr__JobSpec *job = make_variation(q, q->variations[i], &faults, e);
        if (job)
            add(m, -1, q->job->name, q->variations[i]->label, job);
        else
            rc = -1;
    }
    if (!rc && faults.count)
        rc = faults_to_error(&faults, e);
    faults_free(&faults);
    return rc;
}

// Said before the folds are made: there may be very many.
static int check_count(const struct members *m, const Islr__Submit *q, struct error *e)
{
    size_t count = m->count + (m->group == RUN_FOLDS ? q->job->data->k : 0);
    for (size_t i = 0; i < m->count; i++)
        count += m->items[i].group == RUN_FOLDS ? m->jobs[i]->data->k : 0;
    if (count <= RUN_MEMBERS_MAX)
        return 0;
    return error_set(e, ERR_INVALID, "a group can have at most %d runs, those of its folds included; these are %zu",
                     RUN_MEMBERS_MAX, count);
}

int members_make(const Islr__Submit *q, struct members *m, struct error *e)
{
    memset(m, 0, sizeof *m);
    m->group = q->n_variations ? RUN_SWEEP : is_cross_validated(q->job) ? RUN_FOLDS : RUN_ALONE;
    if (add_variations(m, q, e) || check_count(m, q, e)) {
        members_free(m);
        return -1;
    }
    m->direct = m->count;
    for (size_t i = 0; i < m->direct; i++)
        if (m->items[i].group == RUN_FOLDS)
            add_folds(m, (int)i, m->items[i].name, m->jobs[i]);
    if (m->group == RUN_FOLDS) {
        add_folds(m, -1, q->job->name, q->job);
        m->direct = m->count;
    }
    for (size_t i = 0; i < m->count; i++)
        finish(&m->items[i], m->jobs[i]);
    return 0;
}

void members_free(struct members *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].name);
        free((void *)m->items[i].spec);
        spec_free(m->jobs[i]);
    }
    free(m->items);
    free(m->jobs);
    memset(m, 0, sizeof *m);
}
