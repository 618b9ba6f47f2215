// data.fold "all": every fold is trained in DIR/fold-N, one after the other; their held-out predictions together give the
// cross-validated accuracy. On a server the folds are runs of their own, and only the joining is done here.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/npy.h"
#include "core/spec/spec.h"
#include "core/train/place.h"
#include "core/train/prepared.h"
#include "core/train/run.h"

// One fold's sink: what it tells goes to the run's, with the fold in the names.
struct fold_sink {
    const struct run_sink *outer;
    uint32_t fold, folds;
};

static void fold_metrics(void *context, const struct sink_metrics *m)
{
    const struct fold_sink *f = context;
    char names[RUN_METRICS_MAX][64];
    struct sink_metric metrics[RUN_METRICS_MAX];
    struct sink_metrics out = *m;
    for (int i = 0; i < m->count && i < RUN_METRICS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "fold-%u/%s", f->fold, m->metrics[i].name);
        metrics[i] = (struct sink_metric){names[i], m->metrics[i].value};
    }
    out.metrics = metrics;
    if (f->outer->metrics)
        f->outer->metrics(f->outer->context, &out);
}

static void fold_log(void *context, enum log_level level, const char *line)
{
    const struct fold_sink *f = context;
    sink_log(f->outer, level, "fold %u: %s", f->fold, line);
}

static void fold_progress(void *context, const struct sink_progress *p)
{
    const struct fold_sink *f = context;
    struct sink_progress out = *p;
    out.step += f->fold * p->steps;
    out.steps *= f->folds;
    if (f->outer->progress)
        f->outer->progress(f->outer->context, &out);
}

static int fold_should_stop(void *context)
{
    const struct fold_sink *f = context;
    return f->outer->should_stop ? f->outer->should_stop(f->outer->context) : 0;
}

static char *fold_path(const struct train_options *o, uint32_t fold, const char *name)
{
    return xprintf("%s/fold-%u%s%s", o->dir, fold, name[0] ? "/" : "", name);
}

// All folds of a data set.
struct all_folds {
    uint32_t count;
    struct hash set;
};

static int train_fold(const struct train_options *o, uint32_t fold, const struct all_folds *all, struct error *e)
{
    struct fold_sink context = {o->sink, fold, all->count};
    struct run_sink sink = {.context = &context,
                            .metrics = fold_metrics,
                            .log = fold_log,
                            .progress = fold_progress,
                            .should_stop = fold_should_stop};
    struct train_options inner = *o;
    Islr__JobSpec *job = spec_copy(o->job);
    char *dir = fold_path(o, fold, "");
    free(job->data->fold);
    job->data->fold = xprintf("%u", fold);
    inner.job = job;
    inner.dir = dir;
    inner.sink = &sink;
    int64_t done = comm_rank(o->comm) == 0 && o->resume && place_ended(dir, job, &all->set);
    int rc = comm_max_i64(o->comm, &done, e);
    if (!rc && !done) {
        rc = comm_agree(o->comm, comm_rank(o->comm) == 0 && file_make_dirs(dir, e), e) || train_one(&inner, e) ? -1 : 0;
        if (rc)
            error_prefix(e, "fold %u", fold);
    }
    spec_free(job);
    free(dir);
    return rc;
}

// The folds' predictions one after the other.
struct joined {
    float *probabilities; // [clips, signs]
    int64_t shape[2];
    struct strbuf csv;
    uint64_t clips, correct;
    uint32_t count;   // of folds
    double *accuracy; // [count]
    char set[65];     // SHA-256 of what they were trained on
    json_t *folds;    // what their summaries call final
};

static int join_csv(struct joined *j, uint32_t fold, const char *path, struct error *e)
{
    char *text;
    size_t size;
    uint64_t clips = 0, correct = 0;
    if (file_read(path, (size_t)1 << 32, &text, &size, e))
        return -1;
    char *line = strchr(text, '\n');
    if (!j->csv.length && line)
        strbuf_add(&j->csv, text, (size_t)(line + 1 - text));
    for (char *end; line && (end = strchr(++line, '\n')); line = end) {
        strbuf_add(&j->csv, line, (size_t)(end + 1 - line));
        clips++;
        correct += end > line && end[-1] == '1';
    }
    free(text);
    j->clips += clips;
    j->correct += correct;
    j->accuracy[fold] = clips ? (double)correct / (double)clips : 0;
    return 0;
}

