// A training run: see train.h. This file is its loop.
#include "core/train/train.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/train/checkpoint.h"
#include "core/train/memory.h"
#include "core/train/place.h"
#include "core/train/prepared.h"
#include "core/train/recipe.h"
#include "core/train/run.h"

void metric_add(struct metric_list *l, double value, const char *format, ...)
{
    va_list args;
    if (l->count == RUN_METRICS_MAX)
        return;
    va_start(args, format);
    vsnprintf(l->names[l->count], sizeof l->names[0], format, args);
    va_end(args);
    l->metrics[l->count] = (struct sink_metric){l->names[l->count], value};
    l->count++;
}

int run_report(struct run *r, const struct metric_list *l, int evaluation, struct error *e)
{
    const struct schedule *s = &r->step.schedule;
    struct sink_metrics m = {.step = r->state.step,
                             .epoch = schedule_epoch(s, r->state.step),
                             .evaluation = evaluation,
                             .count = l->count,
                             .metrics = l->metrics};
    journal_write(&r->journal, &m);
    struct sink_metric finite[RUN_METRICS_MAX];
    m.count = 0;
    m.metrics = finite;
    for (int i = 0; i < l->count; i++)
        if (isfinite(l->metrics[i].value)) // fp16: a skipped step has no gradient to speak of
            finite[m.count++] = l->metrics[i];
    if (r->o->sink->metrics)
        r->o->sink->metrics(r->o->sink->context, &m);
    return journal_flush(&r->journal, e);
}

// On the root, between what all ranks do together.
static void report_alone(struct run *r, const struct metric_list *l, int evaluation)
{
    struct error e;
    if (r->root && run_report(r, l, evaluation, &e) && !r->alone.code)
        r->alone = e;
}

struct evaluator run_evaluator(struct run *r, enum learner_role role)
{
    struct learner *l = &r->step.learner[role];
    return (struct evaluator){.comm = r->o->comm,
                              .stream = r->step.stream,
                              .data = &r->data,
                              .model = &l->model,
                              .space = &l->space,
                              .views = &l->views,
                              .x = l->x,
                              .clips = r->step.clips};
}

static void progress(const struct run *r, const char *doing)
{
    struct pulse *pulse = comm_pulse(r->o->comm);
    pulse_doing(pulse, doing);
    atomic_store_explicit(&pulse->step, r->state.step, memory_order_relaxed);
    if (r->o->sink->progress)
        r->o->sink->progress(r->o->sink->context, &(struct sink_progress){r->state.step, r->step.schedule.steps, doing,
                                                                          r->clips_per_second});
}

// ---- start --------------------------------------------------------------------------------------------------------

static int init_learner(struct run *r, enum learner_role role, const char *file, struct error *e)
{
    struct learner *l = &r->step.learner[role];
    struct checkpoint c;
    if (!l->model.backend)
        return 0;
    checkpoint_create(&c, &l->model.config);
    int rc = 0;
    if (file[0]) {
        struct checkpoint given;
        rc = checkpoint_read(&given, file, l->model.config.heads, e);
        if (!rc)
            rc = checkpoint_compatible(&given, &c, file, "the job's model", e);
        if (!rc)
            model_set(&l->model, r->step.stream, given.parameters, given.buffers);
        if (given.parameters)
            checkpoint_destroy(&given);
        if (rc)
            error_prefix(e, "init.%s", learner_names[role]);
    } else {
        layout_initialise(&l->model.layout, r->o->job->train->seed, role, c.parameters, c.buffers);
        model_set(&l->model, r->step.stream, c.parameters, c.buffers);
    }
    checkpoint_destroy(&c);
    return rc ? rc : r->step.stream->op->synchronize(r->step.stream, e);
}

// A file of init that is there no more is nothing to a run that goes on: its weights are in the resume point.
static int find_origin(struct run *r, struct state_origin *o, struct error *e)
{
    const Islr__Init *init = r->o->job->init;
    const char *const files[LEARNERS] = {
        [STUDENT] = init->student, [TEACHER] = init->teacher, [DISTILLED] = init->distilled};
    *o = (struct state_origin){.set = *set_hash(r->set)};
    for (int i = 0; i < LEARNERS; i++)
        if (files[i][0] && file_exists(files[i]) && hash_file(files[i], &o->init[i], e))
            return error_prefix(e, "init.%s", learner_names[i]);
    return 0;
}

