// One training step of the three models: see step.h.
#include "core/train/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/train/gather.h"
#include "core/train/recipe.h"

int step_check_ranks(const Islr__JobSpec *job, int ranks, struct error *e)
{
    const Islr__Train *train = job->train;
    int groups = (int)(train->batch / train->group);
    if (groups % ranks)
        return error_set(e, ERR_INVALID, "a batch of %u clips has %d group%s of %u, which %d ranks cannot share evenly",
                         train->batch, groups, groups == 1 ? "" : "s", train->group, ranks);
    return 0;
}

static int divide_batch(struct step_space *t, struct error *e)
{
    const Islr__Train *train = t->job->train;
    int ranks = comm_size(t->comm);
    if (step_check_ranks(t->job, ranks, e))
        return -1;
    t->total_groups = (int)(train->batch / train->group);
    t->groups = t->total_groups / ranks;
    t->clips = t->groups * (int)train->group;
    t->first_clip = comm_rank(t->comm) * t->clips;
    return 0;
}

static int create_learners(struct step_space *t, enum dtype type, struct error *e)
{
    int classes = set_sign_count(t->data->set);
    struct model_config student = recipe_student(t->job, classes), distilled = recipe_distilled(t->job, classes);
    int shares = t->job->resources->shard_optimizer;
    size_t backward = 0;
    for (int i = 0; i < LEARNERS; i++) {
        if (i == DISTILLED && !t->distills)
            continue;
        struct learner_options o = {.backend = t->backend,
                                    .config = i == DISTILLED ? &distilled : &student,
                                    .type = type,
                                    .clips = t->clips,
                                    .group = (int)t->job->train->group,
                                    .ranks = shares ? comm_size(t->comm) : 1,
                                    .rank = shares ? comm_rank(t->comm) : 0,
                                    .seed = t->job->train->seed,
                                    .scalars = t->scalars + i};
        if (learner_create(&t->learner[i], i, &o, e))
            return -1;
        t->learner[i].mode.pulse = comm_pulse(t->comm);
        size_t size = backward_space_size(&t->learner[i].model, t->clips);
        backward = size > backward ? size : backward;
    }
    return backward_space_create(&t->backward, t->backend, backward, e);
}

static int create_buffers(struct step_space *t, enum dtype type, struct error *e)
{
    const struct backend_ops *op = t->backend->op;
    size_t n = (size_t)t->clips;
    if (!(t->stream = op->stream_create(t->backend, e)) ||
        !(t->scalars = op->allocate(t->backend, LEARNERS * sizeof *t->scalars, e)) ||
        !(t->label = op->allocate(t->backend, n * sizeof *t->label, e)) ||
        !(t->coefficient = op->allocate(t->backend, n * sizeof *t->coefficient, e)) ||
        !(t->plans = op->allocate(t->backend, n * sizeof *t->plans, e)))
        return -1;
    if (type == DTYPE_F16) {
        if (!(t->scaler = loss_scale_create(t->backend, e)))
            return -1;
        loss_scale_reset(t->scaler, t->stream, &t->schedule, 0);
    }
    t->host_plans = xcalloc(LEARNERS * n, sizeof *t->host_plans);
    t->host_label = xcalloc(n, sizeof *t->host_label);
    t->length = xcalloc(n, sizeof *t->length);
    mixup_plan_create(&t->mixup, t->clips);
    return 0;
}

int step_create(struct step_space *t, const struct step_options *o, struct error *e)
{
    *t = (struct step_space){
        .job = o->job, .backend = o->backend, .comm = o->comm, .data = o->data, .distills = o->job->distill->enabled};
    if (schedule_make(&t->schedule, o->job, o->data->train_count, e) || divide_batch(t, e))
        return -1;
    t->augmenter = augmenter_create(o->data->set, o->data->train, o->data->train_count, o->job->augment,
                                    o->job->train->seed, t->schedule.epochs);
    int failed = create_buffers(t, o->type, e) || create_learners(t, o->type, e);
    if (!comm_agree(t->comm, failed, e) && !reducer_create(&t->reducer, t->comm, t->backend, t->stream, e) &&
        !recorder_create(&t->recorder, &t->reducer, e))
        return 0;
    step_destroy(t);
    return -1;
}

