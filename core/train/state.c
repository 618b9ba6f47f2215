// A run's state between two steps: see state.h.
#include "core/train/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/resume.h"
#include "core/spec/spec.h"

struct hash state_job_hash(const Islr__JobSpec *job)
{
    Islr__JobSpec *copy = spec_copy(job), *plain = spec_default();
    copy->checkpoint->resume_minutes = plain->checkpoint->resume_minutes;
    char *name = copy->name;
    copy->name = plain->name;
    plain->name = name;
#define SWAP(type, field)                                                                                              \
    do {                                                                                                               \
        type *mine = copy->field;                                                                                      \
        copy->field = plain->field;                                                                                    \
        plain->field = mine;                                                                                           \
    } while (0)
    SWAP(Islr__Resources, resources);
    SWAP(Islr__Retry, retry);
    SWAP(Islr__Limits, limits);
#undef SWAP
    struct hash h = spec_hash(copy);
    spec_free(copy);
    spec_free(plain);
    return h;
}

struct state_header {
    struct hash job;
    struct run_state state;
};

// Every device buffer that makes up the state, in the order of the sections.
struct state_part {
    char name[32];
    void *device;
    size_t size;
};
enum { STATE_PARTS_MAX = 4 * LEARNERS + 1 };

#define STATE_SCALER "scaler"

static int list_parts(const struct step_space *t, struct state_part parts[STATE_PARTS_MAX])
{
    int n = 0;
    for (int i = 0; i < LEARNERS; i++) {
        const struct learner *l = &t->learner[i];
        if (!l->model.backend)
            continue;
        size_t size = l->model.layout.size * sizeof(float);
        const struct {
            const char *name;
            void *device;
            size_t size;
        } all[] = {{"weight", l->model.weight, size},
                   {"buffers", l->model.buffers, l->model.layout.buffer_size * sizeof(float)},
                   {"m", l->m, size},
                   {"v", l->v, size}};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            if (!all[k].device)
                continue;
            snprintf(parts[n].name, sizeof parts[n].name, "%s/%s", learner_names[i], all[k].name);
            parts[n].device = all[k].device;
            parts[n++].size = all[k].size;
        }
    }
    if (t->scaler)
        parts[n++] = (struct state_part){STATE_SCALER, t->scaler, sizeof *t->scaler};
    return n;
}

int state_save(const char *directory, const struct run_state *state, struct step_space *t, struct error *e)
{
    struct state_part parts[STATE_PARTS_MAX];
    struct resume_section sections[STATE_PARTS_MAX + 1];
    void *copies[STATE_PARTS_MAX] = {0};
    struct state_header header;
    memset(&header, 0, sizeof header);
    header.job = state_job_hash(t->job);
    header.state = *state;
    sections[0] = (struct resume_section){"header", &header, sizeof header};
    int n = list_parts(t, parts), rc = t->stream->op->synchronize(t->stream, e);
    for (int i = 0; i < n; i++) {
        const void *host = t->backend->op->host_address(t->backend, parts[i].device);
        if (!host) {
            host = copies[i] = xmalloc(parts[i].size);
            t->stream->op->download(t->stream, copies[i], parts[i].device, parts[i].size);
        }
        sections[i + 1] = (struct resume_section){parts[i].name, host, parts[i].size};
    }
    if (!rc)
        rc = t->stream->op->synchronize(t->stream, e);
    if (!rc)
        rc = resume_save(directory, state->step, sections, (size_t)n + 1, e);
    for (int i = 0; i < n; i++)
        free(copies[i]);
    return rc;
}

static void refresh_work_copies(struct step_space *t)
{
    for (int i = 0; i < LEARNERS; i++) {
        struct model *m = &t->learner[i].model;
        if (m->backend && m->work != m->weight)
            queue(t->stream, convert, .x = m->weight, .y = m->work, .from = DTYPE_F32, .to = m->type,
                  .count = m->layout.size);
    }
}

static int load_parts(const struct resume_point *point, const struct log *log, struct step_space *t, struct error *e)
{
    struct state_part parts[STATE_PARTS_MAX];
    int n = list_parts(t, parts);
    for (int i = 0; i < n; i++) {
        const struct resume_section *s = resume_find(point, parts[i].name);
        if (!s && parts[i].device == t->scaler) {
            log_warn(log, "%s is of a run without loss scaling: the scale begins anew", point->path);
            loss_scale_reset(t->scaler, t->stream, &t->schedule, (uint32_t)point->step);
            continue;
        }
        if (!s || s->size != parts[i].size)
            return error_set(e, ERR_DAMAGED, "%s: section %s is %s", point->path, parts[i].name,
                             s ? "of the wrong size" : "missing");
        t->stream->op->upload(t->stream, parts[i].device, s->data, s->size);
    }
    refresh_work_copies(t);
    return t->stream->op->synchronize(t->stream, e);
}

int state_load(const char *directory, const struct log *log, struct run_state *state, struct step_space *t,
               struct error *e)
{
    struct resume_point point;
    struct state_header header;
    if (resume_open(directory, log, &point, e))
        return -1;
    struct hash job = state_job_hash(t->job);
    int rc = resume_read(&point, "header", &header, sizeof header, e);
    if (!rc && !hash_equal(&header.job, &job))
        rc = error_set(e, ERR_INVALID, "%s is a resume point of another job: its settings differ from this one's",
                       point.path);
    if (!rc && (header.state.best_count > STATE_BEST_MAX || header.state.step > t->schedule.steps))
        rc = error_set(e, ERR_DAMAGED, "%s: its header makes no sense", point.path);
    if (!rc)
        rc = load_parts(&point, log, t, e);
    if (!rc) {
        *state = header.state;
        t->frozen = (int)state->frozen;
    }
    resume_close(&point);
    return rc;
}

int state_share(struct run_state *state, struct step_space *t, struct error *e)
{
    struct state_part parts[STATE_PARTS_MAX];
    int n = list_parts(t, parts), rc = 0;
    if (comm_size(t->comm) == 1)
        return 0;
    if (comm_broadcast(t->comm, state, sizeof *state, 0, e))
        return -1;
    t->frozen = (int)state->frozen;
    for (int i = 0; i < n && !rc; i++) {
        void *copy = xmalloc(parts[i].size);
        t->stream->op->download(t->stream, copy, parts[i].device, parts[i].size);
        rc = t->stream->op->synchronize(t->stream, e) || comm_broadcast(t->comm, copy, parts[i].size, 0, e);
        if (!rc) {
            t->stream->op->upload(t->stream, parts[i].device, copy, parts[i].size);
            rc = t->stream->op->synchronize(t->stream, e);
        }
        free(copy);
    }
    if (rc)
        return -1;
    refresh_work_copies(t);
    return t->stream->op->synchronize(t->stream, e);
}