static int start_fresh(struct run *r, struct error *e)
{
    const Islr__Init *init = r->o->job->init;
    return init_learner(r, STUDENT, init->student, e) || init_learner(r, TEACHER, init->teacher, e) ||
                   init_learner(r, DISTILLED, init->distilled, e)
               ? -1
               : 0;
}

// Messages of the resume reader go to the sink, line by line, without the "time level: " that it puts before its own.
static int load_state(struct run *r, const char *dir, struct error *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct log log = {stream, LOG_INFO, ""};
    int rc = state_load(dir, stream ? &log : NULL, &r->state, &r->step, e);
    if (stream)
        fclose(stream);
    for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        const char *said = strstr(line, ": ");
        sink_log(r->o->sink, LOG_WARN, "%s", said ? said + 2 : line);
    }
    free(text);
    return rc;
}

// Weights and state on rank 0: from a resume point, else fresh.
static int start_root(struct run *r, struct error *e)
{
    char *resume = run_path(r, "resume"), *journal = run_path(r, "metrics.jsonl"), *job = run_path(r, "job.yaml");
    char *text = spec_to_yaml(r->o->job);
    struct error missing = {0};
    int rc = file_make_dirs(r->o->dir, e) || find_origin(r, &r->state.origin, e), loaded = -1;
    if (!rc && r->o->resume) {
        loaded = load_state(r, resume, &missing);
        if (loaded && missing.code != ERR_NOT_FOUND) {
            *e = missing;
            rc = -1;
        } else if (loaded) {
            sink_log(r->o->sink, LOG_INFO, "no resume point in %s: starting from the beginning", resume);
        } else {
            sink_log(r->o->sink, LOG_INFO, "going on after step %u of %u", r->state.step, r->step.schedule.steps);
        }
    }
    if (!rc && loaded)
        rc = start_fresh(r, e) || place_clear(r->o->dir, e); // initial weights may be what is removed
    if (!rc)
        rc = file_write_atomic(job, text, strlen(text), e) || journal_open(&r->journal, journal, r->state.step, e);
    free(resume);
    free(journal);
    free(job);
    free(text);
    return rc ? -1 : 0;
}

static void tell_start(const struct run *r, int fed)
{
    const struct run_sink *sink = r->o->sink;
    const struct schedule *s = &r->step.schedule;
    int ranks = comm_size(r->o->comm);
    if (fed)
        sink_log(sink, LOG_INFO, "the set does not fit on the device beside the models: it is fed batch by batch");
    if (r->step.learner[STUDENT].shard.ranks > 1)
        sink_log(sink, LOG_INFO, "each rank keeps its share of the optimizer's state");
    if (r->step.reducer.note[0])
        sink_log(sink, LOG_INFO, "%s", r->step.reducer.note);
    sink_log(sink, LOG_INFO, "%u clips to train on, %u held out, %d signs; %u step%s in %u epoch%s, %s on %d rank%s",
             r->data.train_count, r->data.held_out_count, set_sign_count(r->set), s->steps, s->steps == 1 ? "" : "s",
             s->epochs, s->epochs == 1 ? "" : "s", dtype_name(r->step.learner[STUDENT].model.type), ranks,
             ranks == 1 ? "" : "s");
}

static int start(struct run *r, struct error *e)
{
    const struct train_options *o = r->o;
    char *path = NULL;
    struct hash hash = state_job_hash(o->job);
    hash_to_hex(&hash, r->job_hash);
    enum dtype type;
    progress(r, "prepare");
    if (run_check(o, &type, e) || prepared_set(o, &path, e))
        return -1;
    r->set = set_open(path, e);
    free(path);
    struct memory_request memory = {
        .job = o->job, .set = r->set, .backend = o->backend, .ranks = comm_size(o->comm), .type = type};
    if (comm_agree(o->comm, !r->set || memory_decide(&memory, e), e))
        return -1;
    struct dataset_options data = {o->job->data, memory.fed ? (int)o->job->train->batch / memory.ranks : 0,
                                   2 + o->job->distill->enabled};
    struct step_options step = {o->job, o->backend, o->comm, &r->data, memory.type};
    if (comm_agree(o->comm, dataset_create(&r->data, r->set, o->backend, &data, e), e) ||
        step_create(&r->step, &step, e))
        return -1;
    sampler_create(&r->sampler, r->data.train, r->data.train_count, o->job->train->batch, o->job->train->seed,
                   o->job->train->shuffle);
    if (comm_agree(o->comm, r->root && start_root(r, e), e) || state_share(&r->state, &r->step, e))
        return -1;
    if (r->root)
        tell_start(r, memory.fed);
    return 0;
}

