// A run's state between two steps: see state.h.
#include "core/train/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/ckpt/resume.h"
#include "core/spec/spec.h"
#include "core/train/gather.h"

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

enum { STATE_VERSION = 2 }; // 1 had neither a number nor an origin

struct state_header {
    uint32_t version, reserved;
    struct hash job;
    struct run_state state;
};

// Every device buffer that makes up the state, in the order of the sections.
struct state_part {
    char name[32];
    void *device;
    size_t size; // of the section
    // Moments of which the ranks keep parts (shard.h): whose, and where the whole waits between load and share.
    struct learner *shared;
    float **whole;
};
enum { STATE_PARTS_MAX = 4 * LEARNERS + 1 };

#define STATE_SCALER "scaler"

static int list_parts(struct step_space *t, struct state_part parts[STATE_PARTS_MAX])
{
    int n = 0;
    for (int i = 0; i < LEARNERS; i++) {
        struct learner *l = &t->learner[i];
        if (!l->model.backend)
            continue;
        size_t size = l->model.layout.size * sizeof(float);
        const struct {
            const char *name;
            void *device;
            size_t size;
            float **whole;
        } all[] = {{"weight", l->model.weight, size, NULL},
                   {"buffers", l->model.buffers, l->model.layout.buffer_size * sizeof(float), NULL},
                   {"m", l->m, size, &l->whole[0]},
                   {"v", l->v, size, &l->whole[1]}};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            if (!all[k].device)
                continue;
            parts[n] = (struct state_part){.device = all[k].device, .size = all[k].size, .whole = all[k].whole};
            parts[n].shared = all[k].whole && l->shard.ranks > 1 ? l : NULL;
            snprintf(parts[n].name, sizeof parts[n].name, "%s/%s", learner_names[i], all[k].name);
            n++;
        }
    }
    if (t->scaler)
        parts[n++] = (struct state_part){.name = STATE_SCALER, .device = t->scaler, .size = sizeof *t->scaler};
    return n;
}

// The host's copy of a part, or where it reaches the device's own; *copy is to be freed. Collective; what is NULL on ranks
// that do not write.
static int read_part(struct step_space *t, const struct state_part *p, const void **data, void **copy, struct error *e)
{
    const void *from = p->device;
    int writes = comm_rank(t->comm) == 0;
    if (p->shared) { // by way of the gradient, which is free between two steps
        if (gather_moments(p->shared, p->device, &t->reducer, e))
            return -1;
        from = p->shared->gradient;
    }
    *copy = NULL;
    *data = p->shared ? NULL : t->backend->op->host_address(t->backend, p->device);
    if (!*data && writes) {
        *data = *copy = xmalloc(p->size);
        t->stream->op->download(t->stream, *copy, from, p->size);
    }
    return 0;
}

int state_save(const char *directory, const struct run_state *state, struct step_space *t, struct error *e)
{
    struct state_part parts[STATE_PARTS_MAX];
    struct resume_section sections[STATE_PARTS_MAX + 1];
    void *copies[STATE_PARTS_MAX] = {0};
    struct state_header header;
    memset(&header, 0, sizeof header);
    header.version = STATE_VERSION;
    header.job = state_job_hash(t->job);
    header.state = *state;
    sections[0] = (struct resume_section){"header", &header, sizeof header};
    int n = list_parts(t, parts), rc = step_gather_weights(t, e);
    rc = rc || reducer_wait(&t->reducer, e);
    for (int i = 0; i < n && !rc; i++) {
        const void *data = NULL;
        rc = read_part(t, &parts[i], &data, &copies[i], e);
        sections[i + 1] = (struct resume_section){parts[i].name, data, parts[i].size};
    }
    rc = rc || reducer_wait(&t->reducer, e);
    if (!rc && comm_rank(t->comm) == 0)
        rc = resume_save(directory, state->step, sections, (size_t)n + 1, e);
    for (int i = 0; i < n; i++)
        free(copies[i]);
    return rc ? -1 : 0;
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
        if (parts[i].shared)
            memcpy(*parts[i].whole = xrealloc(*parts[i].whole, s->size, 1), s->data, s->size);
        else
            t->stream->op->upload(t->stream, parts[i].device, s->data, s->size);
    }
    refresh_work_copies(t);
    return t->stream->op->synchronize(t->stream, e);
}

