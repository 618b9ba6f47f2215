// islrd evaluate: how good models are on labelled clips.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/data/prepare.h"
#include "core/train/device.h"
#include "core/train/evaluate.h"
#include "core/train/predictions.h"
#include "core/train/predictor.h"
#include "daemon/command.h"

enum { CONFUSED_SHOWN = 10 };

struct evaluate {
    struct option_list models;
    const char *data, *device, *precision;
    int64_t fold, k, fold_seed, threads;
    bool json;
    // results
    struct set *set; // labels and names
    int classes;
    size_t count;
    uint32_t *clips; // [count], indices in the set
    float *probabilities;
    uint32_t *seen, *right; // [classes]
    uint32_t *confusion;    // [classes, classes]: label, predicted
    double accuracy, top5, loss;
};

struct confused {
    int label, predicted;
    uint32_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct confused *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->label != y->label ? x->label - y->label : x->predicted - y->predicted;
}

static size_t most_confused(const struct evaluate *v, struct confused **out)
{
    size_t n = 0, classes = (size_t)v->classes;
    struct confused *list = xcalloc(classes * classes, sizeof *list);
    for (size_t i = 0; i < classes * classes; i++)
        if (v->confusion[i] && i / classes != i % classes)
            list[n++] = (struct confused){(int)(i / classes), (int)(i % classes), v->confusion[i]};
    qsort(list, n, sizeof *list, by_count);
    *out = list;
    return n < CONFUSED_SHOWN ? n : CONFUSED_SHOWN;
}

static void count(struct evaluate *v)
{
    size_t classes = (size_t)v->classes;
    v->seen = xcalloc(classes, sizeof *v->seen);
    v->right = xcalloc(classes, sizeof *v->right);
    v->confusion = xcalloc(classes * classes, sizeof *v->confusion);
    for (size_t i = 0; i < v->count; i++) {
        const float *row = v->probabilities + i * classes;
        int label = set_clip(v->set, v->clips[i])->label, best = most_probable(row, v->classes);
        v->seen[label]++;
        v->right[label] += best == label;
        v->confusion[(size_t)label * classes + (size_t)best]++;
    }
    // The figures want logits: logarithms of probabilities are such, but for a constant.
    for (size_t i = 0; i < v->count * classes; i++)
        v->probabilities[i] = logf(v->probabilities[i] > 1e-37f ? v->probabilities[i] : 1e-37f);
    struct figures f = evaluate_figures(v->set, v->clips, (uint32_t)v->count, v->probabilities, v->classes);
    v->accuracy = f.accuracy;
    v->top5 = f.top5;
    v->loss = f.loss;
}

static void print_json(const struct evaluate *v)
{
    struct confused *list;
    size_t n = most_confused(v, &list);
    json_t *root = json_object(), *signs = json_array(), *confused = json_array();
    for (int c = 0; c < v->classes; c++)
        json_array_append_new(signs, json_pack("{s:s, s:i, s:i, s:f}", "sign", set_sign_name(v->set, c), "clips",
                                               (int)v->seen[c], "correct", (int)v->right[c], "accuracy",
                                               v->seen[c] ? (double)v->right[c] / v->seen[c] : 0));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(confused,
                              json_pack("{s:s, s:s, s:i}", "sign", set_sign_name(v->set, list[i].label), "predicted",
                                        set_sign_name(v->set, list[i].predicted), "clips", (int)list[i].count));
    json_object_set_new(root, "clips", json_integer((json_int_t)v->count));
    json_object_set_new(root, "accuracy", json_real(v->accuracy));
    json_object_set_new(root, "top5", json_real(v->top5));
    json_object_set_new(root, "loss", json_real(v->loss));
    json_object_set_new(root, "signs", signs);
    json_object_set_new(root, "most_confused", confused);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(root);
    free(list);
}

static void print_text(const struct evaluate *v)
{
    struct confused *list;
    size_t n = most_confused(v, &list);
    printf("%zu clips: accuracy %.4f, top-5 %.4f, loss %.4f\n\n%-24s %8s %8s %9s\n", v->count, v->accuracy, v->top5,
           v->loss, "sign", "clips", "correct", "accuracy");
    for (int c = 0; c < v->classes; c++)
        if (v->seen[c])
            printf("%-24s %8u %8u %9.4f\n", set_sign_name(v->set, c), v->seen[c], v->right[c],
                   (double)v->right[c] / v->seen[c]);
    if (n)
        printf("\nmost confused:\n");
    for (size_t i = 0; i < n; i++)
        printf("  %s taken for %s: %u\n", set_sign_name(v->set, list[i].label),
               set_sign_name(v->set, list[i].predicted), list[i].count);
    free(list);
}

// The labels' classes must mean what the model's do.
static int check_signs(const struct evaluate *v, const struct predictor *p, struct error *e)
{
    if (predictor_classes(p) != v->classes)
        return error_set(e, ERR_INVALID, "%s has %d signs, the model knows %d", v->data, v->classes,
                         predictor_classes(p));
    for (int c = 0; c < v->classes; c++)
        if (predictor_sign(p, c) && strcmp(predictor_sign(p, c), set_sign_name(v->set, c)))
            return error_set(e, ERR_INVALID, "class %d is '%s' in %s and '%s' for the model", c,
                             set_sign_name(v->set, c), v->data, predictor_sign(p, c));
    return 0;
}

