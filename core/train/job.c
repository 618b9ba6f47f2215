// Jobs of every kind: see job.h.
#include "core/train/job.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/train/assess.h"
#include "core/train/mix.h"
#include "core/train/prepared.h"
#include "core/train/recipe.h"

static void tell_file(const struct train_options *o, const char *what, const char *path)
{
    if (o->sink->file)
        o->sink->file(o->sink->context, &(struct sink_file){.what = what, .path = path});
}

static int fold_of(const Islr__JobSpec *job)
{
    int fold = spec_fold(job);
    return fold >= 0 ? fold : -1; // "all" and "full": every clip
}

static int run_prepare(const struct train_options *o, struct error *e)
{
    char *out = file_join(o->dir, "set.islr");
    int rc = prepared_set_at(o, out, e);
    if (!rc && comm_rank(o->comm) == 0)
        tell_file(o, "set", out);
    free(out);
    return rc;
}

static int run_evaluate(const struct train_options *o, struct error *e)
{
    const Islr__JobSpec *job = o->job;
    struct assess_options options = {.backend = o->backend,
                                     .models = (const char *const *)job->models,
                                     .model_count = job->n_models,
                                     .data = job->data->path,
                                     .fold = fold_of(job),
                                     .k = (int)job->data->k,
                                     .fold_seed = job->data->fold_seed,
                                     .fold_file = job->data->fold_file,
                                     .strict = job->data->strict,
                                     .heads = (int)job->model->heads,
                                     .threads = o->threads,
                                     .pulse = comm_pulse(o->comm)};
    struct assessment a = {0};
    if (recipe_type(job->train->precision, o->backend, &options.type, e) || assess(&options, &a, e)) {
        assessment_free(&a);
        return -1;
    }
    char *path = file_join(o->dir, "evaluation.json");
    json_t *root = assessment_json(&a);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    int rc = file_write_atomic(path, text, strlen(text), e);
    struct sink_metric metrics[] = {{"accuracy", a.accuracy}, {"top5", a.top5}, {"loss", a.loss}};
    if (!rc && o->sink->metrics)
        o->sink->metrics(o->sink->context,
                         &(struct sink_metrics){.step = 1, .evaluation = 1, .count = 3, .metrics = metrics});
    if (!rc)
        tell_file(o, "evaluation", path);
    json_decref(root);
    free(text);
    free(path);
    assessment_free(&a);
    return rc;
}

static int run_soup(const struct train_options *o, struct error *e)
{
    const Islr__JobSpec *job = o->job;
    struct mix_options options = {.files = (const char *const *)job->models,
                                  .file_count = job->n_models,
                                  .heads = (int)job->model->heads,
                                  .greedy = !strcmp(job->method, "greedy"),
                                  .backend = o->backend,
                                  .data = job->data->path,
                                  .fold = fold_of(job),
                                  .k = (int)job->data->k,
                                  .fold_seed = job->data->fold_seed,
                                  .fold_file = job->data->fold_file,
                                  .strict = job->data->strict,
                                  .threads = o->threads,
                                  .pulse = comm_pulse(o->comm)};
    struct checkpoint soup = {0};
    char *dir = file_join(o->dir, "final"), *path = file_join(dir, "soup.safetensors");
    int *kept = xcalloc(options.file_count, sizeof *kept), count = 0;
    const char **members = xcalloc(options.file_count, sizeof *members);
    int rc = file_make_dirs(dir, e) || mix(&options, &soup, kept, e) || checkpoint_write(&soup, path, e) ? -1 : 0;
    for (size_t i = 0; i < options.file_count; i++)
        if (kept[i])
            members[count++] = options.files[i];
    if (!rc && o->sink->file)
        o->sink->file(o->sink->context,
                      &(struct sink_file){.what = "soup", .path = path, .member_count = count, .members = members});
    free(members);
    free(kept);
    checkpoint_destroy(&soup);
    free(dir);
    free(path);
    return rc;
}

// On rank 0, while the others wait as long as it takes.
static int run_alone(const struct train_options *o, const char *doing,
                     int (*work)(const struct train_options *, struct error *), struct error *e)
{
    double before = comm_timeout(o->comm);
    pulse_doing(comm_pulse(o->comm), doing);
    comm_set_timeout(o->comm, COMM_LONG_SECONDS);
    int rc = comm_rank(o->comm) == 0 ? file_make_dirs(o->dir, e) || work(o, e) : 0;
    rc = comm_agree(o->comm, rc, e);
    comm_set_timeout(o->comm, before);
    return rc;
}

int job_run(const struct train_options *o, struct error *e)
{
    switch (o->job->kind) {
    case ISLR__JOB_SPEC__KIND__KIND_TRAIN:
        return train_run(o, e);
    case ISLR__JOB_SPEC__KIND__KIND_PREPARE:
        return run_prepare(o, e);
    case ISLR__JOB_SPEC__KIND__KIND_EVALUATE:
        return run_alone(o, "evaluate", run_evaluate, e);
    case ISLR__JOB_SPEC__KIND__KIND_SOUP:
        return run_alone(o, "soup", run_soup, e);
    default:
        return error_set(e, ERR_INVALID, "jobs of kind %s are not run by this version", spec_kind_name(o->job->kind));
    }
}