static int read_header(const struct resume_point *point, struct state_header *header, struct error *e)
{
    const struct resume_section *s = resume_find(point, "header");
    uint32_t version = 0;
    if (s && s->size == sizeof *header)
        memcpy(&version, s->data, sizeof version);
    if (s && version != STATE_VERSION)
        return error_set(e, ERR_INVALID,
                         "%s is of another version of this program, which this one cannot go on from: go on with that "
                         "one, or begin the run anew",
                         point->path);
    return resume_read(point, "header", header, sizeof *header, e);
}

// `what` is of the run that left the point, `now` what this one would begin from.
static int check_hash(const struct resume_point *point, const char *what, const struct hash *then,
                      const struct hash *now, struct error *e)
{
    char hex[2][65];
    if (hash_equal(then, now))
        return 0;
    hash_to_hex(then, hex[0]);
    hash_to_hex(now, hex[1]);
    return error_set(e, ERR_INVALID,
                     "%s is of a run that began with another %s: its SHA-256 was %s, now it is %s; give what it was, "
                     "or begin the run anew",
                     point->path, what, hex[0], hex[1]);
}

static int check_origin(const struct resume_point *point, const struct state_origin *then,
                        const struct state_origin *now, struct error *e)
{
    static const char *const files[LEARNERS] = {
        [STUDENT] = "file init.student", [TEACHER] = "file init.teacher", [DISTILLED] = "file init.distilled"};
    static const struct hash none;
    if (check_hash(point, "prepared set (data.path)", &then->set, &now->set, e))
        return -1;
    for (int i = 0; i < LEARNERS; i++)
        if (!hash_equal(&now->init[i], &none) && check_hash(point, files[i], &then->init[i], &now->init[i], e))
            return -1;
    return 0;
}

int state_load(const char *directory, const struct log *log, struct run_state *state, struct step_space *t,
               struct error *e)
{
    struct resume_point point;
    struct state_header header;
    if (resume_open(directory, log, &point, e))
        return -1;
    struct hash job = state_job_hash(t->job);
    int rc = read_header(&point, &header, e);
    if (!rc && !hash_equal(&header.job, &job))
        rc = error_set(e, ERR_INVALID, "%s is a resume point of another job: its settings differ from this one's",
                       point.path);
    if (!rc)
        rc = check_origin(&point, &header.state.origin, &state->origin, e);
    if (!rc && (header.state.best_count > STATE_BEST_MAX || header.state.step > t->schedule.steps))
        rc = error_set(e, ERR_DAMAGED, "%s: its header makes no sense", point.path);
    if (!rc)
        rc = load_parts(&point, log, t, e);
    rc = rc || resume_remove_later(directory, point.step, e) ? -1 : 0;
    if (!rc) {
        *state = header.state;
        t->frozen = (int)state->frozen;
    }
    resume_close(&point);
    return rc;
}

// Moments of which every rank keeps parts: rank 0 has the whole, or there are none yet.
static int share_moments(struct step_space *t, const struct state_part *p, struct error *e)
{
    const struct shard *s = &p->shared->shard;
    float *whole = *p->whole ? *p->whole : xcalloc(p->size, 1), *own = p->device;
    *p->whole = NULL;
    int rc = comm_broadcast(t->comm, whole, p->size, 0, e);
    for (int b = 0; b < shard_buckets(s) && !rc; b++) {
        struct shard_part part = shard_part(s, b);
        t->stream->op->upload(t->stream, own + part.at, whole + part.start, part.count * sizeof *own);
    }
    rc = rc || t->stream->op->synchronize(t->stream, e);
    free(whole);
    return rc ? -1 : 0;
}

static int share_part(struct step_space *t, const struct state_part *p, struct error *e)
{
    struct stream *s = t->stream;
    void *copy = xmalloc(p->size);
    s->op->download(s, copy, p->device, p->size);
    int rc = s->op->synchronize(s, e) || comm_broadcast(t->comm, copy, p->size, 0, e);
    if (!rc) {
        s->op->upload(s, p->device, copy, p->size);
        rc = s->op->synchronize(s, e);
    }
    free(copy);
    return rc ? -1 : 0;
}

int state_share(struct run_state *state, struct step_space *t, struct error *e)
{
    struct state_part parts[STATE_PARTS_MAX];
    int n = list_parts(t, parts);
    if (comm_size(t->comm) == 1)
        return 0;
    if (comm_broadcast(t->comm, state, sizeof *state, 0, e))
        return -1;
    t->frozen = (int)state->frozen;
    for (int i = 0; i < n; i++)
        if (parts[i].shared ? share_moments(t, &parts[i], e) : share_part(t, &parts[i], e))
            return -1;
    refresh_work_copies(t);
    return t->stream->op->synchronize(t->stream, e);
}