static void finish(struct run *r)
{
    journal_close(&r->journal);
    sampler_destroy(&r->sampler);
    if (r->step.backend)
        step_destroy(&r->step);
    dataset_destroy(&r->data);
    set_close(r->set);
}

// ---- one step and what follows it -----------------------------------------------------------------------------------

// Evaluations come every eval_steps steps, or every eval_every epochs, and after the last step.
static int evaluation_due(const struct run *r)
{
    const Islr__Train *t = r->o->job->train;
    const struct schedule *s = &r->step.schedule;
    double interval = t->eval_steps ? t->eval_steps : t->eval_every * s->steps_per_epoch;
    uint32_t step = r->state.step;
    return step == s->steps || floor(step / interval) > floor((step - 1) / interval);
}

static int evaluate(struct run *r, struct error *e)
{
    struct metric_list list = {.count = 0};
    int late = 2 * (uint64_t)r->state.step >= r->step.schedule.steps;
    for (int i = 0; i < LEARNERS; i++) {
        if ((i != STUDENT && !late) || !r->step.learner[i].model.backend)
            continue;
        struct evaluator v = run_evaluator(r, i);
        if (evaluate_model(&v, r->data.held_out, r->data.held_out_count, &r->figures[i], NULL, e))
            return -1;
        r->evaluated[i] = (int)r->state.step;
        metric_add(&list, r->figures[i].accuracy, "accuracy/%s", learner_names[i]);
        if (i == STUDENT)
            metric_add(&list, r->figures[i].loss, "loss/valid");
    }
    report_alone(r, &list, 1);
    return 0;
}

static void report_step(struct run *r, const struct step_result *result)
{
    struct metric_list list = {.count = 0};
    for (int i = 0; i < LEARNERS; i++) {
        const struct step_losses *l = &result->learner[i];
        if (i == TEACHER || !r->step.learner[i].model.backend)
            continue;
        metric_add(&list, l->loss, "loss/%s", learner_names[i]);
        metric_add(&list, l->ce, "ce/%s", learner_names[i]);
        metric_add(&list, l->consistency, "consistency/%s", learner_names[i]);
    }
    for (int i = 0; i < LEARNERS; i++)
        if (i != TEACHER && r->step.learner[i].model.backend)
            metric_add(&list, result->learner[i].grad_norm, "grad_norm/%s", learner_names[i]);
    metric_add(&list, result->lr, "lr");
    if (result->loss_scale > 0) {
        metric_add(&list, result->loss_scale, "loss_scale");
        metric_add(&list, result->skipped, "skipped_steps");
    }
    metric_add(&list, r->clips_per_second, "clips_per_second");
    report_alone(r, &list, 0);
}

// The run ends here: says where it went wrong and leaves the batch's clips in a file.
static int fail_not_finite(struct run *r, const uint32_t *batch, struct error *e)
{
    char what[160];
    uint32_t step = r->state.step + 1, n = r->o->job->train->batch;
    if (step_find_not_finite(&r->step, what, sizeof what, e))
        return -1;
    if (!r->root) {
        error_set(e, ERR_FAILED, "step %u: not finite", step);
        return error_lasts(e);
    }
    struct strbuf text = {0};
    char *path = run_path(r, "not-finite-step-%u.csv", step);
    strbuf_printf(&text, "participant_id,sequence_id,path\n");
    for (uint32_t i = 0; i < n; i++) {
        const struct set_clip *c = set_clip(r->set, batch[i]);
        strbuf_printf(&text, "%lld,%lld,%s\n", (long long)c->participant, (long long)c->sequence, c->path);
    }
    int written = !file_write_atomic(path, text.text, text.length, e);
    if (written)
        error_set(e, ERR_FAILED, "step %u: not finite: %s; the batch's clips are listed in %s", step, what, path);
    else
        error_prefix(e, "step %u: not finite: %s; and the batch's clips could not be written", step, what);
    free(text.text);
    free(path);
    return error_lasts(e); // the same step gives the same bits again
}

