// How good models are on labelled clips: see assess.h.
#include "core/train/assess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/data/prepare.h"
#include "core/train/evaluate.h"
#include "core/train/predictions.h"
#include "core/train/predictor.h"
#include "core/train/prepared.h"

enum { CLIPS_AT_A_TIME = 64 };

static int by_count(const void *a, const void *b)
{
    const struct confused *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->label != y->label ? x->label - y->label : x->predicted - y->predicted;
}

static void count_confused(struct assessment *a, const uint32_t *confusion)
{
    size_t classes = (size_t)a->classes;
    a->confused = xcalloc(classes * classes, sizeof *a->confused);
    for (size_t i = 0; i < classes * classes; i++)
        if (confusion[i] && i / classes != i % classes)
            a->confused[a->confused_count++] = (struct confused){(int)(i / classes), (int)(i % classes), confusion[i]};
    qsort(a->confused, a->confused_count, sizeof *a->confused, by_count);
}

static void count(struct assessment *a)
{
    size_t classes = (size_t)a->classes, values = a->count * classes;
    uint32_t *confusion = xcalloc(classes * classes, sizeof *confusion); // [label, predicted]
    a->seen = xcalloc(classes, sizeof *a->seen);
    a->right = xcalloc(classes, sizeof *a->right);
    for (size_t i = 0; i < a->count; i++) {
        int label = set_clip(a->set, a->clips[i])->label;
        int best = most_probable(a->probabilities + i * classes, a->classes);
        a->seen[label]++;
        a->right[label] += best == label;
        confusion[(size_t)label * classes + (size_t)best]++;
    }
    count_confused(a, confusion);
    free(confusion);
    // The figures want logits: logarithms of probabilities are such.
    float *logits = xcalloc(values, sizeof *logits);
    for (size_t i = 0; i < values; i++)
        logits[i] = logf(fmaxf(a->probabilities[i], 1e-37f));
    struct figures f = evaluate_figures(a->set, a->clips, (uint32_t)a->count, logits, a->classes);
    free(logits);
    a->accuracy = f.accuracy;
    a->top5 = f.top5;
    a->loss = f.loss;
}

// The labels' classes must mean what the model's do.
static int check_signs(const struct assess_options *o, const struct assessment *a, const struct predictor *p,
                       struct error *e)
{
    if (predictor_classes(p) != a->classes)
        return error_set(e, ERR_INVALID, "%s has %d signs, the model knows %d", o->data, a->classes,
                         predictor_classes(p));
    for (int c = 0; c < a->classes; c++)
        if (predictor_sign(p, c) && strcmp(predictor_sign(p, c), set_sign_name(a->set, c)))
            return error_set(e, ERR_INVALID, "class %d is '%s' in %s and '%s' for the model", c,
                             set_sign_name(a->set, c), o->data, predictor_sign(p, c));
    return 0;
}

// The clips of the fold asked for, or all; those of another frame limit must be as many.
static int choose_clips(const struct assess_options *o, struct assessment *a, struct error *e)
{
    if (o->fold >= set_fold_count(a->set))
        return error_set(e, ERR_INVALID, "there is no fold %d: %s has %d folds", o->fold, o->data,
                         set_fold_count(a->set));
    size_t before = a->count;
    free(a->clips);
    a->clips = xcalloc(set_count(a->set), sizeof *a->clips);
    a->count = 0;
    a->classes = set_sign_count(a->set);
    for (size_t i = 0; i < set_count(a->set); i++)
        if (o->fold < 0 || set_clip(a->set, i)->fold == o->fold)
            a->clips[a->count++] = (uint32_t)i;
    if (!a->count)
        return error_set(e, ERR_INVALID, "%s has no clips to evaluate", o->data);
    if (a->probabilities && a->count != before)
        return error_set(e, ERR_INVALID, "%s has changed while it was evaluated", o->data);
    return 0;
}

static int predict_set(const struct assess_options *o, const struct assessment *a, const char *model,
                       const struct sources *s, float *out, struct error *e)
{
    struct predictor *p = predictor_create(&(struct predictor_options){.backend = o->backend,
                                                                       .models = &model,
                                                                       .model_count = 1,
                                                                       .heads = o->heads,
                                                                       .type = o->type,
                                                                       .clips = CLIPS_AT_A_TIME,
                                                                       .threads = o->threads,
                                                                       .pulse = o->pulse},
                                           e);
    if (!p)
        return -1;
    int rc = check_signs(o, a, p, e) || predictor_run(p, s, 0, out, e) ? -1 : 0;
    predictor_destroy(p);
    return rc;
}