void step_destroy(struct step_space *t)
{
    void *const owned[] = {t->scalars, t->scaler, t->label, t->coefficient, t->plans};
    recorder_destroy(&t->recorder);
    reducer_destroy(&t->reducer);
    for (int i = 0; i < LEARNERS; i++)
        learner_destroy(&t->learner[i]);
    backward_space_destroy(&t->backward);
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i])
            t->backend->op->release(t->backend, owned[i]);
    if (t->stream)
        t->stream->op->stream_destroy(t->stream);
    augmenter_destroy(t->augmenter);
    mixup_plan_destroy(&t->mixup);
    free(t->host_plans);
    free(t->host_label);
    free(t->length);
    memset(t, 0, sizeof *t);
}

static int has_learner(const struct step_space *t, int role)
{
    return role != DISTILLED || t->distills;
}

// Draws all models' views of the step's clips; where the dataset is fed, these set out for the device.
static void plan_views(struct step_space *t, uint32_t step, const uint32_t *clips)
{
    uint32_t epoch = schedule_epoch(&t->schedule, step);
    int count = 0;
    for (int i = 0; i < LEARNERS; i++)
        for (int k = 0; k < t->clips && has_learner(t, i); k++)
            t->host_plans[count++] = augmenter_draw(t->augmenter, clips[k], (uint32_t)i, epoch);
    if (t->data->feeder)
        t->feed = feeder_put(t->data->feeder, t->host_plans, count);
    t->planned = step;
}

// Makes sure that the step's views are planned and their clips on the device.
static int fetch_clips(struct step_space *t, uint32_t step, const uint32_t *clips, struct error *e)
{
    struct feeder *f = t->data->feeder;
    if (t->planned != step || (f && !feeder_holds(f, &t->feed)))
        plan_views(t, step, clips);
    t->planned = 0; // once: what comes before another step of this number is not known
    if (!f)
        return dataset_feed(t->data, NULL, 0, &t->feed, e);
    return feeder_wait(f, e);
}

static struct augment_plan *plans_of(const struct step_space *t, int role)
{
    return t->host_plans + (size_t)role * (size_t)t->clips;
}

static struct view_input view_input(struct step_space *t, const struct learner *l)
{
    for (int i = 0; i < t->clips; i++)
        t->length[i] = plans_of(t, l->role)[i].count;
    return (struct view_input){.clips = t->clips,
                               .frames = l->model.config.max_len,
                               .first_clip = (uint32_t)t->first_clip,
                               .x = l->x,
                               .length = t->length,
                               .partner = t->mixup.any ? t->mixup.partner : NULL,
                               .coefficient = t->mixup.coefficient,
                               .layer = t->mixup.layer[l->role],
                               .rows = t->shape.rows,
                               .uniform = t->recorder.uniform};
}

// What shape the step has on all ranks, where shapes should be few.
static int choose_shape(struct step_space *t, struct error *e)
{
    struct step_shape shape = {.mixed = t->mixup.any, .frozen = t->frozen};
    int most = 0;
    t->shape = shape;
    for (int i = 0; i < LEARNERS && t->recorder.uniform; i++) {
        struct learner *l = &t->learner[i];
        if (!has_learner(t, i))
            continue;
        struct view_input input = view_input(t, l);
        int rows = view_rows(&l->views, &input), limit = view_rows_max(t->clips, l->model.config.max_len);
        shape.rows = rows > shape.rows ? rows : shape.rows;
        most = !most || limit < most ? limit : most;
    }
    if (recorder_agree(&t->recorder, &shape, most, e))
        return -1;
    t->shape = shape;
    t->mixup.any = shape.mixed;
    return 0;
}

// Queues the making of the model's view.
static void make_view(struct step_space *t, struct learner *l)
{
    struct view_input input = view_input(t, l);
    t->stream->op->upload(t->stream, t->plans, plans_of(t, l->role), (size_t)t->clips * sizeof *t->plans);
    queue(t->stream, augment, .frames = t->feed.frames, .offset = t->feed.offset, .frame_count = t->feed.frame_count,
          .plan = t->plans, .views = t->clips, .max_frames = input.frames, .out = l->x);
    l->view = view_build(&l->views, t->stream, &input);
}