static int join_npy(struct joined *j, const char *path, struct error *e)
{
    float *data;
    int dims;
    int64_t shape[8];
    if (npy_read_f32(path, &data, &dims, shape, e))
        return -1;
    int rc = 0;
    if (dims != 2 || (j->shape[0] && shape[1] != j->shape[1])) {
        rc = error_set(e, ERR_DAMAGED, "%s does not fit the other folds' predictions", path);
    } else {
        size_t row = (size_t)shape[1];
        j->probabilities = xrealloc(j->probabilities, (size_t)(j->shape[0] + shape[0]) * row, sizeof *data);
        memcpy(j->probabilities + (size_t)j->shape[0] * row, data, (size_t)shape[0] * row * sizeof *data);
        j->shape[0] += shape[0];
        j->shape[1] = shape[1];
    }
    free(data);
    return rc;
}

// Over all clips, the mean over the folds, and each fold's; [count + 2], to free_figures().
static struct sink_metric *make_figures(const struct joined *j)
{
    struct sink_metric *m = xcalloc(j->count + 2, sizeof *m);
    double sum = 0;
    for (uint32_t fold = 0; fold < j->count; fold++) {
        sum += j->accuracy[fold];
        m[fold + 2] = (struct sink_metric){xprintf("accuracy/fold-%u", fold), j->accuracy[fold]};
    }
    m[0] = (struct sink_metric){xstrdup("accuracy/cv"), j->clips ? (double)j->correct / (double)j->clips : 0};
    m[1] = (struct sink_metric){xstrdup("accuracy/mean"), sum / j->count};
    return m;
}

static void free_figures(struct sink_metric *m, uint32_t folds)
{
    for (uint32_t i = 0; i < folds + 2; i++)
        free((char *)m[i].name);
    free(m);
}

static json_t *figures_json(const struct sink_metric *m, uint32_t folds)
{
    json_t *final = json_object();
    for (uint32_t i = 0; i < folds + 2; i++)
        json_object_set_new(final, m[i].name, json_real(m[i].value));
    return final;
}

static void tell(const struct train_options *o, const struct joined *j, const struct sink_metric *figures)
{
    static const char *const files[][2] = {
        {"predictions", "predictions.npy"}, {"predictions.csv", "predictions.csv"}, {"summary", "summary.json"}};
    struct sink_metrics m = {.step = 1, .evaluation = 1, .count = (int)j->count + 2, .metrics = figures};
    sink_log(o->sink, LOG_INFO, "cross-validated accuracy over %llu clips: %.4f", (unsigned long long)j->clips,
             figures[0].value);
    if (o->sink->metrics)
        o->sink->metrics(o->sink->context, &m);
    for (size_t i = 0; o->sink->file && i < sizeof files / sizeof *files; i++) {
        char *path = file_join(o->dir, files[i][1]);
        o->sink->file(o->sink->context, &(struct sink_file){.what = files[i][0], .path = path});
        free(path);
    }
}

static int write_joined(const struct train_options *o, struct joined *j, struct error *e)
{
    char *npy = file_join(o->dir, "predictions.npy"), *csv = file_join(o->dir, "predictions.csv");
    char *path = file_join(o->dir, "summary.json"), *job_path = file_join(o->dir, "job.yaml");
    char *job = spec_to_yaml(o->job);
    struct sink_metric *figures = make_figures(j);
    json_t *root = json_pack("{s:s, s:s, s:I, s:o, s:O}", "version", ISLR_VERSION, "fold", "all", "clips",
                             (json_int_t)j->clips, "final", figures_json(figures, j->count), "folds", j->folds);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    int rc = npy_write_f32(npy, j->probabilities, 2, j->shape, e) ||
             file_write_atomic(csv, j->csv.text, j->csv.length, e) ||
             file_write_atomic(job_path, job, strlen(job), e) || file_write_atomic(path, text, strlen(text), e);
    if (!rc)
        tell(o, j, figures);
    free_figures(figures, j->count);
    json_decref(root);
    free(text);
    free(job);
    free(job_path);
    free(npy);
    free(csv);
    free(path);
    return rc ? -1 : 0;
}