// Collective; rank 0 writes it, and it alone has a directory.
static int save_resume_point(struct run *r, struct error *e)
{
    char *dir = r->root ? run_path(r, "resume") : NULL;
    progress(r, "save");
    int rc = comm_agree(r->o->comm, state_save(dir, &r->state, &r->step, e), e);
    if (!rc && r->root) {
        char *file = run_path(r, "resume/point-%u.islr-resume", r->state.step);
        run_file(r, "resume", file, schedule_epoch(&r->step.schedule, r->state.step));
        free(file);
    }
    free(dir);
    r->saved = clock_seconds();
    return rc;
}

// What a finished step brings with it. All ranks agree on what is due, from the step's number alone; and behind this on
// how it went.
static int after_step(struct run *r, struct error *e)
{
    const struct schedule *s = &r->step.schedule;
    if (evaluation_due(r)) {
        if (r->data.held_out_count) {
            progress(r, "evaluate");
            if (evaluate(r, e))
                return -1;
        }
        if (r->state.step > r->o->job->distill->eval_mode_from * s->steps)
            r->step.frozen = 1;
        r->state.frozen = (uint32_t)r->step.frozen;
    }
    int saves = schedule_ends_epoch(s, r->state.step);
    if (saves) {
        progress(r, "save");
        if (step_gather_weights(&r->step, e))
            return -1;
    }
    if (r->alone.code) {
        *e = r->alone;
        return -1;
    }
    return saves && r->root ? run_save_epoch(r, e) : 0;
}

static int one_step(struct run *r, struct error *e)
{
    const struct schedule *s = &r->step.schedule;
    struct step_result result;
    double began = clock_seconds();
    uint32_t step = r->state.step + 1, epoch = schedule_epoch(s, step);
    const uint32_t *batch = sampler_batch(&r->sampler, epoch, (step - 1) % s->steps_per_epoch);
    const uint32_t *next = schedule_ends_epoch(s, step) ? NULL : batch + r->o->job->train->batch;
    if (step_run(&r->step, step, batch, next, &result, e))
        return error_prefix(e, "step %u", step);
    struct error *trouble = &r->step.recorder.trouble;
    if (r->root && trouble->code != ERR_NONE)
        sink_log(r->o->sink, LOG_WARN, "step %u: %s", step, trouble->text);
    trouble->code = ERR_NONE;
    if (!result.finite)
        return fail_not_finite(r, batch, e);
    r->state.step = step;
    r->clips_per_second = r->o->job->train->batch / (clock_seconds() - began);
    report_step(r, &result);
    return 0;
}

// What all ranks do before the next step: the most that any of them has reason for. A resume point is due by rank 0's
// clock; ranks that are asked to stop save one, and all leave.
enum due { DUE_NOTHING, DUE_SAVE, DUE_STOP };

static int agree_on_due(struct run *r, enum due *due, struct error *e)
{
    const struct run_sink *sink = r->o->sink;
    int64_t flag = DUE_NOTHING;
    if (r->root && clock_seconds() - r->saved > 60 * r->o->job->checkpoint->resume_minutes)
        flag = DUE_SAVE;
    if (sink->should_stop && sink->should_stop(sink->context))
        flag = DUE_STOP;
    if (comm_max_i64(r->o->comm, &flag, e))
        return -1;
    *due = (enum due)flag;
    return 0;
}

static int loop(struct run *r, struct error *e)
{
    enum due due = DUE_NOTHING;
    uint32_t first = r->state.step;
    r->saved = clock_seconds();
    while (r->state.step < r->step.schedule.steps) {
        if (agree_on_due(r, &due, e) ||
            ((due == DUE_STOP || (due == DUE_SAVE && r->state.step > first)) && save_resume_point(r, e)))
            return -1;
        if (due == DUE_STOP)
            return error_set(e, ERR_INTERRUPTED, "stopped after step %u of %u; a resume point was saved", r->state.step,
                             r->step.schedule.steps);
        if (one_step(r, e))
            return -1;
        if (comm_agree(r->o->comm, after_step(r, e), e))
            return -1;
        progress(r, "train");
    }
    return 0;
}

int train_one(const struct train_options *o, struct error *e)
{
    struct run r = {.o = o, .root = comm_rank(o->comm) == 0, .started = clock_seconds()};
    int rc = start(&r, e) || loop(&r, e) ? -1 : 0;
    if (!rc) {
        progress(&r, "finish");
        rc = run_finish(&r, e);
    }
    finish(&r);
    return rc;
}

int train_run(const struct train_options *o, struct error *e)
{
    return spec_fold(o->job) == SPEC_FOLD_ALL ? train_all_folds(o, e) : train_one(o, e);
}