static int make_batch(struct step_space *t, uint32_t step, const uint32_t *clips, struct error *e)
{
    const Islr__Train *train = t->job->train;
    uint32_t epoch = schedule_epoch(&t->schedule, step);
    struct step_scalars now = schedule_scalars(&t->schedule, step), scalars[LEARNERS] = {now, now, now};
    if (fetch_clips(t, step, clips, e))
        return -1;
    mixup_draw(&t->mixup, t->job->mixup, train->seed, step, epoch, t->schedule.epochs,
               t->first_clip / (int)train->group, (int)train->group);
    if (choose_shape(t, e))
        return -1;
    for (int i = 0; i < t->clips; i++)
        t->host_label[i] = set_clip(t->data->set, clips[i])->label;
    const struct backend_ops *op = t->backend->op;
    op->upload(t->stream, t->scalars, scalars, sizeof scalars);
    for (int i = 0; i < LEARNERS && t->scaler; i++)
        op->copy(t->stream, &t->scalars[i].loss_scale, &t->scaler->scale, sizeof t->scaler->scale);
    op->upload(t->stream, t->label, t->host_label, (size_t)t->clips * sizeof *t->label);
    op->upload(t->stream, t->coefficient, t->mixup.coefficient, (size_t)t->clips * sizeof *t->coefficient);
    for (int i = 0; i < LEARNERS; i++)
        if (has_learner(t, i))
            make_view(t, &t->learner[i]);
    return 0;
}

static void forward_and_backward(struct step_space *t)
{
    struct reduce_pass passes[LEARNERS];
    struct learner_targets targets = {.label = t->label,
                                      .mixed = t->mixup.any,
                                      .coefficient = t->coefficient,
                                      .ousm = (int)t->job->train->ousm,
                                      .smoothing = (float)t->job->train->smoothing,
                                      .group_weight = 1.0f / (float)t->total_groups};
    struct learner *teacher = &t->learner[TEACHER];
    learner_forward(teacher, t->stream);
    targets.teacher = teacher->space.logits.data;
    for (int i = 0; i < LEARNERS; i++) {
        struct learner *l = &t->learner[i];
        if (i == TEACHER || (i == DISTILLED && !t->distills))
            continue;
        if (i == DISTILLED)
            l->mode.train = l->mode.dropout = !t->frozen;
        learner_forward(l, t->stream);
        struct gradient_watch watch =
            reduce_pass_begin(&passes[i], &t->reducer, l->gradient, l->model.layout.size, l->shard.ranks > 1);
        learner_backward(l, &t->backward, t->stream, &targets, &watch);
    }
}

// BatchNorm's running statistics follow a linear recursion, so their mean over the ranks is what all groups together give.
// Done every step, it keeps the ranks' models the same to the bit.
static int average_buffers(struct step_space *t, struct error *e)
{
    for (int i = 0; i < LEARNERS; i++) {
        struct model *m = &t->learner[i].model;
        if (!m->backend || (i == DISTILLED && t->frozen))
            continue;
        if (reducer_average(&t->reducer, m->buffers, m->layout.buffer_size, e))
            return error_prefix(e, "BatchNorm statistics of the %s", learner_names[i]);
    }
    return 0;
}

static int update(struct step_space *t, struct error *e)
{
    struct learner *student = &t->learner[STUDENT], *distilled = &t->learner[DISTILLED];
    learner_measure(student, t->stream);
    if (t->distills)
        learner_measure(distilled, t->stream);
    if (gather_squares(t->learner, &t->reducer, e))
        return -1;
    learner_norm(student, t->stream);
    if (t->distills)
        learner_norm(distilled, t->stream);
    if (t->scaler) {
        struct step_scalars *scalars[SCALER_MODELS] = {&t->scalars[STUDENT],
                                                       t->distills ? &t->scalars[DISTILLED] : NULL};
        const double *squares[SCALER_MODELS] = {student->square_norm, distilled->square_norm};
        loss_scale_update(t->scaler, t->stream, &t->schedule, scalars, squares);
    }
    learner_update(student, t->stream, t->job->train, &t->learner[TEACHER]);
    if (t->distills)
        learner_update(distilled, t->stream, t->job->train, NULL);
    return gather_weights(t->learner, &t->reducer, e);
}

// All that a step computes, from the views to the new weights. What it reads on the host must be the same in all steps of
// one shape, since this may be recorded.
static int queue_step(void *context, struct error *e)
{
    struct step_space *t = context;
    forward_and_backward(t);
    return reducer_finish(&t->reducer, e) || average_buffers(t, e) || update(t, e) ? -1 : 0;
}

// What a step leaves on the device.
struct outcome {
    float *losses[LEARNERS]; // [groups, 3]
    double squares[LEARNERS];
    struct step_scalars scalars; // the student's
    struct loss_scaler scaler;
};

