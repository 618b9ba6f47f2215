// After the last step: final weights, soup, evaluation on the held-out clips, predictions, summary.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/train/checkpoint.h"
#include "core/train/predictions.h"
#include "core/train/recipe.h"
#include "core/train/run.h"
#include "core/train/soup.h"

static enum learner_role souped(const struct run *r)
{
    return r->step.distills ? DISTILLED : STUDENT;
}

static int save_final_models(struct run *r, struct error *e)
{
    char *dir = run_path(r, "final");
    int rc = file_make_dirs(dir, e);
    for (int i = 0; i < LEARNERS && !rc; i++) {
        if (!r->step.learner[i].model.backend)
            continue;
        char *path = xprintf("%s/%s.safetensors", dir, learner_names[i]);
        rc = run_save_model(r, i, path, 0, e);
        free(path);
    }
    free(dir);
    return rc;
}

// checkpoint.soup_last 0: the run makes none, and what is judged is the last model itself.
static int makes_soup(const struct run *r)
{
    return r->o->job->checkpoint->soup_last > 0;
}

// The uniform soup of the last epochs, to final/soup.safetensors, and into the learner's place for its evaluation.
static int make_soup(struct run *r, struct error *e)
{
    uint32_t first = run_soup_first(r), epochs = r->step.schedule.epochs, count = epochs - first + 1;
    const struct run_sink *sink = r->o->sink;
    char **members = xcalloc(count, sizeof *members), *path = run_path(r, "final/soup.safetensors");
    struct checkpoint soup = {0};
    for (uint32_t i = 0; i < count; i++)
        members[i] = run_path(r, "checkpoints/epoch-%04u/%s.safetensors", first + i, learner_names[souped(r)]);
    int rc = soup_uniform(&soup, (const char *const *)members, count, (int)r->o->job->model->heads, e);
    if (!rc) {
        run_describe_checkpoint(r, &soup, "soup", 0);
        rc = checkpoint_write(&soup, path, e);
    }
    if (!rc) {
        model_set(&r->step.learner[souped(r)].model, r->step.stream, soup.parameters, soup.buffers);
        rc = r->step.stream->op->synchronize(r->step.stream, e);
    }
    if (!rc && sink->file)
        sink->file(sink->context, &(struct sink_file){.what = "soup",
                                                      .path = path,
                                                      .step = r->state.step,
                                                      .member_count = (int)count,
                                                      .members = (const char *const *)members});
    checkpoint_destroy(&soup);
    for (uint32_t i = 0; i < count; i++)
        free(members[i]);
    free(members);
    free(path);
    return rc;
}

// The other ranks get the soup's weights from rank 0.
static int share_soup(struct run *r, struct error *e)
{
    struct model *m = &r->step.learner[souped(r)].model;
    struct stream *s = r->step.stream;
    if (comm_size(r->o->comm) == 1)
        return 0;
    float *parameters = xcalloc(m->layout.size, sizeof *parameters);
    float *buffers = xcalloc(m->layout.buffer_size, sizeof *buffers);
    int rc = model_get(m, s, parameters, buffers, e) ||
             comm_broadcast(r->o->comm, parameters, m->layout.size * sizeof *parameters, 0, e) ||
             comm_broadcast(r->o->comm, buffers, m->layout.buffer_size * sizeof *buffers, 0, e);
    if (!rc) {
        model_set(m, s, parameters, buffers);
        rc = s->op->synchronize(s, e);
    }
    free(parameters);
    free(buffers);
    return rc ? -1 : 0;
}

static int write_predictions(struct run *r, float *logits, struct error *e)
{
    int classes = set_sign_count(r->set);
    char *npy = run_path(r, "predictions.npy"), *csv = run_path(r, "predictions.csv");
    softmax_rows(logits, r->data.held_out_count, classes);
    int rc = predictions_write(r->set, r->data.held_out, r->data.held_out_count, logits, classes, npy, csv, e);
    if (!rc) {
        run_file(r, "predictions", npy, 0);
        run_file(r, "predictions.csv", csv, 0);
    }
    free(npy);
    free(csv);
    return rc;
}

static int evaluate_soup(struct run *r, struct figures *figures, struct error *e)
{
    struct evaluator v = run_evaluator(r, souped(r));
    float *logits = NULL;
    if (evaluate_model(&v, r->data.held_out, r->data.held_out_count, figures, &logits, e))
        return -1;
    int rc = 0;
    if (r->root && makes_soup(r)) {
        struct metric_list list = {.count = 0};
        metric_add(&list, figures->accuracy, "accuracy/soup");
        metric_add(&list, figures->top5, "top5/soup");
        metric_add(&list, figures->loss, "loss/soup");
        rc = run_report(r, &list, 1, e);
    }
    if (r->root && !rc)
        rc = write_predictions(r, logits, e);
    free(logits);
    return rc;
}