// The set of the data for models of `max_len` frames: one that is given, or prepared into the cache.
static struct set *open_set(const struct assess_options *o, int max_len, struct error *e)
{
    char *cache = prepare_default_cache(), *path = NULL;
    struct prepare_options prepare = {.max_len = max_len,
                                      .k = o->k,
                                      .fold_seed = o->fold_seed,
                                      .fold_file = o->fold_file,
                                      .any_folds = o->fold < 0,
                                      .strict = o->strict,
                                      .threads = o->threads,
                                      .watch = prepared_pulse_watch(o->pulse)};
    struct set *set = prepare_cached(o->data, cache, &prepare, NULL, &path, e) ? NULL : set_open(path, e);
    free(cache);
    free(path);
    return set;
}

// Adds one model's share to the probabilities.
static int add_model(const struct assess_options *o, struct assessment *a, const char *model, struct error *e)
{
    struct sources s = {0};
    size_t values = a->count * (size_t)a->classes;
    float *out = xcalloc(values, sizeof *out);
    for (size_t i = 0; i < a->count; i++)
        sources_add_clip(&s, a->set, a->clips[i]);
    int rc = predict_set(o, a, model, &s, out, e);
    for (size_t i = 0; i < values; i++)
        a->probabilities[i] += out[i] / (float)o->model_count;
    free(out);
    sources_free(&s);
    return rc;
}

// Each model sees the clips prepared for its own frame limit; sets of one directory hold the same clips in one order.
static int use_set_of(const struct assess_options *o, struct assessment *a, const char *model, struct error *e)
{
    struct checkpoint c;
    if (checkpoint_read(&c, model, o->heads, e))
        return -1;
    int max_len = c.config.max_len;
    checkpoint_destroy(&c);
    if (a->set && set_max_len(a->set) == max_len)
        return 0;
    set_close(a->set);
    a->set = open_set(o, max_len, e);
    if (!a->set || choose_clips(o, a, e))
        return -1;
    if (!a->probabilities)
        a->probabilities = xcalloc(a->count * (size_t)a->classes, sizeof *a->probabilities);
    return 0;
}

int assess(const struct assess_options *o, struct assessment *a, struct error *e)
{
    memset(a, 0, sizeof *a);
    for (size_t i = 0; i < o->model_count; i++)
        if (use_set_of(o, a, o->models[i], e) || add_model(o, a, o->models[i], e))
            return -1;
    count(a);
    return 0;
}

void assessment_free(struct assessment *a)
{
    set_close(a->set);
    free(a->clips);
    free(a->probabilities);
    free(a->seen);
    free(a->right);
    free(a->confused);
    memset(a, 0, sizeof *a);
}

json_t *assessment_json(const struct assessment *a)
{
    json_t *root = json_object(), *signs = json_array(), *confused = json_array();
    for (int c = 0; c < a->classes; c++)
        json_array_append_new(signs, json_pack("{s:s, s:i, s:i, s:f}", "sign", set_sign_name(a->set, c), "clips",
                                               (int)a->seen[c], "correct", (int)a->right[c], "accuracy",
                                               a->seen[c] ? (double)a->right[c] / a->seen[c] : 0));
    for (size_t i = 0; i < a->confused_count && i < ASSESS_CONFUSED_SHOWN; i++)
        json_array_append_new(
            confused, json_pack("{s:s, s:s, s:i}", "sign", set_sign_name(a->set, a->confused[i].label), "predicted",
                                set_sign_name(a->set, a->confused[i].predicted), "clips", (int)a->confused[i].count));
    json_object_set_new(root, "clips", json_integer((json_int_t)a->count));
    json_object_set_new(root, "accuracy", json_real(a->accuracy));
    json_object_set_new(root, "top5", json_real(a->top5));
    json_object_set_new(root, "loss", json_real(a->loss));
    json_object_set_new(root, "signs", signs);
    json_object_set_new(root, "most_confused", confused);
    return root;
}