static int download_outcome(struct step_space *t, struct outcome *o, struct error *e)
{
    struct stream *s = t->stream;
    for (int i = 0; i < LEARNERS; i++) {
        struct learner *l = &t->learner[i];
        if (!l->losses)
            continue;
        s->op->download(s, o->losses[i], l->losses, (size_t)t->groups * 3 * sizeof(float));
        s->op->download(s, &o->squares[i], l->square_norm, sizeof o->squares[i]);
    }
    if (t->scaler) {
        s->op->download(s, &o->scalars, &t->scalars[STUDENT], sizeof o->scalars);
        s->op->download(s, &o->scaler, t->scaler, sizeof o->scaler);
    }
    return reducer_wait(&t->reducer, e);
}

// Losses are means over all groups of all ranks; gradient norms are the same everywhere.
static int collect(struct step_space *t, struct step_result *out, struct error *e)
{
    struct outcome o = {.scalars.loss_scale = 1};
    double sums[LEARNERS * 3] = {0};
    for (int i = 0; i < LEARNERS; i++)
        o.losses[i] = xcalloc((size_t)t->groups * 3, sizeof(float));
    int rc = download_outcome(t, &o, e);
    for (int i = 0; i < LEARNERS; i++) {
        for (int g = 0; g < t->groups; g++)
            for (int k = 0; k < 3; k++)
                sums[i * 3 + k] += (double)o.losses[i][g * 3 + k] / t->total_groups;
        free(o.losses[i]);
    }
    if (rc || comm_sum_f64(t->comm, sums, LEARNERS * 3, e))
        return -1;
    out->finite = 1;
    for (int i = 0; i < LEARNERS; i++) {
        out->learner[i] = (struct step_losses){sums[i * 3], sums[i * 3 + 1], sums[i * 3 + 2],
                                               sqrt(o.squares[i]) / (double)o.scalars.loss_scale};
        out->finite &= isfinite(out->learner[i].loss) && isfinite(o.squares[i]);
    }
    if (t->scaler) {
        out->finite |= o.scaler.scale >= LOSS_SCALE_LEAST;
        out->loss_scale = (double)o.scalars.loss_scale;
        out->skipped = o.scaler.skipped;
        out->lr = (double)o.scalars.lr;
    }
    return 0;
}

int step_run(struct step_space *t, uint32_t step, const uint32_t *batch, const uint32_t *next, struct step_result *out,
             struct error *e)
{
    *out = (struct step_result){.lr = schedule_lr(&t->schedule, step)};
    if (make_batch(t, step, batch + t->first_clip, e) || recorder_run(&t->recorder, t->shape, queue_step, t, e))
        return -1;
    if (next && t->data->feeder)
        plan_views(t, step + 1, next + t->first_clip);
    return collect(t, out, e);
}

int step_gather_weights(struct step_space *t, struct error *e)
{
    return gather_masters(t->learner, &t->reducer, e);
}

static const char *first_not_finite(const struct layout *l, const float *values)
{
    for (int i = l->parameter_count - 1; i >= 0; i--) { // from the output back: the first that a backward pass reaches
        const struct layout_entry *t = &l->parameters[i];
        for (size_t k = 0; k < t->count; k++)
            if (!isfinite(values[t->offset + k]))
                return t->name;
    }
    return NULL;
}

int step_find_not_finite(struct step_space *t, char *text, size_t size, struct error *e)
{
    snprintf(text, size, "the losses alone");
    if (step_gather_weights(t, e))
        return -1;
    for (int i = 0; i < LEARNERS; i++)
        if (t->learner[i].gradient && gather_moments(&t->learner[i], NULL, &t->reducer, e))
            return -1;
    for (int i = 0; i < LEARNERS; i++) {
        const struct learner *l = &t->learner[i];
        const struct layout *layout = &l->model.layout;
        const float *const sources[] = {l->model.weight, l->gradient};
        float *values = xcalloc(layout->size + 1, sizeof *values);
        for (int k = 0; k < 2; k++) {
            if (!sources[k])
                continue;
            t->stream->op->download(t->stream, values, sources[k], layout->size * sizeof *values);
            if (t->stream->op->synchronize(t->stream, e)) {
                free(values);
                return -1;
            }
            const char *name = first_not_finite(layout, values);
            if (name) {
                snprintf(text, size, "%s%s of the %s", k ? "the gradient of " : "", name, learner_names[i]);
                free(values);
                return 0;
            }
        }
        free(values);
    }
    return 0;
}