// ---- summary --------------------------------------------------------------------------------------------------------

// NULL: a file cannot be read.
static json_t *summary_files(const struct run *r, struct error *e)
{
    static const char *const names[] = {"student", "teacher", "distilled", "soup"};
    json_t *files = json_object();
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !rc; i++) {
        struct hash hash;
        char hex[65], *path = run_path(r, "final/%s.safetensors", names[i]);
        int there = file_exists(path);
        rc = there && hash_file(path, &hash, e);
        if (there && !rc) {
            hash_to_hex(&hash, hex);
            json_object_set_new(files, names[i], json_string(hex));
        }
        free(path);
    }
    if (rc) {
        json_decref(files);
        return NULL;
    }
    return files;
}

static json_t *summary_final(const struct run *r, const struct figures *soup)
{
    json_t *final = json_object();
    if (!r->data.held_out_count)
        return final;
    char key[40];
    for (int i = 0; i < LEARNERS; i++) {
        if (!r->evaluated[i])
            continue;
        snprintf(key, sizeof key, "accuracy/%s", learner_names[i]);
        json_object_set_new(final, key, json_real(r->figures[i].accuracy));
    }
    if (!makes_soup(r))
        return final;
    json_object_set_new(final, "accuracy/soup", json_real(soup->accuracy));
    json_object_set_new(final, "top5/soup", json_real(soup->top5));
    json_object_set_new(final, "loss/soup", isfinite(soup->loss) ? json_real(soup->loss) : json_null());
    return final;
}

static json_t *summary_world(const struct run *r)
{
    struct device_info info;
    json_t *world = json_object(), *hosts = json_array();
    r->o->backend->op->describe(r->o->backend, &info);
    for (int i = 0; i < comm_size(r->o->comm); i++)
        json_array_append_new(hosts, json_string(comm_host(r->o->comm, i)));
    json_object_set_new(world, "ranks", json_integer(comm_size(r->o->comm)));
    json_object_set_new(world, "hosts", hosts);
    json_object_set_new(world, "device", json_string(r->o->backend->op->kind));
    json_object_set_new(world, "device_name", json_string(info.name));
    json_object_set_new(world, "device_detail", json_string(info.detail));
    json_object_set_new(world, "threads", json_integer(info.threads));
    json_object_set_new(world, "precision", json_string(dtype_name(r->step.learner[STUDENT].model.type)));
    return world;
}

static int write_summary(struct run *r, const struct figures *soup, struct error *e)
{
    json_t *files = summary_files(r, e);
    if (!files)
        return -1;
    char hex[65], *path = run_path(r, "summary.json");
    json_t *root = json_object(), *data = json_object();
    hash_to_hex(set_hash(r->set), hex);
    json_object_set_new(data, "set_sha256", json_string(hex));
    json_object_set_new(data, "train_clips", json_integer(r->data.train_count));
    json_object_set_new(data, "held_out_clips", json_integer(r->data.held_out_count));
    json_object_set_new(data, "signs", json_integer(set_sign_count(r->set)));
    json_object_set_new(root, "version", json_string(ISLR_VERSION));
    json_object_set_new(root, "name", json_string(r->o->job->name));
    json_object_set_new(root, "fold", json_string(r->o->job->data->fold));
    json_object_set_new(root, "job_sha256", json_string(r->job_hash));
    json_object_set_new(root, "steps", json_integer(r->state.step));
    json_object_set_new(root, "epochs", json_integer(r->step.schedule.epochs));
    json_object_set_new(root, "seconds", json_real(clock_seconds() - r->started));
    json_object_set_new(root, "final", summary_final(r, soup));
    json_object_set_new(root, "data", data);
    json_object_set_new(root, "world", summary_world(r));
    json_object_set_new(root, "files_sha256", files);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    int rc = file_write_atomic(path, text, strlen(text), e);
    if (!rc)
        run_file(r, "summary", path, 0);
    json_decref(root);
    free(text);
    free(path);
    return rc;
}

static int remove_resume_points(struct run *r, struct error *e)
{
    char *resume = run_path(r, "resume");
    int rc = file_remove_tree(resume, e);
    free(resume);
    return rc;
}

int run_finish(struct run *r, struct error *e)
{
    struct figures soup = {0};
    if (step_gather_weights(&r->step, e) ||
        comm_agree(r->o->comm, r->root && (save_final_models(r, e) || (makes_soup(r) && make_soup(r, e))), e) ||
        share_soup(r, e))
        return -1;
    if (r->data.held_out_count && comm_agree(r->o->comm, evaluate_soup(r, &soup, e), e))
        return -1;
    return comm_agree(r->o->comm, r->root && (write_summary(r, &soup, e) || remove_resume_points(r, e)), e);
}