// What a fold's summary says; it must be this fold's.
static int join_summary(struct joined *j, uint32_t fold, const char *path, struct error *e)
{
    char wanted[16];
    json_t *root = json_load_file(path, 0, NULL);
    const char *found = json_string_value(json_object_get(root, "fold"));
    const char *set = json_string_value(json_object_get(json_object_get(root, "data"), "set_sha256"));
    if (fold == 0)
        snprintf(j->set, sizeof j->set, "%s", set ? set : "");
    snprintf(wanted, sizeof wanted, "%u", fold);
    int rc = 0;
    if (!found || strcmp(found, wanted))
        rc = error_set(e, ERR_DAMAGED, "%s is not the summary of fold %u", path, fold);
    else if (strcmp(set ? set : "", j->set))
        rc = error_set(
            e, ERR_INVALID,
            "%s: fold %u was trained on another prepared set (SHA-256 %s) than fold 0 (%s): their predictions "
            "are not those of one cross-validation",
            path, fold, set ? set : "unknown", j->set);
    else
        json_array_append(j->folds, json_object_get(root, "final"));
    json_decref(root);
    return rc;
}

static int join_fold(const struct train_options *o, struct joined *j, uint32_t fold, struct error *e)
{
    char *npy = fold_path(o, fold, "predictions.npy"), *csv = fold_path(o, fold, "predictions.csv");
    char *summary = fold_path(o, fold, "summary.json");
    int rc = join_npy(j, npy, e) || join_csv(j, fold, csv, e) || join_summary(j, fold, summary, e);
    if (!rc && j->clips != (uint64_t)j->shape[0])
        rc = error_set(e, ERR_DAMAGED, "%s and %s do not hold the same clips", npy, csv);
    free(npy);
    free(csv);
    free(summary);
    return rc ? -1 : 0;
}

static int join_folds(const struct train_options *o, uint32_t folds, struct error *e)
{
    struct joined j = {.count = folds, .folds = json_array()};
    int rc = 0;
    j.accuracy = xcalloc(folds, sizeof *j.accuracy);
    for (uint32_t fold = 0; fold < folds && !rc; fold++)
        rc = join_fold(o, &j, fold, e);
    if (!rc)
        rc = write_joined(o, &j, e);
    json_decref(j.folds);
    free(j.accuracy);
    free(j.probabilities);
    free(j.csv.text);
    return rc;
}

// How many the data has: the job's number, or that of its fold file.
static int find_folds(const struct train_options *o, struct all_folds *all, struct error *e)
{
    char *path;
    if (prepared_set(o, &path, e))
        return -1;
    struct set *set = set_open(path, e);
    int rc = set ? 0 : -1;
    if (set && set_fold_count(set) < 2)
        rc = error_set(e, ERR_INVALID, "data.fold is all, and %s has no folds", path);
    if (!rc)
        *all = (struct all_folds){(uint32_t)set_fold_count(set), *set_hash(set)};
    set_close(set);
    free(path);
    return comm_agree(o->comm, rc, e);
}

int train_all_folds(const struct train_options *o, struct error *e)
{
    struct all_folds all = {.count = o->job->data->k};
    if (!o->join && find_folds(o, &all, e))
        return -1;
    int clears = comm_rank(o->comm) == 0 && !o->resume && !o->join;
    if (comm_agree(o->comm, clears && place_clear(o->dir, e), e))
        return -1;
    for (uint32_t fold = 0; fold < all.count && !o->join; fold++)
        if (train_fold(o, fold, &all, e))
            return -1;
    return comm_agree(o->comm, comm_rank(o->comm) == 0 && join_folds(o, all.count, e), e);
}
