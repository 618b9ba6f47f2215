// Checkpoints that a run leaves on its way, and which of them stay (the job's `checkpoint`): those of the last epochs,
// which the soup is made of, and the best.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/checkpoint.h"
#include "core/train/run.h"

char *run_path(const struct run *r, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return file_join(r->o->dir, name);
}

char *run_epoch_dir(const struct run *r, uint32_t epoch)
{
    return run_path(r, "checkpoints/epoch-%04u", epoch);
}

void run_file(struct run *r, const char *what, const char *path, uint32_t epoch)
{
    const struct run_sink *sink = r->o->sink;
    if (sink->file)
        sink->file(sink->context,
                   &(struct sink_file){.what = what, .path = path, .epoch = epoch, .step = r->state.step});
}

static const char *sign_name(const void *context, int i)
{
    return set_sign_name(context, i);
}

void run_describe_checkpoint(const struct run *r, struct checkpoint *c, const char *model, uint32_t epoch)
{
    if (!c->signs)
        checkpoint_set_signs(c, sign_name, r->set);
    free(c->origin);
    free(c->job_hash);
    c->origin = epoch ? xprintf("{\"model\":\"%s\",\"epoch\":%u,\"step\":%u}", model, epoch, r->state.step)
                      : xprintf("{\"model\":\"%s\",\"step\":%u}", model, r->state.step);
    c->job_hash = xstrdup(r->job_hash);
}

int run_save_model(struct run *r, enum learner_role role, const char *path, uint32_t epoch, struct error *e)
{
    const struct model *m = &r->step.learner[role].model;
    struct checkpoint c;
    checkpoint_create(&c, &m->config);
    run_describe_checkpoint(r, &c, learner_names[role], epoch);
    int rc = model_get(m, r->step.stream, c.parameters, c.buffers, e) || checkpoint_write(&c, path, e);
    checkpoint_destroy(&c);
    pulse_beat(comm_pulse(r->o->comm));
    if (!rc)
        run_file(r, learner_names[role], path, epoch);
    return rc ? -1 : 0;
}

uint32_t run_soup_first(const struct run *r)
{
    uint32_t epochs = r->step.schedule.epochs, last = r->o->job->checkpoint->soup_last;
    return last < epochs ? epochs - last + 1 : 1; // none: behind the last epoch
}

// Whether the epoch's checkpoints belong to the last ones, which stay whatever their accuracy.
static int among_last(const struct run *r, uint32_t epoch)
{
    return epoch >= run_soup_first(r) || epoch + r->o->job->checkpoint->keep_latest > r->step.schedule.epochs;
}

static int save_all(struct run *r, uint32_t epoch, struct error *e)
{
    char *dir = run_epoch_dir(r, epoch);
    int rc = file_make_dirs(dir, e);
    for (int i = 0; i < LEARNERS && !rc; i++) {
        if (!r->step.learner[i].model.backend)
            continue;
        char *path = xprintf("%s/%s.safetensors", dir, learner_names[i]);
        rc = run_save_model(r, i, path, epoch, e);
        free(path);
    }
    free(dir);
    return rc;
}

// Puts the epoch into the list of the best if it is good enough; *out gets the epoch that falls out of it, or 0.
static int enter_best(struct run *r, uint32_t epoch, double accuracy, uint32_t *out)
{
    struct run_state *s = &r->state;
    uint32_t keep = r->o->job->checkpoint->keep_best, at = s->best_count;
    *out = 0;
    while (at > 0 && accuracy > s->best[at - 1].accuracy)
        at--;
    if (at >= keep)
        return 0;
    if (s->best_count == keep)
        *out = s->best[--s->best_count].epoch;
    memmove(&s->best[at + 1], &s->best[at], (s->best_count - at) * sizeof *s->best);
    s->best[at] = (struct state_best){epoch, accuracy};
    s->best_count++;
    return 1;
}

int run_save_epoch(struct run *r, struct error *e)
{
    uint32_t epoch = schedule_epoch(&r->step.schedule, r->state.step), dropped = 0;
    enum learner_role judged = r->step.distills ? DISTILLED : STUDENT;
    // Accuracies of all models are there in the second half only.
    int evaluated = r->evaluated[TEACHER] == (int)r->state.step;
    int best = evaluated && enter_best(r, epoch, r->figures[judged].accuracy, &dropped);
    if ((best || among_last(r, epoch)) && save_all(r, epoch, e))
        return -1;
    if (!dropped || among_last(r, dropped))
        return 0;
    char *dir = run_epoch_dir(r, dropped);
    int rc = file_remove_tree(dir, e);
    free(dir);
    return rc;
}
