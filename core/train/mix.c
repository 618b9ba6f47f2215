// Soups from files as users ask for them: see mix.h.
#include "core/train/mix.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/data/prepare.h"
#include "core/train/evaluate.h"
#include "core/train/prepared.h"

// What greedy soups are judged with: a set's held-out clips.
struct judge {
    struct backend *backend;
    struct comm *comm;
    struct set *set;
    struct dataset data;
    const uint32_t *clips;
    uint32_t count;
    struct log log;
};

enum { JUDGE_CLIPS = 64 };

static int score(void *context, const struct checkpoint *c, double *out, struct error *e)
{
    struct judge *j = context;
    struct model model = {0};
    struct workspace space = {0};
    struct view_buffer views = {0};
    struct stream *s = j->backend->op->stream_create(j->backend, e);
    size_t bytes = (size_t)JUDGE_CLIPS * (size_t)c->config.max_len * LANDMARKS * 3 * sizeof(float);
    float *x = s ? j->backend->op->allocate(j->backend, bytes, e) : NULL;
    int rc = -1;
    if (x && !model_create(&model, j->backend, &c->config, DTYPE_F32, 0, e) &&
        !workspace_create(&space, &model, JUDGE_CLIPS, 0, e) &&
        !view_buffer_create(&views, j->backend, JUDGE_CLIPS, c->config.max_len, e)) {
        struct figures f;
        struct evaluator v = {.comm = j->comm,
                              .stream = s,
                              .data = &j->data,
                              .model = &model,
                              .space = &space,
                              .views = &views,
                              .x = x,
                              .clips = JUDGE_CLIPS};
        model_set(&model, s, c->parameters, c->buffers);
        rc = evaluate_model(&v, j->clips, j->count, &f, NULL, e);
        *out = f.accuracy;
    }
    view_buffer_destroy(&views);
    workspace_destroy(&space);
    model_destroy(&model);
    if (x)
        j->backend->op->release(j->backend, x);
    if (s)
        s->op->stream_destroy(s);
    return rc;
}

struct candidate {
    const char *path;
    double accuracy;
    size_t place; // as given: decides between equals
};

static int by_accuracy(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->accuracy != y->accuracy)
        return x->accuracy < y->accuracy ? 1 : -1;
    return x->place < y->place ? -1 : 1;
}

// Files by their own accuracy, best first.
static int rank_files(struct judge *j, const struct mix_options *o, const char **sorted, struct error *e)
{
    struct candidate *list = xcalloc(o->file_count, sizeof *list);
    int rc = 0;
    for (size_t i = 0; i < o->file_count && !rc; i++) {
        struct checkpoint c;
        list[i] = (struct candidate){o->files[i], 0, i};
        rc = checkpoint_read(&c, o->files[i], o->heads, e);
        if (rc)
            break;
        if (c.config.max_len != set_max_len(j->set))
            rc = error_set(e, ERR_INVALID, "%s takes %d frames, the set has %d", o->files[i], c.config.max_len,
                           set_max_len(j->set));
        else if (c.config.classes != set_sign_count(j->set))
            rc = error_set(e, ERR_INVALID, "%s knows %d signs, the set has %d", o->files[i], c.config.classes,
                           set_sign_count(j->set));
        else
            rc = score(j, &c, &list[i].accuracy, e);
        checkpoint_destroy(&c);
        if (!rc)
            log_info(&j->log, "%s alone: accuracy %.4f", o->files[i], list[i].accuracy);
    }
    qsort(list, o->file_count, sizeof *list, by_accuracy);
    for (size_t i = 0; i < o->file_count; i++)
        sorted[i] = list[i].path;
    free(list);
    return rc;
}

static void note_kept(const struct mix_options *s, const char *file, int *kept)
{
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i] == file)
            kept[i] = 1;
}

static int greedy(struct judge *j, const struct mix_options *s, struct checkpoint *out, int *stayed, struct error *e)
{
    const char **sorted = xcalloc(s->file_count, sizeof *sorted);
    int *kept = xcalloc(s->file_count, sizeof *kept);
    struct soup_judge judge = {score, j};
    int rc = rank_files(j, s, sorted, e) || soup_greedy(out, sorted, s->file_count, s->heads, &judge, kept, e);
    for (size_t i = 0; i < s->file_count && !rc; i++) {
        log_info(&j->log, "%s %s", kept[i] ? "in: " : "out:", sorted[i]);
        if (kept[i] && stayed)
            note_kept(s, sorted[i], stayed);
    }
    free(sorted);
    free(kept);
    return rc ? -1 : 0;
}

// Opens the set for the first file's frame limit and hands over to greedy().
static int judge_and_mix(const struct mix_options *s, struct checkpoint *out, int *kept, struct error *e)
{
    struct judge j = {.backend = s->backend, .comm = comm_open_single(), .log = s->log};
    struct checkpoint first;
    if (s->pulse)
        comm_set_pulse(j.comm, s->pulse);
    if (checkpoint_read(&first, s->files[0], s->heads, e)) {
        comm_close(j.comm);
        return -1;
    }
    struct prepare_options o = {.max_len = first.config.max_len,
                                .k = s->k,
                                .fold_seed = s->fold_seed,
                                .fold_file = s->fold_file,
                                .strict = s->strict,
                                .any_folds = s->fold < 0,
                                .threads = s->threads,
                                .watch = prepared_pulse_watch(s->pulse)};
    checkpoint_destroy(&first);
    char *path = NULL, *cache = prepare_default_cache(), fold[24];
    snprintf(fold, sizeof fold, "%lld", (long long)s->fold);
    Islr__Data data = ISLR__DATA__INIT;
    data.fold = fold;
    int rc = prepare_cached(s->data, cache, &o, NULL, &path, e);
    if (!rc && !(j.set = set_open(path, e)))
        rc = -1;
    if (!rc)
        rc = s->fold < 0 ? dataset_create_whole(&j.data, j.set, s->backend, e)
                         : dataset_create(&j.data, j.set, s->backend, &(struct dataset_options){.data = &data}, e);
    j.clips = j.data.held_out;
    j.count = j.data.held_out_count;
    if (!rc)
        rc = greedy(&j, s, out, kept, e);
    dataset_destroy(&j.data);
    set_close(j.set);
    comm_close(j.comm);
    free(path);
    free(cache);
    return rc;
}

int mix(const struct mix_options *s, struct checkpoint *out, int *kept, struct error *e)
{
    for (size_t i = 0; kept && i < s->file_count; i++)
        kept[i] = !s->greedy;
    int rc = s->greedy ? judge_and_mix(s, out, kept, e) : soup_uniform(out, s->files, s->file_count, s->heads, e);
    if (!rc) {
        free(out->origin);
        out->origin = xprintf("{\"model\":\"soup\",\"method\":\"%s\",\"files\":%zu}", s->greedy ? "greedy" : "uniform",
                              s->file_count);
    }
    return rc;
}