// The clips of the fold asked for, or all; those of another frame limit must be as many.
static int choose_clips(struct evaluate *v, struct error *e)
{
    if (v->fold >= set_fold_count(v->set))
        return error_set(e, ERR_INVALID, "--fold %lld: %s has %d folds", (long long)v->fold, v->data,
                         set_fold_count(v->set));
    size_t before = v->count;
    free(v->clips);
    v->clips = xcalloc(set_count(v->set), sizeof *v->clips);
    v->count = 0;
    v->classes = set_sign_count(v->set);
    for (size_t i = 0; i < set_count(v->set); i++)
        if (v->fold < 0 || set_clip(v->set, i)->fold == v->fold)
            v->clips[v->count++] = (uint32_t)i;
    if (!v->count)
        return error_set(e, ERR_INVALID, "%s has no clips to evaluate", v->data);
    if (v->probabilities && v->count != before)
        return error_set(e, ERR_INVALID, "%s has changed while it was evaluated", v->data);
    return 0;
}

static int predict_set(const struct evaluate *v, struct backend *backend, const char *model, const struct sources *s,
                       float *out, struct error *e)
{
    struct predictor_options o = {.backend = backend,
                                  .models = &model,
                                  .model_count = 1,
                                  .heads = 16,
                                  .type = strcmp(v->precision, "bf16") ? DTYPE_F32 : DTYPE_BF16,
                                  .clips = 64,
                                  .threads = (int)v->threads};
    struct predictor *p = predictor_create(&o, e);
    if (!p)
        return -1;
    int rc = check_signs(v, p, e) || predictor_run(p, s, 0, out, e) ? -1 : 0;
    predictor_destroy(p);
    return rc;
}

// The set of the data for models of `max_len` frames: one that is given, or prepared into the cache.
static struct set *open_set(const struct evaluate *v, int max_len, struct error *e)
{
    char *cache = prepare_default_cache(), *path = NULL;
    struct prepare_options o = {.max_len = max_len,
                                .k = (int)v->k,
                                .fold_seed = (uint64_t)v->fold_seed,
                                .any_folds = v->fold < 0,
                                .threads = (int)v->threads};
    struct set *set = prepare_cached(v->data, cache, &o, NULL, &path, e) ? NULL : set_open(path, e);
    free(cache);
    free(path);
    return set;
}

// Adds one model's share to the probabilities.
static int add_model(struct evaluate *v, struct backend *backend, const char *model, struct error *e)
{
    struct sources s = {0};
    size_t values = v->count * (size_t)v->classes;
    float *out = xcalloc(values, sizeof *out);
    for (size_t i = 0; i < v->count; i++)
        sources_add_clip(&s, v->set, v->clips[i]);
    int rc = predict_set(v, backend, model, &s, out, e);
    for (size_t i = 0; i < values; i++)
        v->probabilities[i] += out[i] / (float)v->models.count;
    free(out);
    sources_free(&s);
    return rc;
}

// Each model sees the clips prepared for its own frame limit; sets of one directory hold the same clips in one order.
static int use_set_of(struct evaluate *v, const char *model, struct error *e)
{
    struct checkpoint c;
    if (checkpoint_read(&c, model, 16, e))
        return -1;
    int max_len = c.config.max_len;
    checkpoint_destroy(&c);
    if (v->set && set_max_len(v->set) == max_len)
        return 0;
    set_close(v->set);
    v->set = open_set(v, max_len, e);
    if (!v->set || choose_clips(v, e))
        return -1;
    if (!v->probabilities)
        v->probabilities = xcalloc(v->count * (size_t)v->classes, sizeof *v->probabilities);
    return 0;
}

static int evaluate(struct evaluate *v, struct backend *backend, struct error *e)
{
    for (size_t i = 0; i < v->models.count; i++)
        if (use_set_of(v, v->models.items[i], e) || add_model(v, backend, v->models.items[i], e))
            return -1;
    count(v);
    (v->json ? print_json : print_text)(v);
    return 0;
}

static void release(struct evaluate *v)
{
    set_close(v->set);
    free(v->clips);
    free(v->probabilities);
    free(v->seen);
    free(v->right);
    free(v->confusion);
    option_list_free(&v->models);
}

int command_evaluate(int argc, char **argv)
{
    struct evaluate v = {.fold = -1, .k = 4, .fold_seed = 42, .device = "auto", .precision = "fp32"};
    const struct option_row options[] = {
        {'m', "model", "FILE", "checkpoint; several: the mean of their softmax", OPTION_LIST, &v.models},
        {0, "fold", "N", "only the clips of this fold", OPTION_INT, &v.fold, .min = -1, .max = 1000,
         .default_shown = "all clips"},
        {0, "k", "K", "folds, where a directory is prepared", OPTION_INT, &v.k, .max = 1000},
        {0, "fold-seed", "S", "seed of the folds", OPTION_INT, &v.fold_seed},
        {0, "json", NULL, "{clips, accuracy, top5, loss, signs: [..], most_confused: [..]}", OPTION_FLAG, &v.json},
        {0, "precision", "fp32|bf16", "of the computation", OPTION_CHOICE, &v.precision},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &v.device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &v.threads, .max = 4096},
        {0}};
    const struct option_operand operands[] = {{"DATA", "a data directory or a prepared set", .value = &v.data}, {0}};
    const struct usage usage = {"islrd evaluate", "accuracy of models on labelled clips", options, operands,
                                "islrd evaluate --model out/final/soup.safetensors --fold 0 recordings"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    struct comm *comm = comm_open_single();
    struct backend *backend = device_open(v.device, (int)v.threads, comm, &e);
    int rc = !backend         ? -1
             : v.models.count ? evaluate(&v, backend, &e)
                              : error_set(&e, ERR_INVALID, "--model FILE is needed: the checkpoint to evaluate");
    if (rc)
        fprintf(stderr, "islrd evaluate: %s\n", e.text);
    if (backend)
        backend->op->close(backend);
    release(&v);
    comm_close(comm);
    return rc ? (int)e.code : 0;
}
